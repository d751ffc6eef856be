"""Names in params files: what does not exist or does not fit together is refused in one sentence, before torch is loaded."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml

from agentark import notebook, params, store, tasks
from agentark.distill import method
from agentark.mas import protocol
from agentark.params import ParamsError

MINI = store.ROOT / "params" / "mini.yaml"


def values(**changes) -> dict:
    """The values of mini.yaml with other ones: study__methods=["sft"] sets study.methods."""
    result = yaml.safe_load(MINI.read_text())
    for key, value in changes.items():
        section, _, name = key.partition("__")
        (result[section] if name else result)[name or section] = value
    return result


def check(**changes) -> None:
    notebook.check_names(*params.check(values(**changes), "x.yaml"))


UNKNOWN = [  # a change of mini.yaml, the nearest name, and some of the names that exist
    ({"study__methods": ["rsft", "rstf"]}, "rstf", "rsft", ("sft", "da", "pad", "ppo", "rlvr")),
    ({"study__protocols": ["debat"]}, "debat", "debate", ("self_consistency", "shuffled", "single")),
    ({"study__train_tasks": ["mini_gms"]}, "mini_gms", "mini_gsm", ("gsm8k", "medmcqa", "mini_med")),
    ({"study__test_tasks": ["gsm8"]}, "gsm8", "gsm8k", ("mini_gsm", "medmcqa", "mini_med")),
    ({"study__axes": {"debate.agent": [3]}}, "debate.agent", "debate.agents", ("rounds", "layout", "wording")),
    ({"study__teachers": ["zoo/qwen3-23b"]}, "zoo/qwen3-23b", "zoo/qwen3-32b", ("zoo/llama3-8b", "zoo/qwen3-0.6b")),
    ({"study__students": ["qwen3-0.6"]}, "qwen3-0.6", "zoo/qwen3-0.6b", ("Qwen3-0.6B", "zoo/llama3-8b")),
    ({"prm__backbone": "zoo/llama-8b"}, "zoo/llama-8b", "zoo/llama3-8b", ("zoo/qwen3-0.6b",)),
    ({"distill__by_method": {"rstf": {"epochs": 1}}}, "rstf", "rsft", ("sft", "da", "gold_da")),
    ({"distill__by_method": {"pda": {"epochs": 1}}}, "pda", "da", ("sft", "rsft")),
    ({"method": "majority"}, "majority", "base_majority", ("base", "rsft", "pad")),
    ({"protocol": "shufled"}, "shufled", "shuffled", ("debate", "single")),
]


@pytest.mark.parametrize(
    ("methods", "name", "partner"),
    [
        (["sft", "gold_rsft"], "gold_rsft", "rsft"),
        (["rsft", "da_single"], "da_single", "da"),
        (["pad_shuffled"], "pad_shuffled", "pad"),
    ],
)
def test_a_control_without_its_partner_is_refused(methods, name, partner):
    with pytest.raises(ParamsError, match=f"^study.methods: {name} is a control of {partner}, which .* add {partner}"):
        check(study__methods=methods)
    check(study__methods=[*methods, partner])


def test_what_a_control_is_a_control_of_has_it_among_its_controls():
    known = method.methods()
    for name, control in known.items():
        assert not control.control_of or name in known[control.control_of].controls


@pytest.fixture(scope="module")
def refused(tmp_path_factory) -> list:
    """Of each of UNKNOWN: the exit status of `agentark plan`, its message, and whether torch was imported."""
    paths = []
    for n, (changes, *_) in enumerate(UNKNOWN):
        paths.append(tmp_path_factory.mktemp(str(n)) / "mini.yaml")
        paths[-1].write_text(yaml.safe_dump(values(**changes)))
    code = """
import contextlib, io, json, sys
from agentark import cli
results = []
for path in sys.argv[1:]:
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        status = cli.main(["plan", path])
    results.append([status, stderr.getvalue(), "torch" in sys.modules])
