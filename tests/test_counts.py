"""What a task leaves out, and how its answers were compared, stands in the manifest of each stage that reads it; mini tasks have no such counts."""

import json

import pytest
from test_extract import TOLD
from tiny import DEBATE, ENGINE, EVALUATE, Scripted, but

from agentark import engines, store, tasks
from agentark.evaluate import predict
from agentark.extract import stage as extraction
from agentark.mas import stage as debating
from agentark.tasks import answers, asdiv, gsm_symbolic, math, metamathqa

DROPPED = {"several answers": 90, "the same question again": 1}  # of ASDiv
ADDED = {"dropped", "compared"}


@pytest.fixture
def manifests(tmp_path, monkeypatch):
    """A function that debates, extracts and evaluates two problems with agents that are always right; returns the three manifests."""

    def run(task):
        at = {"task": task, "split": "train", "seed": 0}
        gold = {p.question: p.answer for p in tasks.problems(task, "train", 2)}
        engine = Scripted(lambda question, number, agent: next(a for q, a in gold.items() if question.startswith(q)))
        monkeypatch.setattr(engines, "make", lambda model, about: engine)
        paths = [tmp_path / f"{name}.parquet" for name in ("debates", "traces", "rows")]
        log = debating.run(
            paths[0],
            model="some/teacher",
            n=2,
            protocol="debate",
            told=but(DEBATE, aggregator="majority"),
            engine=ENGINE,
            progress=print,
            **at,
        )
        extraction.run(paths[1], log, log_id="x", told=TOLD, wording="terse", **at)
        predict.run(
            paths[2], model="some/student", who={}, n=2, samples=0, told=EVALUATE, engine=ENGINE, progress=print, **at
        )
        return [json.loads(store.manifest_path(path).read_text()) for path in paths]

    return run


def test_counts_reach_the_manifests(manifests):
    made = manifests("asdiv")
    assert [manifest["dropped"] for manifest in made] == [DROPPED] * 3
    # each stage's own: extraction reads the rows of the log (3 agents and the vote, of 2 problems) strictly and flexibly, evaluation 2 answers
    assert [sum(manifest["compared"].values()) for manifest in made[1:]] == [2 * 4 * 2, 2 * 2] and set(
        made[2]["compared"]
    ) == {"words"}  # equal strings


def test_mini_tasks_have_none(manifests):
    answers.COUNTS["number"] += 1  # another task's
    assert not any(manifest.keys() & ADDED for manifest in manifests("mini_med"))
    assert all(tasks.counts(name) == {} for name in tasks.TASKS)


def test_counts_of_a_task(monkeypatch):
    monkeypatch.setattr(answers, "COUNTS", answers.Counter(number=5))
    asdiv._read()
    before = tasks.counts("asdiv")
    assert before == {"dropped": DROPPED, "compared": {"number": 5}} and tasks.counts("asdiv", before) == {
        "dropped": DROPPED
    }
    assert tasks.get("asdiv").equal("12", "12 apples") and not tasks.get("asdiv").equal("12", "x" * 1001)
    assert tasks.counts("asdiv", before)["compared"] == {"number": 1, "too long": 1}
    assert before["compared"] == {"number": 5}  # a copy
    assert "compared" not in tasks.counts("medmcqa") and "dropped" not in tasks.counts("gsm8k")


def test_every_counter_of_a_task_is_told():
    assert (
        tasks.get("math").dropped is tasks.get("math_500").dropped is math.DROPPED
        and tasks.get("metamathqa").dropped is metamathqa.DROPPED
    )
    assert tasks.get("asdiv").dropped is asdiv.DROPPED and tasks.get("gsm_symbolic").dropped is gsm_symbolic.DROPPED
