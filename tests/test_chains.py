"""Chains: students that start from another student, and what two steps are compared with."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from test_distill import CELL, TRACES, examples_of
from test_graph import config, jobs
from test_names import check
from tiny import DISTILL, LORA, but

from agentark import params, store
from agentark.cells import Cell, Files
from agentark.distill import chains, method, sft, students
from agentark.distill.artifacts import STUDENTS
from agentark.distill.data import DistillError, completion_tokens
from agentark.distill.method import links, methods
from agentark.graph import graph
from agentark.graph.job import Study
from agentark.models import load
from agentark.params import ParamsError
from agentark.plan.cost import expected
from agentark.plan.rates import rates
from agentark.report import two_step

TWO = {"study": {"methods": ["rsft", "da", "rsft_then_da", "da_then_rsft"]}}
ONE_EPOCH = but(DISTILL, epochs=1)


@pytest.fixture
def declared(monkeypatch):
    """A function that declares further methods for a test: DA after another one, by name."""

    def declare(**after):
        known = methods()
        more = {name: replace(known["da"], name=name, after=first) for name, first in after.items()}
        method.methods.cache_clear()
        monkeypatch.setattr(method, "discover", lambda *_: {name: each for name, each in (known | more).items()})

    yield declare
    method.methods.cache_clear()


# What is declared


def test_the_links_of_a_method():
    assert links("da") == ["da"] and links("base") == ["base"]
    assert links("rsft_then_da") == ["rsft", "rsft_then_da"] and links("da_then_pad") == ["da", "da_then_pad"]


def test_a_chain_of_any_length_is_one_more_file(declared):
    declared(third="rsft_then_da", fourth="third")
    assert links("fourth") == ["rsft", "rsft_then_da", "third", "fourth"]
    names = ["rsft", "rsft_then_da", "third", "fourth"]
    ordered = [job.coordinates.get("method") for job in jobs(study={"methods": names, "train_tasks": ["mini_gsm"]})]
    assert [name for name in ordered if name in names] == names


@pytest.mark.parametrize(
    ("after", "name", "sentence"),
    [
        ({"mine": "mine"}, "mine", r"^the method mine starts from itself \(mine -> mine\): correct `after`"),
        ({"a": "c", "b": "a", "c": "b"}, "c", r"starts from itself \((a -> b -> c -> a|c -> a -> b -> c)\)"),
        ({"mine": "rsfd"}, "mine", "unknown method 'rsfd'; did you mean 'rsft'"),
        ({"mine": "base"}, "mine", "unknown method 'base'"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_in_one_sentence(declared, after, name, sentence):
    declared(**after)
    for refused in (lambda: check(study__methods=[*after]), lambda: check(method=name)):
        with pytest.raises(ParamsError, match=sentence) as raised:
            refused()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("names", "first"), [(["da", "rsft_then_da"], "rsft"), (["rsft", "da_then_rsft"], "da")])
def test_a_chain_without_its_first_step_is_refused(names, first):
    with pytest.raises(ParamsError, match=f"starts from the students of {first}, which the study does not have: add"):
        check(study__methods=names)
    check(study__methods=[*names, first])


def test_one_step_with_the_traces_of_both(networks):
    tokenizer = load.load_tokenizer(networks["qwen3"])
    one, two, both = (examples_of(name, tokenizer=tokenizer) for name in ("rsft", "da", "rsft_and_da"))
    assert both == [*one, *two] and one and two
    total = sum(completion_tokens(each, tokenizer) for each in (one, examples_of("rsft_then_da")))
    assert completion_tokens(both, tokenizer) == total
    mini = config()
    assert methods()["rsft_and_da"].copies(mini) == 1 + mini.extract.max_traces


# The graph


def by_name(**changes):
    return {job.name: job for job in jobs(**changes)}


def test_each_link_reads_the_student_before_it_and_is_planned_once():
    found = by_name(study={**TWO["study"], "seeds": [0, 1]})
    once = by_name(study={"methods": ["rsft", "da"], "seeds": [0, 1]})
    for seed in (0, 1):
        first = found[f"04_rsft-qwen3-32b-rsft-mini_gsm-s{seed}"]
        second = found[f"05_da-qwen3-32b-rsft_then_da-mini_gsm-s{seed}"]
        alone = found[f"05_da-qwen3-32b-da-mini_gsm-s{seed}"]
        assert set(second.inputs) - set(alone.inputs) == {p for p in first.outputs if p.parent.name == "students"}
        tokens = [expected(job, config(), rates(config())).tokens for job in (second, alone)]
        assert tokens[0] == tokens[1]  # its own training alone; the first step is another job
    added = [name for name in set(found) - set(once) if name.startswith(("04", "05"))]
    assert len(added) == 2 * 2 * 2  # two chains, two seeds, two tasks; each student twice would be more


def test_a_chain_varies_with_what_its_steps_vary_with():
    names = ["rsft", "da", "pad", "pad_then_da", "da_then_pad"]
    axes = {"rl.steps": [100, 7], "distill.epochs": [10, 3]}
    found = by_name(study={"methods": names, "axes": axes})
    tail = "-mini_gsm-s0-rl.steps=7-distill.epochs=3"
    for name, first in (
        (f"05_da-qwen3-32b-pad_then_da{tail}", f"07_pad-qwen3-32b-pad{tail.replace('-distill.epochs=3', '')}"),
        (f"07_pad-qwen3-32b-da_then_pad{tail}", "05_da-qwen3-32b-da-mini_gsm-s0-distill.epochs=3"),
    ):
        assert {p for p in found[first].outputs if p.parent.name == "students"} <= set(found[name].inputs), name
    assert f"05_da-qwen3-32b-da{tail}" not in found  # DA alone does not depend on rl


def test_a_policy_that_starts_from_rsft_reads_the_student_that_there_is():
    """R-SFT does not depend on rl, so that its students have no value of such an axis in their names."""
    found = by_name(study={"methods": ["rsft", "rlvr"], "axes": {"rl.steps": [100, 7]}}, rl={"init": "rsft"})
    for tail in ("", "-rl.steps=7"):
        inputs = found[f"07_pad-qwen3-32b-rlvr-mini_gsm-s0{tail}"].inputs
        rsft = found["04_rsft-qwen3-32b-rsft-mini_gsm-s0"].outputs
        assert {p for p in rsft if p.parent.name == "students"} <= set(inputs)


def test_from_which_student_a_cell_starts():
    axes = (("debate.agents", 3), ("distill.epochs", 2), ("rl.steps", 7))
    cell = Cell("t", "s", "da_then_pad", train="mini_gsm", protocol="debate", seed=4, axes=axes)
    assert chains.start(cell, "rsft") == cell.but(method="da", axes=axes[:2])  # `after` goes before rl.init
    assert chains.start(cell.but(method="pad"), "rsft") == cell.but(method="rsft", axes=axes[:2])
    assert chains.start(cell.but(method="pad"), "base") is None
    assert chains.start(cell.but(method="pad_then_da"), "base") == cell.but(method="pad", axes=(axes[0], axes[2]))
    assert chains.start(cell.but(method="da"), "rsft") is None


# The training


@pytest.fixture
def train(networks, tmp_path):
    """A function that trains a link of rsft_then_da on TRACES, and returns its log."""
    files = Files(tmp_path)

    def run(name, traces_id="abc", config=ONE_EPOCH, **changes):
        cell = CELL.but(student=networks["qwen3"], method=name, **changes)
        network = chains.policy(files, cell, "base")
        start = "" if network == cell.student else network
        return students.run(files.path(STUDENTS, cell), cell, TRACES, traces_id, 6, config, start)

    run.folder = lambda name: files.path(STUDENTS, CELL.but(student=networks["qwen3"], method=name))
    return run


def about(folder: Path) -> dict:
    return json.loads(store.manifest_path(folder).read_text())["about"]


@pytest.mark.parametrize("lora", [None, LORA], ids=["all weights", "adapters"])
def test_the_second_step_starts_from_the_first_and_is_stale_if_that_changes(train, monkeypatch, lora):
    settings, first, second = but(ONE_EPOCH, lora=lora), train.folder("rsft"), train.folder("rsft_then_da")
    train("rsft", config=settings)
    log = train("rsft_then_da", config=settings)
    one, two = about(first), about(second)
    assert two["revision"] == load.revision(str(first)) != one["revision"] and "start" not in one
    assert two["start"] == f"{first.name} {store.identity(first)}"
    assert log["examples"] == len(examples_of("da")) and load.load(str(second))
    used, original = [], sft.train
    monkeypatch.setattr(sft, "train", lambda network, *rest: used.append(network) or original(network, *rest))
    assert train("rsft_then_da", config=settings) == log and not used  # finished: nothing is done
    train("rsft", traces_id="def", config=settings)
    train("rsft_then_da", config=settings)  # the weights of the first are the same, what it was made from is not
    assert used == [about(second)["student"], str(first)] and about(second)["start"] != two["start"]


def test_a_second_step_without_the_first_says_what_to_do(train):
    with pytest.raises(DistillError, match=r"^rsft_then_da starts from the student of rsft, and there is none in .*"
                       r"\(notebook 04_rsft, method rsft, seed 3\), or run the whole study"):  # fmt: skip
        train("rsft_then_da", seed=3)
    train("rsft")
    store.manifest_path(train.folder("rsft")).unlink()  # a training that was killed just before its end
    with pytest.raises(DistillError, match="there is none in"):
        train("rsft_then_da")
    assert not train.folder("rsft_then_da").exists()


class Cut(sft.TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt


def test_an_interrupted_second_step_ends_with_the_same_weights(train, monkeypatch, networks, tmp_path):
    train("rsft")
    original, cuts = sft.train, [(Cut(),)]
    monkeypatch.setattr(sft, "train", lambda *args: original(*args, cuts.pop() if cuts else ()))
    settings = but(DISTILL, epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train("rsft_then_da", config=settings)
    train("rsft_then_da", config=settings)
    resumed = load.revision(str(train.folder("rsft_then_da")))
    store.manifest_path(train.folder("rsft_then_da")).unlink()
    train("rsft_then_da", config=settings)
    assert not cuts and load.revision(str(train.folder("rsft_then_da"))) == resumed


# The report


def costs(**each) -> pd.DataFrame:
    """Trainings of one student on one task by method: (examples, tokens) of each seed."""
    rows = []
    for name, seeds in each.items():
        for seed, (examples, tokens) in enumerate(seeds):
            row = {"student": "s", "method": name, "task": "t", "seed": seed, "examples": examples}
            rows.append(row | {"steps": 2 * examples, "tokens": tokens, "completion_tokens": tokens // 2})
    return pd.DataFrame(rows)


def test_what_a_chain_has_learnt_from_by_hand():
    table = costs(rsft=[(10, 100), (20, 300)], da=[(30, 500)] * 2, rsft_then_da=[(30, 500)] * 2, prm=[(1, 1)])
    found = two_step.amounts(table).set_index("method")
    assert list(found.index) == ["rsft", "da", "rsft_then_da"]
    assert list(found.loc["rsft_then_da", ["links", *two_step.AMOUNTS]]) == [2, 15 + 30, 30 + 60, 200 + 500, 350]
    assert list(found.loc["rsft", ["links", *two_step.AMOUNTS]]) == [1, 15, 30, 200, 100]
    with pytest.raises(ValueError, match="rsft_then_da starts from rsft, whose training is not there"):
        two_step.amounts(table[table.method != "rsft"])


def test_table_7_by_hand():
    accuracy = {"base": [0.3], "rsft": [0.4, 0.5], "rsft_then_da": [0.5, 0.6], "da_then_rsft": [0.4, 0.4]}
    rows = [
        {"student": "s", "train": "t", "test": "t", "method": name, "seed": seed, "accuracy": value}
        for name, values in accuracy.items()
        for seed, value in enumerate(values)
    ]
    found = two_step.table7(pd.DataFrame(rows)).set_index("method")
    assert found.loc["rsft_then_da", ["first", "chain", "gain"]].tolist() == pytest.approx([45, 55, 10])
    assert pd.isna(found.loc["rsft_then_da", "second"])  # DA alone was not run
    assert found.loc["da_then_rsft", "second"] == pytest.approx(45) and pd.isna(found.loc["da_then_rsft", "gain"])
    assert two_step.table7(pd.DataFrame(rows[:1])).empty


def test_the_traces_that_both_steps_take():
    """Of TRACES, by hand: R-SFT has one of each of three problems, DA five of two, the single ones do not count."""
    assert two_step.shared(TRACES) == {"R-SFT": 3, "DA": 5, "both": 2}


def test_the_last_step_of_a_chain():
    last = {"rsft_then_da": "da", "da_then_rsft": "rsft", "pad_then_da": "da", "da_then_pad": "pad", "da": "da"}
    assert {name: two_step.step_of(name) for name in last} == last


def test_the_report_is_of_studies_with_chains():
    steps = params.load(store.ROOT / "params" / "mini-steps.yaml")[0]
    (job,) = two_step.jobs(Study(steps))
    assert job.notebook == "17_two_step" and {p.name for p in job.outputs} == {"two_step.csv", "two_step_amounts.csv"}
    read = {p.name for p in job.inputs}
    assert {f"qwen3-32b.qwen3-1.7b.rsft_then_da.mini_gsm.s{s}.manifest.json" for s in (0, 1, 2)} <= read
    assert not list(two_step.jobs(Study(config())))
    assert "17_two_step" in {job.name for job in graph.all_jobs(steps, 0)}
