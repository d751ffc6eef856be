"""The params files: each value has its source, and an invalid key or value raises an error that names it."""

import copy
import re
import subprocess
import sys
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
import yaml

from agentark import params
from agentark.params import ParamsError

ROOT = Path(__file__).parents[1]
MINI = ROOT / "params" / "mini.yaml"
SOURCE = re.compile(r"#.*\b(paper|authors|ours|Eq\.)")
MODEL = {"model": "a/b", "constrained": True, "temperature": 0.0, "max_new_tokens": 8, "chunk": 8}
LORA = {"r": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear"}


def config(**changes) -> dict:
    """mini.yaml with values replaced: debate__agents=3 sets debate.agents."""
    values = yaml.safe_load(MINI.read_text(encoding="utf-8"))
    for key, value in changes.items():
        *sections, last = key.split("__")
        reduce(getitem, sections, values)[last] = value
    return values


def checked(**changes) -> params.Params:
    """The sections of mini.yaml with values replaced."""
    return params.check(config(**changes), "x.yaml")[0]


def message_for(**changes) -> str:
    """The message of the error that mini.yaml with values replaced raises."""
    with pytest.raises(ParamsError) as caught:
        checked(**changes)
    message = str(caught.value)
    assert message.startswith("x.yaml: ")
    return message


def leaves(node: yaml.Node, path: str = "", lines: tuple[int, ...] = ()):
    """Yield the key of each leaf of a YAML tree, with the lines of the leaf and of the mappings around it."""
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


VALUES = sorted(path for path in (ROOT / "params").glob("*.yaml") if path.stem != "claims")  # claims give reasons


@pytest.mark.parametrize("path", VALUES, ids=lambda path: path.name)
def test_every_value_has_its_source(path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    missing = [key for key, numbers in leaves(yaml.compose(text)) if not any(SOURCE.search(lines[n]) for n in numbers)]
    assert not missing, f"{path.name}: no source in a comment for {', '.join(missing)}"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"debat": {}}, ["unknown key 'debat'", "did you mean 'debate'"]),
        ({"debate__agent": 5}, ["in debate: unknown key 'agent'", "did you mean 'agents'"]),
        ({"studnets": "a"}, ["unknown key 'studnets'", "did you mean 'students'"]),
        ({"zzzz": 1}, ["unknown key 'zzzz'", "there are study, sizes"]),
        ({"distill__lora": {**LORA, "alpah": 16}}, ["lora", "unknown key 'alpah'", "did you mean 'alpha'"]),
        (
            {"judges__verifier": {**MODEL, "engine": {"name": "openai", "retires": 1}}},
            ["in judges.verifier.engine: unknown key 'retires'", "did you mean 'retries'"],
        ),
    ],
)
def test_unknown_keys(changes, parts):
    message = message_for(**changes)
    assert all(part in message for part in parts), message


def test_all_unknown_keys_at_once():
    message = message_for(debat={}, teachr="x")
    assert "'debate'" in message and "'teacher'" in message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"distill__learning_rate": "1e-5"}, ["distill.learning_rate", "1.0e-5"]),
        ({"debate__layout": "sharde"}, ["debate.layout", "'shared'", "'own_history'", "did you mean 'shared'"]),
        ({"study__methods": ["rsft", 1]}, ["study.methods.1", "string"]),
        ({"method": 1}, ["method", "string"]),
        ({"protocol": None}, ["protocol", "string"]),
        ({"split": "tset"}, ["split", "did you mean 'test'"]),
        ({"debate__agents": "5"}, ["debate.agents", "integer"]),
        ({"debate__agents": True}, ["debate.agents", "integer"]),
        ({"debate__agents": 5.0}, ["debate.agents", "integer"]),
        ({"engine__share_prefix": 1}, ["engine.share_prefix", "boolean"]),
        ({"debate": [1]}, ["debate", "dictionary"]),
        ({"study__name": "a/b"}, ["study.name"]),
        ({"study__teachers": []}, ["study.teachers", "at least 1 item"]),
        ({"study__protocols": []}, ["study.protocols", "at least 1 item"]),
        ({"sizes__tasks": {"mini_gsm": {"trian": 5}}}, ["sizes.tasks.mini_gsm", "did you mean 'train'"]),
    ],
)
def test_wrong_values(changes, parts):
    message = message_for(**changes)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"sizes__debate_test": 1001}, ["debate_test (1001)", "test (1000)"]),
        ({"study__students": ["zoo/a", "zoo/a"]}, ["study.students", "twice"]),
        ({"study__protocols": ["debate", "debate"]}, ["study.protocols", "twice"]),
        ({"sizes__tasks": {"mini_gms": {}}}, ["sizes.tasks", "unknown task 'mini_gms'", "did you mean 'mini_gsm'"]),
        ({"debate__agents": 1}, ["debate.agents", "2"]),
        ({"debate__agents": 21}, ["debate.agents", "20"]),
        ({"extract__max_traces": 4}, ["extract.max_traces", "3"]),
        ({"debate__temperature": 0}, ["debate.temperature", "greater than 0"]),
        ({"stats__level": 95}, ["stats.level", "less than 1"]),
        ({"limit": -1}, ["limit"]),
    ],
)
def test_impossible(changes, parts):
    message = message_for(**changes)
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("key", ["distill__learning_rate", "debate__temperature", "distill__weight_decay"])
def test_infinite_is_impossible(key):
    assert key.replace("__", ".") in message_for(**{key: float("inf")})
    assert key.replace("__", ".") in message_for(**{key: float("nan")})