print(json.dumps(results))
"""
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("n", range(len(UNKNOWN)), ids=lambda n: UNKNOWN[n][1])
def test_an_unknown_name_gives_the_nearest_and_the_list_before_torch_is_imported(refused, n):
    _, name, near, others = UNKNOWN[n]
    status, message, imported = refused[n]
    assert status == 2 and not imported
    assert message.startswith("agentark: ") and message.strip().count("\n") == 0
    assert repr(name) in message and f"did you mean {near!r}" in message
    assert all(other in message for other in others), message


@pytest.mark.parametrize(
    ("kind", "changes", "names"),
    [
        ("method", {"study__methods": ["zzzz"]}, ("sft", "rsft", "pad")),
        ("protocol", {"study__protocols": ["zzzz"]}, ("debate", "single")),
        ("task", {"study__train_tasks": ["zzzz"]}, ("mini_gsm", "gsm8k")),
    ],
)
def test_a_name_that_resembles_none_gives_the_list(kind, changes, names):
    with pytest.raises(ParamsError, match=f"unknown {kind} 'zzzz'") as raised:
        check(**changes)
    assert "did you mean" not in str(raised.value) and all(name in str(raised.value) for name in names)


@pytest.mark.parametrize("path", sorted((store.ROOT / "params").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_committed_studies_are_accepted(path):
    if path.stem not in ("zoo", "claims"):  # no studies
        notebook.check_names(*params.load(path))


@pytest.mark.parametrize("key", ["train_tasks", "test_tasks"])
def test_two_task_files_of_one_base_name_are_refused(tmp_path, key):
    """Results are named by it: the rows of one file would be read as those of the other."""
    paths = [tmp_path / folder / "my.jsonl" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        path.write_text('{"question": "1+1?", "answer": 2}\n')
    first, second = map(str, paths)
    check(**{f"study__{key}": [first]})
    with pytest.raises(ParamsError, match=f"study.train_tasks and test_tasks: {first} and {second} have the same base"):
        check(**{"study__train_tasks": [first], f"study__{key}": [first, second]})


@pytest.mark.parametrize("key", ["teachers", "students"])
def test_two_networks_of_one_base_name_are_refused(tmp_path, key):
    for folder in ("a", "b"):
        (tmp_path / folder / "net").mkdir(parents=True)
        (tmp_path / folder / "net" / "config.json").write_text('{"max_position_embeddings": 4096}')
    names = [str(tmp_path / folder / "net") for folder in ("a", "b")]
    with pytest.raises(ParamsError, match=f"^study.{key}: .* have the same base name, .*: rename one of them$"):
        check(**{f"study__{key}": names})


@pytest.mark.parametrize("name", ["base", "base_majority"])
def test_a_method_that_trains_nothing_is_refused(name):
    with pytest.raises(ParamsError, match=f"^study.methods: {name} trains nothing"):
        check(study__methods=["rsft", name])
    check(study__methods=["rsft"], method=name)  # but a notebook may show it


@pytest.mark.parametrize("methods", [["pad"], ["ppo", "sft"], ["rlvr"]])
def test_rewards_that_start_from_rsft_need_rsft(methods):
    rl = values()["rl"] | {"init": "rsft"}
    with pytest.raises(ParamsError, match="study.methods has no rsft: add it, or use init: base"):
        check(study__methods=methods, rl=rl)
    check(study__methods=[*methods, "rsft"], rl=rl)
    check(study__methods=["sft"], rl=rl)
    check(study__methods=methods)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": 5, "critic_warmup": 5}, "rl.critic_warmup = 5 leaves ppo no step of rl.steps = 5: lower it"),
        (
            {"steps": 5, "schedule": "linear", "warmup_steps": 9, "critic": False},
            "rl.warmup_steps = 9 leaves ppo no step",
        ),
        ({"critic_warmup": 4, "by_method": {"ppo": {"steps": 3}}}, "rl.critic_warmup = 4 leaves ppo no step"),
    ],
)
def test_a_warm_up_leaves_steps(changes, sentence):
    rl = values()["rl"] | changes
    with pytest.raises(ParamsError, match=sentence):
        check(study__methods=["ppo"], rl=rl)
    check(study__methods=["ppo"], rl=rl | {"steps": 50, "by_method": {}})
    check(study__methods=["sft"], rl=rl)


def test_a_test_set_that_has_training_problems_is_refused():
    embedded = {"study__train_tasks": ["asdiv", "medmcqa_embedded"], "study__test_tasks": ["pubmedqa", "medmcqa"]}
    why = tasks.get("medmcqa_embedded").shares_problems["medmcqa"]
    with pytest.raises(ParamsError) as raised:
        check(**embedded)
    message = str(raised.value)
    assert "learned from medmcqa_embedded cannot be tested on medmcqa" in message and why in message
    assert message.endswith("test on medmcqa_embedded, or train on another set")
    check(study__train_tasks=["asdiv"], study__test_tasks=["pubmedqa", "medmcqa"])


# Two files that declare the same name; tests/test_declarations.py writes such files.


def twice(monkeypatch, module, by_name, declaration, kind: str) -> None:
    """Check that two modules with the same declaration are refused by name."""
    by_name.cache_clear()
    monkeypatch.setattr(module, "discover", lambda *_: {"agentark.first": declaration, "agentark.second": declaration})
    try:
        with pytest.raises((ParamsError, ValueError)) as raised:
            check()
        assert isinstance(raised.value, ParamsError)
        for part in ("agentark.first and agentark.second", f"both declare the {kind}"):
            assert part in str(raised.value)
    finally:
        by_name.cache_clear()


def test_two_methods_of_one_name(monkeypatch):
    twice(monkeypatch, method, method.methods, method.methods()["rsft"], "method 'rsft'")


def test_two_protocols_of_one_name(monkeypatch):
    twice(monkeypatch, protocol, protocol.protocols, protocol.protocols()["debate"], "protocol 'debate'")


def test_two_benchmarks_of_one_name(monkeypatch):
    sums = replace(tasks.get("sums"), licence="another")
    twice(monkeypatch, tasks, tasks._by_name, (sums,), "task 'sums'")
