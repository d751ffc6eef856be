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
        ({"distill__by_method": {"sft": {"epoch": 1}}}, ["in distill.by_method.sft: unknown key", "mean 'epochs'"]),
        ({"rl__by_method": {"pad": {"zzz": 1}}}, ["in rl.by_method.pad: unknown key 'zzz'; there are learning_rate"]),
        (
            {"study__axes": {"rl.by_method": [{"pad": {"zzz": 1}}]}},
            ["study.axes.rl.by_method = a mapping with 1 key: in rl.by_method.pad: unknown key 'zzz'"],
        ),
        (
            {"judges__verifier": {**MODEL, "engine": {"name": "openai", "zzzz": 1}}},
            ["in judges.verifier.engine: unknown key 'zzzz'; there are name, batch"],
        ),
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
        ({"study__name": "a/b"}, ["study.name", "not 'a/b'"]),
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


SERVER = {"name": "openai", "base_url": "http://h/v1", "concurrency": 8, "timeout_s": 9.0, "retries": 2}
VLLM = {"name": "vllm", "batch": 8, "dtype": "auto", "share_prefix": True, "tensor_parallel": 1, "data_parallel": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"study__seeds": [0, 2**32]}, "study.seeds.1 must be at most 4,294,967,295, not 4294967296"),
        ({"study__seeds": [10**5000]}, "study.seeds.0 must be at most 4,294,967,295, not a number of about 4,983 digits"),
        ({"seed": 2**32}, "seed must be less than 4294967296, not 4294967296"),
        ({"study__name": "reference"}, "study.name is reference, the folder of the committed results: choose another"),
        ({"study__name": "mini-first5"}, "study.name is 'mini-first5', the folder of a slice of another study"),
        ({"study__name": "a" * 101}, "study.name has 101 characters, more than 100: shorten it"),
        ({"study__students": [""]}, "study.students.0 is empty: write a name"),
        ({"study__students": [" a/b"]}, "study.students.0 has a space at an end"),
        ({"study__students": ["a" * 300]}, "study.students.0 is longer than the name of a file can be: shorten it"),
        ({"distill__learning_rate": 1e300}, "distill.learning_rate must be at most 1.0, not 1e+300"),
        ({"distill__learning_rate": 1e-300}, "distill.learning_rate must be at least 1e-10, not 1e-300"),
        ({"distill__by_method": {"sft": {"learning_rate": 9.0}}}, "distill.by_method.sft.learning_rate must be at most 1"),
        ({"distill__lora": {**LORA, "dropout": 1.0}}, "distill.lora.dropout must be at most 0.9, not 1.0"),
        ({"distill__lora": {**LORA, "target_modules": []}}, "distill.lora.target_modules is an empty list: write all-linear"),
        ({"distill__lora": {**LORA, "target_modules": [""]}}, "distill.lora.target_modules.0 is empty"),
        ({"distill__lora": {**LORA, "target_modules": "("}}, "distill.lora.target_modules is no regular expression"),
        ({"debate__rounds": 10**9}, "debate.rounds must be at most 100, not 1000000000"),
        ({"debate__temperature": 1e-300}, "debate.temperature must be at least 0.01"),
        ({"stats__resamples": 10**12}, "stats.resamples must be at most 10,000,000"),
        ({"engine": {**VLLM, "max_model_len": 112}}, "engine.max_model_len (112) leaves no room for a prompt beside a reply"),
        ({"judges__verifier": {**MODEL, "engine": {**VLLM, "max_model_len": 8}}}, "judges.verifier.engine.max_model_len (8)"),
        ({"study__axes": {"distill.learning_rate": [2.0]}}, "study.axes.distill.learning_rate = 2.0: distill.learning_rate"),
        ({"axes": {"debate.rounds": 500}}, "axes.debate.rounds = 500: debate.rounds must be at most 100"),
    ],
)  # fmt: skip
def test_what_would_fail_later_or_mean_nothing(changes, sentence):
    message = message_for(**changes)
    assert message.startswith(f"x.yaml: {sentence}") and "\n" not in message


@pytest.mark.parametrize(
    "url",
    ["http:///v1", "http://:8000/v1", "http://h:99999/v1", "http://h:x/v1", "http://[::1/v1", "http://h/v1#a", "https://",
     "ftp://h/v1", "h:8000/v1", "http://é/v1", "http://user:secret@h/v1", "http://h/v1?key=secret"],
)  # fmt: skip
def test_an_address_without_a_server_is_refused_and_not_shown(url):
    message = message_for(engine={**SERVER, "base_url": url})
    assert message.startswith(
        "x.yaml: engine.base_url must be the address of a server, such as http://localhost:8000/v1"
    )
    assert url not in message and "secret" not in message


@pytest.mark.parametrize(
    "url", ["http://h", "https://h.example:8000/v1/", "http://127.0.0.1:1/v1", "http://[::1]:80/v1"]
)
def test_an_address_of_a_server(url):
    assert checked(engine={**SERVER, "base_url": url}).engine.base_url == url


def test_a_method_of_the_server_is_no_address():
    url = "http://h/v1/chat/completions"
    assert "engine.base_url must end before the name of a method" in message_for(engine={**SERVER, "base_url": url})


KEY = "sk-" + "aB3" * 12


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {**SERVER, "api_key_env": KEY}},
        {"engine": {**SERVER, "api_key_env": KEY.replace("-", "_")}},
        {"engine": {**SERVER, "api_key_env": [KEY]}},
        {"engine": {**SERVER, "api_key": KEY}},
        {"engine": [{**SERVER, "api_key": KEY}]},
        {"engine": f"openai {KEY}"},
        {"engine": {**SERVER, KEY: 1}},
        {"judges__verifier": {**MODEL, "engine": {**SERVER, "retries": KEY}}},
        {"judges__verifier": {**MODEL, "engine": {**SERVER, "base_url": f"http://{KEY}@h/v1"}}},
        {"study__axes": {"engine.base_url": [f"http://h/v1?key={KEY}"]}},
        {"study__axes": {"engine.dtype": [KEY, KEY]}},
        {KEY: 1},
    ],
)
def test_keys_of_servers_are_never_shown(changes):
    message = message_for(**changes)
    assert "aB3aB3" not in message, message


@pytest.mark.parametrize(
    "value", ["x" * 10_000, ["x"] * 10_000, {f"k{n}": n for n in range(1000)}, 10**5000, [[[1]]]],
    ids=["text", "list", "mapping", "number", "nested"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["debate__layout", "debate__rounds", "study__seeds", "study__axes", "engine", "method"])
def test_values_are_shortened(key, value):
    lines = message_for(**{key: value}).splitlines()
    assert len(lines) <= 21 and all(len(line) < 1_200 for line in lines)


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
        (b"\xff\xfe\x00", "x.yaml, line 1: byte 1 is not UTF-8: save the file as UTF-8"),
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
