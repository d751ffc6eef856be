"""Protocols beside the debate: self-correction without peers, and two sides with a judge; resumed runs; what is alone."""

import pandas as pd
import pytest
from tiny import DEBATE, ENGINE, Scripted, but, marks

from agentark import engines, params, stats, store, tasks
from agentark.cells import Cell
from agentark.engines import Completion, EngineError
from agentark.evaluate import group
from agentark.extract import traces
from agentark.graph import graph
from agentark.mas import generation, prompts
from agentark.report import protocols

CELL = Cell(teacher="some/teacher", train="mini_med", protocol="self_correction", seed=3)
PROBLEMS = tasks.problems("mini_med", "train", 3)
CONFIG = params.load(store.ROOT / "params" / "mini.yaml")[0]


@pytest.fixture
def answered(tmp_path, monkeypatch):
    """A function that runs a protocol on three problems with an engine; returns the log."""

    def run(engine, protocol, config=DEBATE, name="log"):
        monkeypatch.setattr(engines, "make", lambda model, config: engine)
        cell = CELL.but(protocol=protocol)
        return generation.run(tmp_path / f"{name}.parquet", cell, len(PROBLEMS), config, ENGINE, lambda *_: None)

    return run


def disagreeing(question, number, agent):
    return "ABC"[(agent + number) % 3]


def test_an_agent_that_corrects_itself_sees_its_own_trace_alone(answered):
    engine = Scripted(disagreeing)
    log = answered(engine, "self_correction", but(DEBATE, aggregator="majority"))
    completions = [chat for chats, _, _ in engine.requests for chat in chats]
    assert len(completions) == 3 * 3 * 3  # problems, agents, rounds: as many as the debate
    later = [chat for chat in completions if len(chat) > 1]
    assert len(later) == 3 * 3 * 2
    for chat in later:
        assert [turn["role"] for turn in chat] == ["user", "assistant", "user"]
        assert len(marks(chat[1]["content"])) == 1 and not marks(chat[2]["content"])
        assert chat[2]["content"] == prompts.WORDINGS[DEBATE.wording].correct
    assert (log.groupby(["problem", "round"]).size() == [3, 3, 3, 1] * 3).all()


def test_self_correction_ends_when_its_agents_agree(answered):
    engine = Scripted(lambda question, number, agent: "B" if number == 2 else "ABC"[agent - 1])
    log = answered(engine, "self_correction", but(DEBATE, aggregator="majority"))
    assert log[log.agent > 0]["round"].max() == 2
    assert list(log[log.agent == 0].answer) == ["B"] * 3 and set(log[log.agent == 0]["round"]) == {3}


class Sides:
    """An engine for two sides and a judge: `script(side, turn)` is the answer of a side's turn (from 1), 0 the judge."""

    name = "sides"

    def __init__(self, script):
        self.script, self.chats = script, []

    def generate(self, chats, sampling, seed):
        self.chats += chats
        return [self._reply(chat[0]["content"]) for chat in chats]

    def _reply(self, text):
        side = 2 if "Oppose agent 1" in text else 0 if "You are the judge" in text else 1
        turn = 1 + len([1 for _, agent in marks(text) if agent == side])
        turn = max([turn, *(n + (agent == side) for n, agent in marks(text) if agent == side)])
        return Completion(f"r{turn}a{side}\nAnswer: {self.script(side, turn)}", (1,), "stop", 9, 0, 3)


def test_two_sides_oppose_each_other_and_a_judge_decides(answered):
    engine = Sides(lambda side, turn: {0: "C", 1: "A", 2: "B"}[side])
    log = answered(engine, "adversarial", but(DEBATE, rounds=2))
    one = log[log.problem == PROBLEMS[0].id]
    assert list(zip(one["round"], one.agent, strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 0)]
    assert list(one.answer) == ["A", "B", "A", "B", "C"]
    shown = [marks(chat[0]["content"]) for chat in engine.chats if chat[0]["content"].startswith(PROBLEMS[0].question)]
    assert shown == [[], [(1, 1)], [(1, 1), (1, 2)], [(2, 1), (1, 2)], [(2, 1), (2, 2)]]


