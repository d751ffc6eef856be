"""Manifests count the rows that a task left out and how answers were compared; mini tasks count neither."""

import json

import pytest
from tiny import DEBATE, ENGINE, EVALUATE, Scripted, but

from agentark import engines, store, tasks
from agentark.cells import Cell
from agentark.evaluate import predict
from agentark.grade import grading
from agentark.mas import generation
from agentark.tasks import answers, asdiv, gsm_symbolic, math, metamathqa

DROPPED = {"several answers": 90, "the same question again": 1}  # of ASDiv
ADDED = {"dropped", "compared"}


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    """A function that lets agents and a model, which are always right, answer two problems, and grades the texts.

    It returns the manifests of the debate, of its grades and of the grades of the model's answers.
    """

    def run(task):
        gold = {p.question: p.answer for p in tasks.problems(task, "train", 2)}
        engine = Scripted(lambda question, number, agent: next(a for q, a in gold.items() if question.startswith(q)))
        monkeypatch.setattr(engines, "make", lambda model, config: engine)
        log, rows = tmp_path / "debates" / "x.parquet", tmp_path / "predictions" / "x.parquet"
        cell = Cell(teacher="some/teacher", train=task, protocol="debate")
        generation.run(log, cell, 2, but(DEBATE, aggregator="majority"), ENGINE, print)
        predict.run(
            rows,
            {"task": task, "split": "train"},
            model="some/student",
            task=task,
            split="train",
            n=2,
            samples=0,
            seed=0,
            config=EVALUATE,
            engine=ENGINE,
            progress=print,
        )
        for texts in (log, rows):
            grading.run(texts)
        paths = [log, grading.path_of(log), grading.path_of(rows)]
        return [json.loads(store.manifest_path(path).read_text()) for path in paths]

    return run


def test_counts_reach_the_manifests(manifests):
    debated, graded, evaluated = results = manifests("asdiv")
    assert [manifest["dropped"] for manifest in results] == [DROPPED] * 3
    # A debate compares answers to find a consensus.  Grading compares each text with the gold answer, strictly and
    # flexibly: those of 3 agents and a vote on 2 problems, or one answer to each of 2 problems.
    assert debated["compared"].keys() == graded["compared"].keys() == evaluated["compared"].keys() == {"words"}
    assert graded["compared"]["words"] == 2 * 4 * 2 and evaluated["compared"]["words"] == 2 * 2


def test_mini_tasks_have_none(manifests):
    answers.COUNTS["number"] += 1  # another task's
    assert not any(manifest.keys() & ADDED for manifest in manifests("mini_med"))
    assert all(tasks.counts(name) == {} for name in tasks.names() if name.startswith("mini_"))


def test_counts_of_a_task():
    answers.COUNTS.clear()
    answers.COUNTS["number"] = 5
    asdiv._read()
    before = tasks.counts("asdiv")
    assert before == {"dropped": DROPPED, "compared": {"number": 5}}
    assert tasks.counts("asdiv", before) == {"dropped": DROPPED}
    assert tasks.get("asdiv").equal("12", "12 apples") and not tasks.get("asdiv").equal("12", "x" * 1001)
    assert tasks.counts("asdiv", before)["compared"] == {"number": 1, "too long": 1}
    assert before["compared"] == {"number": 5}  # a copy
    assert "compared" not in tasks.counts("medmcqa") and "dropped" not in tasks.counts("gsm8k")


def test_the_counters_of_tasks_are_those_of_their_modules():
    assert tasks.get("math").dropped is tasks.get("math_500").dropped is math.DROPPED
    assert tasks.get("metamathqa").dropped is metamathqa.DROPPED
    assert tasks.get("asdiv").dropped is asdiv.DROPPED and tasks.get("gsm_symbolic").dropped is gsm_symbolic.DROPPED
