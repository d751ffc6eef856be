"""What a run may be told: the params files say where each value comes from, and what cannot be is refused by name."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from agentark import params
from agentark.params import ParamsError

ROOT = Path(__file__).parents[1]
MINI = ROOT / "params" / "mini.yaml"
SOURCE = re.compile(r"#.*\b(paper|authors|ours|Eq\.)")
LORA = {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}


def told(**changes) -> dict:
    """mini.yaml with values replaced: debate__agents=3 sets debate.agents."""
    made = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *above, last = key.split("__")
        at = made
        for part in above:
            at = at[part]
        at[last] = value
    return made


def refused(**changes) -> str:
    with pytest.raises(ParamsError) as caught:
        params.check(told(**changes), "x.yaml")
    message = str(caught.value)
    assert message.startswith("x.yaml: ")
    return message


def leaves(node: yaml.Node, path: str = "", lines: tuple[int, ...] = ()):
    """(key, lines of the leaf and of the mappings that it lies in) of each leaf of a YAML tree."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from leaves(value, f"{path}.{key.value}".strip("."), (*lines, key.start_mark.line))
    elif isinstance(node, yaml.SequenceNode) and any(isinstance(item, yaml.MappingNode) for item in node.value):
        for n, item in enumerate(node.value):
            yield from leaves(item, f"{path}.{n}", (*lines, item.start_mark.line))
    else:
        yield path, lines


def test_mini_loads():
    sections, flat = params.load(MINI)
    assert sections.debate.agents == 5 and sections.distill.lora is None and sections.study.name == "mini"
    assert flat.limit == 0 and flat.inputs == "auto" and flat.method == "base"


@pytest.mark.parametrize("path", sorted((ROOT / "params").glob("*.yaml")), ids=lambda path: path.name)
def test_every_value_has_its_source(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    bare = [key for key, at in leaves(yaml.compose(text)) if not any(SOURCE.search(lines[n]) for n in at)]
    assert not bare, f"{path.name}: no source in a comment for {', '.join(bare)}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"debat": {}}, ["unknown key 'debat'", "did you mean 'debate'"]),
        ({"debate__agent": 5}, ["in debate: unknown key 'agent'", "did you mean 'agents'"]),
        ({"studnets": "a"}, ["unknown key 'studnets'", "did you mean 'students'"]),
        ({"zzzz": 1}, ["unknown key 'zzzz'", "there are study, sizes"]),
        ({"distill__lora": {**LORA, "alpah": 16}}, ["lora", "unknown key 'alpah'", "did you mean 'alpha'"]),
    ],
)
def test_unknown_keys(changes, says):
    message = refused(**changes)
    assert all(part in message for part in says), message


def test_all_unknown_keys_at_once():
    message = refused(debat={}, teachr="x")
    assert "'debate'" in message and "'teacher'" in message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"distill__learning_rate": "1e-5"}, ["distill.learning_rate", "1.0e-5"]),
        ({"debate__layout": "sharde"}, ["debate.layout", "'shared'", "'own_history'", "did you mean 'shared'"]),
        ({"study__methods": ["rsft", "rsf"]}, ["study.methods.1", "did you mean 'rsft'"]),
        ({"method": "rsf"}, ["method", "did you mean 'rsft'"]),
        ({"split": "tset"}, ["split", "did you mean 'test'"]),
        ({"debate__agents": "5"}, ["debate.agents", "integer"]),
        ({"debate__agents": True}, ["debate.agents", "integer"]),
        ({"debate__agents": 5.0}, ["debate.agents", "integer"]),
        ({"engine__share_prefix": 1}, ["engine.share_prefix", "boolean"]),
        ({"debate": [1]}, ["debate", "dictionary"]),
        ({"study__name": "a/b"}, ["study.name"]),
        ({"study__teachers": []}, ["study.teachers"]),
    ],
)
def test_wrong_values(changes, says):
    message = refused(**changes)
    assert all(part in message for part in says), message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sizes__debate_test": 1001}, ["debate_test (1001)", "test (1000)"]),
        ({"study__students": ["zoo/a", "zoo/a"]}, ["students", "twice"]),
        ({"debate__agents": 1}, ["debate.agents", "2"]),
        ({"debate__agents": 21}, ["debate.agents", "20"]),
        ({"extract__max_traces": 4}, ["extract.max_traces", "3"]),
        ({"debate__temperature": 0}, ["debate.temperature", "greater than 0"]),
        ({"stats__level": 95}, ["stats.level", "less than 1"]),
        ({"limit": -1}, ["limit"]),
    ],
)
def test_impossible(changes, says):
    message = refused(**changes)
    assert all(part in message for part in says), message