def test_the_sides_stop_when_they_agree(answered):
    engine = Sides(lambda side, turn: "AB"[side - 1] if turn == 1 else "D")
    log = answered(engine, "adversarial", but(DEBATE, rounds=5))
    assert log.groupby("problem")["round"].max().tolist() == [3] * 3 and len(log) == 3 * 5
    none = answered(Sides(lambda side, turn: ""), "adversarial", but(DEBATE, rounds=2), name="none")
    assert none[none.agent > 0]["round"].max() == 2  # without answers nobody agrees


@pytest.mark.parametrize("protocol", ["self_correction", "adversarial"])
def test_a_run_that_was_cut_off_ends_with_the_same_rows(answered, protocol):
    config = but(DEBATE, aggregator="majority", chunk=1)

    class Failing(Sides):
        def generate(self, chats, sampling, seed):
            if len(self.chats) > 5:
                raise RuntimeError("the power went out")
            return super().generate(chats, sampling, seed)

    def script(side, turn):
        return "ABC"[(side + turn) % 3]

    whole = answered(Sides(script), protocol, config, name="whole")
    with pytest.raises(RuntimeError, match="power"):
        answered(Failing(script), protocol, config)
    pd.testing.assert_frame_equal(answered(Sides(script), protocol, config), whole)


def test_what_answers_alone_is_the_first_side(tmp_path):
    """The negative side has read the affirmative one: its first trace is no single-agent trace."""
    problems = tasks.problems("mini_gsm", "train", 2)
    rows = [
        {"problem": p.id, "round": number, "agent": agent, "text": f"1+1=2\nAnswer: {p.answer}", "answer": p.answer,
         "strict": True, "finish": "stop", "tokens_in": 1, "tokens_cached": 0, "tokens_out": 3, "gold": p.answer,
         "template": p.template, "held_out": False, "correct": True, "correct_strict": True, "score": 1.0}
        for p in problems for number, agent in ((1, 1), (1, 2), (2, 0))
    ]  # fmt: skip
    for protocol, agents in (("adversarial", {1}), ("debate", {1, 2})):
        cell = Cell(teacher="t", train="mini_gsm", protocol=protocol)
        table, _ = traces.run(tmp_path / f"{protocol}.parquet", pd.DataFrame(rows), "id", cell, CONFIG)
        assert set(table[table.source == "single"].agent) == agents
        assert set(table[table.source == "debate"].agent) == {1, 2}


class Likely(Sides):
    """An engine whose third sample of each problem is far more likely than the others, and says so if it is asked."""

    def generate(self, chats, sampling, seed):
        self.chats += chats
        rare, likely = (-5.0, -4.0), (-0.5, -0.25)
        return [
            Completion("Answer: C" if k % 4 == 2 else "Answer: A", (1, 2), "stop", 9, 0, 2,
                       logprobs=(likely if k % 4 == 2 else rare) if sampling.logprobs else None)
            for k in range(len(chats))
        ]  # fmt: skip


def test_a_vote_weighs_as_much_as_its_completion_is_likely(answered):
    config = but(DEBATE, aggregator="majority", agents=2, rounds=2)
    log = answered(Likely(None), "weighted_consistency", config)
    assert list(log.log_prob[:4]) == [-9.0, -9.0, -0.75, -9.0] and len(log) == 3 * 4
    plain = answered(Likely(None), "self_consistency", config, name="plain")
    assert "log_prob" not in plain and list(plain.answer) == list(log.answer)
    graded = [rows.assign(correct=rows.answer == "C", score=0.0) for rows in (log, plain)]
    won = [set(group.majority(rows, "mini_med", {}).answer_flexible) for rows in graded]
    assert won == [{"C"}, {"A"}]


def test_without_log_probabilities_a_weighted_vote_is_refused(answered):
    with pytest.raises(EngineError, match=r"^12 of 12 .* no log-probabilities.* take another engine"):
        answered(Scripted(disagreeing), "weighted_consistency", but(DEBATE, aggregator="majority", agents=2, rounds=2))


# The comparison of protocols