def test_negative_seed_is_impossible():  # numpy rejects it, but only after hours of debate
    assert "study.seeds" in message_for(study__seeds=[0, -1])


@pytest.mark.parametrize("name", [".", ".."])
def test_study_name_stays_within_results(name):
    assert "study.name" in message_for(study__name=name)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split": "tset"}, "split must be 'train', 'dev' or 'test', not 'tset'; did you mean 'test'?"),
        ({"study__seeds": []}, "study.seeds must have at least 1 item, not []"),
        (
            {"distill__lora": {**LORA, "target_modules": 5}},
            "distill.lora.target_modules: must be a name or a list of names, not 5",
        ),
    ],
)
def test_one_sentence_for_one_mistake(changes, sentence):
    assert message_for(**changes) == f"x.yaml: {sentence}"


@pytest.mark.parametrize("agents", [2, 20])
def test_limits_are_possible(agents):
    sections = checked(debate__agents=agents, sizes__debate_test=1000, distill__lora=LORA)
    assert sections.debate.agents == agents and sections.distill.lora.r == 8


def test_a_method_may_have_its_own_rate_and_epochs():
    own = {"sft": {"learning_rate": 3e-4}, "da": {"epochs": 7}}
    distill = checked(distill__by_method=own, distill__learning_rate=1e-3, distill__epochs=3).distill
    found = {name: (distill.of(name).learning_rate, distill.of(name).epochs) for name in ("sft", "da", "rsft")}
    assert found == {"sft": (3e-4, 3), "da": (1e-3, 7), "rsft": (1e-3, 3)}
    assert distill.of("sft").by_method == {} and distill.by_method["da"].epochs == 7  # nothing is changed
    assert "distill.by_method.sft.learning_rate" in message_for(distill__by_method={"sft": {"learning_rate": 0.0}})


def test_missing_section_and_key():
    values = config()
    del values["stats"], values["sizes"]["dev"]
    with pytest.raises(ParamsError) as caught:
        params.check(values, "x.yaml")
    assert "sizes.dev is missing" in str(caught.value) and "stats is missing" in str(caught.value)


@pytest.mark.parametrize("level", ["file", "section"])
def test_key_that_is_not_text(level):  # YAML reads `on:` as True
    values = config()
    (values if level == "file" else values["debate"])[True] = 1
    with pytest.raises(ParamsError, match="unknown key True"):
        params.check(values, "x.yaml")


def test_check_changes_nothing():
    values = config(study__axes={"debate.agents": [3, 5]}, axes={"debate.agents": 3})
    before = copy.deepcopy(values)
    sections, _ = params.check(values, "x.yaml")
    assert values == before
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
    ("text", "sentence"),
    [
        (b"study: [1, 2", "is not YAML"),
        (b"a: b: c", "is not YAML"),
        (b"- study\n- sizes\n", "not list"),
        (b"", "not NoneType"),
        (b"\xff\xfe\x00", "x.yaml"),
    ],
)
def test_files_that_are_not_params(tmp_path, text, sentence):
    path = tmp_path / "x.yaml"
    path.write_bytes(text)
    with pytest.raises(ParamsError, match=sentence):
        params.load(path)


def test_folder_is_not_a_params_file(tmp_path):
    with pytest.raises(ParamsError, match=tmp_path.name):
        params.load(tmp_path)


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from agentark import params; params.load(sys.argv[1]); "
        "print(*sorted({'torch', 'transformers', 'trl', 'pandas', 'numpy', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(MINI)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_choosing_by_a_model_needs_one():
    assert "needs judges.diversity and judges.distiller" in message_for(extract__diversity="extract")
    assert "needs judges.distiller" in message_for(extract__diversity="extract", judges__diversity=MODEL)
    checked(extract__diversity="judge", judges__diversity=MODEL)
    assert "did you mean 'chunk'" in message_for(judges__verifier={**MODEL, "chunks": 3})


def test_names_of_methods_and_protocols_are_checked_elsewhere():
    sections, coordinates = params.check(
        config(study__methods=["a"], study__protocols=["b"], method="a", protocol="b"), "x.yaml"
    )
    assert sections.study.methods == ["a"] and sections.study.protocols == ["b"]
    assert coordinates.method == "a" and coordinates.protocol == "b"


def test_new_keys_have_defaults():
    values = config()
    for key in ("protocols", "axes"):
        values["study"].pop(key, None)
    study = params.check(values, "x.yaml")[0].study
    assert study.protocols == ["debate"] and study.axes == {}