@pytest.mark.parametrize("key", ["distill__learning_rate", "debate__temperature", "distill__weight_decay"])
def test_infinite_is_impossible(key):
    assert key.replace("__", ".") in refused(**{key: float("inf")})
    assert key.replace("__", ".") in refused(**{key: float("nan")})


def test_negative_seed_is_impossible():  # numpy refuses it, but only after hours of debate
    assert "study.seeds" in refused(study__seeds=[0, -1])


@pytest.mark.parametrize("name", [".", ".."])
def test_name_is_no_way_out_of_results(name):
    assert "study.name" in refused(study__name=name)


def test_one_sentence_for_one_mistake():
    message = refused(method="rsf")
    assert message.startswith("x.yaml: method must be") and "'base'" in message and "\n" not in message


@pytest.mark.parametrize("agents", [2, 20])
def test_borders_are_possible(agents):
    sections, _ = params.check(told(debate__agents=agents, sizes__debate_test=1000, distill__lora=LORA), "x.yaml")
    assert sections.debate.agents == agents and sections.distill.lora.r == 8


def test_missing_section_and_key():
    made = told()
    del made["stats"], made["sizes"]["dev"]
    with pytest.raises(ParamsError) as caught:
        params.check(made, "x.yaml")
    assert "sizes.dev is missing" in str(caught.value) and "stats is missing" in str(caught.value)


@pytest.mark.parametrize("where", ["top", "section"])
def test_key_that_is_no_text(where):  # YAML reads `on:` as True
    made = told()
    (made if where == "top" else made["debate"])[True] = 1
    with pytest.raises(ParamsError, match="True|1"):
        params.check(made, "x.yaml")


def test_check_changes_nothing():
    made = told()
    before = copy.deepcopy(made)
    sections, _ = params.check(made, "x.yaml")
    assert made == before
    with pytest.raises(ValueError, match="frozen"):
        sections.debate.agents = 3


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(ParamsError, match="mimi.yaml.*params/mini.yaml"):
        params.load("params/mimi.yaml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="none under params/"):
        params.load("params/mini.yaml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"study: [1, 2", "is not YAML"),
        (b"a: b: c", "is not YAML"),
        (b"- study\n- sizes\n", "not list"),
        (b"", "not NoneType"),
        (b"\xff\xfe\x00", "x.yaml"),
    ],
)
def test_files_that_are_no_params(tmp_path, text, says):
    path = tmp_path / "x.yaml"
    path.write_bytes(text)
    with pytest.raises(ParamsError, match=says):
        params.load(path)


def test_folder_is_no_params_file(tmp_path):
    with pytest.raises(ParamsError, match=tmp_path.name):
        params.load(tmp_path)


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from agentark import params; params.load(sys.argv[1]); "
        "print(*sorted({'torch', 'transformers', 'trl', 'pandas', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(MINI)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_rsft_as_initial_policy_needs_rsft():
    assert "add it, or say init: base" in refused(rl__init="rsft", study__methods=["pad"])
    params.check(told(rl__init="rsft", study__methods=["pad", "rsft"]), "x")
    params.check(told(rl__init="rsft", study__methods=["sft"]), "x")  # nothing is trained by rewards


def test_choosing_by_a_model_needs_one():
    ask = {"model": "a/b", "constrained": True, "temperature": 0.0, "max_new_tokens": 8, "chunk": 8}
    assert "needs judges.diversity and judges.distiller" in refused(extract__diversity="extract")
    assert "needs judges.distiller" in refused(extract__diversity="extract", judges__diversity=ask)
    params.check(told(extract__diversity="judge", judges__diversity=ask), "x")
    assert "did you mean 'chunk'" in refused(judges__verifier={**ask, "chunks": 3})