def graded(name, rounds, log_prob=None):
    """The graded test log of a protocol, from {round: the answers of agents 1, 2, … to each problem}; gold is "1"."""
    return pd.DataFrame([
        {"problem": f"p{n}", "round": number, "agent": agent, "text": "", "answer": answer, "finish": "stop",
         "tokens_in": 9, "tokens_cached": 0, "tokens_out": 5, "gold": "1", "template": "t", "held_out": False,
         "correct": answer == "1", "score": float(answer == "1")}
        | ({} if log_prob is None else {"log_prob": log_prob[agent - 1]})
        for number, replies in rounds.items() for n, answers in enumerate(replies)
        for agent, answer in (enumerate(answers, 1) if name != "judge" else [(0, answers)])
    ])  # fmt: skip


def test_ways_to_answer_by_hand():
    """Each is compared with as many votes as it had completions: here 3 (two sides and a judge) and 5."""
    sides = pd.concat([graded("adversarial", {1: ["12", "22", "11"]}), graded("judge", {2: ["1", "1", "1"]})])
    logs = {
        "adversarial": sides,
        "self_consistency": graded("self_consistency", {1: ["12222", "22111", "11222"]}),
        "weighted_consistency": graded("weighted_consistency", {1: ["12222", "22111", "11222"]}, [-1, -9, -9, -9, -9]),
    }
    found = [(Cell("t", test="mini_gsm", split="test", protocol=name), log) for name, log in logs.items()]
    table = protocols.ways(found, 0.95, 100).set_index("protocol")
    assert list(table.index) == ["adversarial", "weighted_consistency"]
    assert table.accuracy.to_dict() == pytest.approx({"adversarial": 1, "weighted_consistency": 2 / 3})
    # 122 -> 2, 221 -> 2, 112 -> 1; of all five: 2, 1, 2.  Weighted: the first sample decides: 1, 2, 1.
    assert table.vote.to_dict() == pytest.approx({"adversarial": 1 / 3, "weighted_consistency": 1 / 3})
    assert table.completions.to_dict() == {"adversarial": 3, "weighted_consistency": 5}
    assert table.tokens_out.to_dict() == {"adversarial": 15, "weighted_consistency": 25}
    assert table.difference["adversarial"] == pytest.approx(2 / 3) and table.p["adversarial"] == 0.5
    assert list(table.p_holm) == list(stats.holm(table.p))
    assert list(protocols.ways([found[0]], 0.95, 100).columns) == [
        *protocols.FIRST,
        *protocols.WAYS,
    ]  # there are no votes


def test_students_of_protocols_by_hand():
    """Two seeds and twelve problems: each protocol against the base, and against the debate by the same method."""
    right = {"debate": 9, "adversarial": 6, "base": 3}
    names = [p.id for p in tasks.problems("mini_gsm", "test", 12)]
    rows = pd.DataFrame([
        {"teacher": "-" if name == "base" else "t", "student": "s", "method": "base" if name == "base" else "rsft",
         "train": "-" if name == "base" else "mini_gsm", "test": "mini_gsm", "seed": seed, "sample": -1,
         "protocol": "-" if name == "base" else name, "item": item, "correct_flexible": k < n}
        for name, n in right.items() for seed in ((0,) if name == "base" else (0, 1)) for k, item in enumerate(names)
    ])  # fmt: skip
    table = protocols.students(rows, 0.95).set_index(["protocol", "against"])
    assert sorted(table.index) == [("adversarial", "base"), ("adversarial", "debate"), ("debate", "base")]
    assert table.difference.round(9).to_dict() == {
        ("adversarial", "base"): 0.25, ("adversarial", "debate"): -0.25, ("debate", "base"): 0.5}  # fmt: skip
    assert set(table.seeds) == {2} and set(table.n) == {12}
    alone = protocols.students(rows[rows.method == "base"], 0.95)
    assert alone.empty and list(alone.columns) == [*protocols.PAIRS, *protocols.LEARNT]
    assert table.accuracy["debate", "base"] == 0.75 and table.against_accuracy["adversarial", "debate"] == 0.75


def test_the_comparison_is_a_run_of_a_study_with_several_protocols():
    config, _ = params.load(store.ROOT / "params" / "mini-protocols.yaml")
    jobs = {job.notebook: job for job in graph.all_jobs(config, 0)}
    logs = [path for path in jobs["19_protocols"].inputs if path.parent.name == "debates"]
    assert any("weighted_consistency" in path.name for path in logs)
    assert "19_protocols" not in {job.notebook for job in graph.all_jobs(CONFIG, 0)}
