"""Evaluation: the rows of a single model, and the answers of groups, counted by hand."""

import json

import pandas as pd
import pytest
from tiny import ENGINE, EVALUATE, Scripted, but

from agentark import engines, store, tasks
from agentark.cells import Cell
from agentark.evaluate import group, predict
from agentark.grade import grading
from agentark.stats import wilson

CELL = Cell("t", "s", "rsft", "mini_med", "mini_med", "debate", split="test").columns()
COLUMNS = {
    "item",
    "template",
    "held_out",
    "sample",
    "text",
    "answer_strict",
    "answer_flexible",
    "gold",
    "correct_strict",
    "correct_flexible",
    "score",
    "tokens_in",
    "tokens_cached",
    "tokens_out",
    "finish",
    *CELL,
    "calls",
}
PROBLEMS = tasks.problems("mini_med", "test", 5)


def quiet(*_):
    pass


@pytest.fixture
def predicted(tmp_path, monkeypatch):
    """A function that evaluates a scripted engine on mini_med, in chunks of two problems, and grades its answers."""
    monkeypatch.setattr(predict, "CHUNK", 2)

    def run(engine, folder="predictions", task="mini_med", **changes):
        options = {
            "model": "some/student",
            "split": "test",
            "n": 5,
            "samples": 2,
            "seed": 3,
            "config": EVALUATE,
            "engine": ENGINE,
            "load_engine": lambda: engine,
            "progress": quiet,
        }
        columns = CELL | {"test": task}
        path = predict.run(tmp_path / folder / "rows.parquet", columns, task=task, **options | changes)
        return grading.run(path)

    return run


def gold(question):
    return next(p.answer for p in PROBLEMS if p.question == question)


def test_rows(predicted, tmp_path):
    engine = Scripted(lambda question, number, agent: gold(question) if agent == 1 else None)
    rows = predicted(engine)
    assert set(rows.columns) == COLUMNS and len(rows) == 5 * 3
    assert list(zip(rows.item, rows["sample"])) == [
        *((p.id, -1) for p in PROBLEMS),
        *((p.id, sample) for p in PROBLEMS for sample in (0, 1)),
    ]
    assert [(s.temperature, len(chats)) for chats, s, _ in engine.requests] == [
        (0, 2),
        (0, 2),
        (0, 1),
        (0.8, 4),
        (0.8, 4),
        (0.8, 2),
    ]
    assert all(s.max_new_tokens == EVALUATE.max_new_tokens for _, s, _ in engine.requests)
    assert len({seed for *_, seed in engine.requests}) == 6
    right = rows["sample"] != 1
    assert (rows.correct_strict == right).all() and (rows.correct_flexible == right).all()
    assert (rows.answer_flexible.notna() == right).all() and (rows.score == right).all()
    assert list(rows.finish) == ["stop" if r else "length" for r in right]
    assert {column: set(rows[column]) for column in CELL} == {column: {value} for column, value in CELL.items()}
    assert (rows.calls == 1).all()
    by_id = {p.id: p for p in PROBLEMS}
    problems = [(by_id[i].answer, by_id[i].template, by_id[i].held_out) for i in rows.item]
    assert problems == list(zip(rows.gold, rows.template, rows.held_out))
    path = tmp_path / "predictions" / "rows.parquet"
    texts, grades = (json.loads(store.manifest_path(p).read_text()) for p in (path, grading.path_of(path)))
    assert (texts["rows"], texts["truncated"], grades["rows"], grades["unparsed"]) == (15, 5, 15, 5)
    pd.testing.assert_frame_equal(predicted(Scripted(None, fail_at=1)), rows)  # read from its files


def test_predictions_hold_texts_only(predicted, tmp_path):
    predicted(Scripted(lambda question, number, agent: "A"))
    texts = pd.read_parquet(tmp_path / "predictions" / "rows.parquet")
    graded = {"answer_strict", "answer_flexible", "correct_strict", "correct_flexible", "score"}
    assert set(texts.columns) == COLUMNS - graded


def test_an_answer_that_only_flexible_extraction_finds(predicted):
    class Boxed(Scripted):
        def generate(self, chats, sampling, seed):
            return [
                engines.Completion(rf"\boxed{{{gold(chat[0]['content'])}}}", (1,), "stop", 1, 0, 1) for chat in chats
            ]

    rows = predicted(Boxed(None))
    assert not rows.correct_strict.any() and rows.correct_flexible.all() and rows.answer_strict.isna().all()


def test_a_failing_engine_costs_one_chunk(predicted):
    def script(question, number, agent):
        return "ABCD"[agent]

    whole = Scripted(script)
    rows = predicted(whole, "whole/predictions")
    for k in range(1, 7):
        first, second = Scripted(script, fail_at=k), Scripted(script)
        with pytest.raises(RuntimeError, match="the power went out"):
            predicted(first, f"cut{k}/predictions")
        pd.testing.assert_frame_equal(predicted(second, f"cut{k}/predictions"), rows)
        assert first.requests + second.requests == whole.requests
    with pytest.raises(RuntimeError):
        predicted(Scripted(script, fail_at=4), "half")
    with pytest.raises(store.StoreError, match=r"evaluate\.temperature"):
        predicted(Scripted(script), "half", config=but(EVALUATE, temperature=0.1))


def test_a_real_network(networks, predicted):
    options = {"task": "mini_gsm", "model": networks["qwen3"], "n": 3}
    rows = predicted(None, "a/predictions", **options, load_engine=None)
    assert len(rows) == 9 and (rows.tokens_out <= 5).all() and set(rows.columns) == COLUMNS
    engine = engines.make(networks["qwen3"], ENGINE)
    generate, calls = engine.generate, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return generate(*args)

    engine.generate = failing
    with pytest.raises(KeyboardInterrupt):
        predicted(engine, "b/predictions", **options)
    pd.testing.assert_frame_equal(predicted(None, "b/predictions", **options, load_engine=None), rows)


# Groups


def row(problem, number, agent, answer, gold="7", finish="stop"):
    """A row of a graded debate log."""
    right = answer is not None and float(answer) == float(gold)
    return {
        "problem": problem,
        "round": number,
        "agent": agent,
        "text": f"{problem} r{number} a{agent}",
        "answer": answer,
        "finish": finish,
        "tokens_in": 10,
        "tokens_cached": 4 * (agent > 1),
        "tokens_out": agent,
        "gold": gold,
        "template": f"t{problem}",
        "held_out": problem == "b",
        "correct": right,
        "score": float(right),
    }


def log_of(*turns, gold="7"):
    """A log from (problem, round, answers of agents 1, 2, …)."""
    return pd.DataFrame(
        [row(p, number, agent, answer, gold) for p, number, answers in turns for agent, answer in enumerate(answers, 1)]
    )


SAMPLES = log_of(
    ("a", 1, ["1", "7", "7.0", "1", "7"]),  # right by 3 of 5
    ("b", 1, ["1", "7", "2", "7", "1"]),  # a tie of 1 and 7: the first
    ("c", 1, [None, None, "7", None, None]),  # missing answers do not vote
    ("d", 1, [None, None, None, None, None]),
)
SAMPLES = SAMPLES.assign(finish=["length" if pd.isna(a) else "stop" for a in SAMPLES.answer])


def answers(items):
    """(item, answer, right, calls) of each."""
    return [
        (r.item, r.answer_flexible if isinstance(r.answer_flexible, str) else None, r.correct_flexible, r.calls)
        for r in items.itertuples()
    ]


def test_majority_of_samples():
    items = group.majority(SAMPLES, "mini_gsm", CELL)
    assert set(items.columns) == COLUMNS
    assert answers(items) == [("a", "7", True, 5), ("b", "1", False, 5), ("c", "7", True, 5), ("d", None, False, 5)]
    assert list(items.text) == ["a r1 a2", "b r1 a1", "c r1 a3", ""]
    assert list(items.score) == [1, 0, 1, 0]
    assert list(items.finish) == ["stop", "stop", "stop", "length"]
    assert list(items.held_out) == [False, True, False, False]
    assert (items.tokens_in == 50).all() and (items.tokens_cached == 16).all() and (items.tokens_out == 15).all()
    assert list(items.correct_strict) == list(items.correct_flexible)
    assert (items["sample"] == 0).all() and (items.method == "rsft").all()


def test_fewer_samples_than_the_log_has():
    shuffled, votes = SAMPLES.sample(frac=1, random_state=0), {"a": 1, "b": 4, "c": 2, "d": 5}
    items = group.majority(shuffled, "mini_gsm", CELL, votes).sort_values("item")
    # in the agents' order
    assert answers(items) == [("a", "1", False, 1), ("b", "7", True, 4), ("c", None, False, 2), ("d", None, False, 5)]
    assert list(items.tokens_out) == [1, 10, 3, 15] and list(items.tokens_in) == [10, 40, 20, 50]
    with pytest.raises(ValueError, match="a: 6 votes are needed, the log has 5 samples"):
        group.majority(SAMPLES, "mini_gsm", CELL, {"a": 6, "b": 1, "c": 1, "d": 1})


def test_one_agent_alone():
    items = group.single(SAMPLES, "mini_gsm", CELL)
    assert answers(items) == [("a", "1", False, 1), ("b", "1", False, 1), ("c", None, False, 1), ("d", None, False, 1)]
    assert (items.tokens_in == 10).all() and (items.tokens_cached == 0).all()
    assert list(items.finish) == ["stop", "stop", "length", "length"]


DEBATE = pd.concat(
    [
        log_of(
            ("a", 1, ["1", "7", "7"]), ("b", 1, ["7", "7", "7"]), ("c", 1, ["7", None, "5"]), ("d", 1, ["2", "2", "2"])
        ),
        log_of(("a", 2, ["7", "1", "7"]), ("c", 2, ["5", "5", "9"])),
        log_of(("a", 3, ["7.0", "7", "7"]), ("c", 3, ["5", "7", None])),
        pd.DataFrame([row("a", 4, 0, "7"), row("b", 2, 0, "3"), row("c", 4, 0, None), row("d", 2, 0, "7")]),
    ],
    ignore_index=True,
)


def test_a_debate_answers_what_its_aggregator_says():
    items = group.debate(DEBATE, "mini_gsm", CELL)
    assert answers(items) == [("a", "7", True, 10), ("b", "3", False, 4), ("c", None, False, 10), ("d", "7", True, 4)]
    assert list(items.tokens_in) == [100, 40, 100, 40] and list(items.tokens_out) == [18, 6, 18, 6]
    assert list(items.tokens_cached) == [24, 8, 24, 8]
    assert set(items.columns) == COLUMNS and list(items.text) == ["a r4 a0", "b r2 a0", "c r4 a0", "d r2 a0"]


def test_a_majority_aggregator_is_no_call():
    """Its row of the log is the majority's answer, which cost nothing: only the agents' completions are calls."""
    nothing = {"tokens_in": 0, "tokens_cached": 0, "tokens_out": 0}
    log = DEBATE.assign(**{k: DEBATE[k].where(DEBATE.agent > 0, 0) for k in nothing})
    assert list(group.debate(log, "mini_gsm", CELL).calls) == [9, 3, 9, 3]


def test_the_student_votes_with_itself(predicted):
    rows = predicted(Scripted(lambda question, number, agent: "A" if agent < 3 else None), samples=3)
    items = group.base_majority(rows, "mini_med", {**CELL, "method": "base_majority"})
    assert [r[:2] for r in answers(items)] == [(p.id, "A") for p in PROBLEMS]
    assert (items.calls == 3).all() and (items.method == "base_majority").all()
    assert list(items.correct_flexible) == [p.answer == "A" for p in PROBLEMS]
    assert list(items.tokens_out) == [
        int(rows[(rows.item == p.id) & (rows["sample"] >= 0)].tokens_out.sum()) for p in PROBLEMS
    ]


def test_intervals_of_rounds_are_of_the_level_that_is_given():
    for level in (0.5, 0.99):
        row = group.rounds(DEBATE, "mini_gsm", level).iloc[0]
        assert (row.consensus_low, row.consensus_high) == wilson(3, 4, level)


def test_rounds_by_hand():
    table = group.rounds(DEBATE, "mini_gsm").set_index("round")
    assert list(table.index) == [1, 2, 3]
    # Agents right, of 12 (b and d have stopped and count on with 3 and 0): a 2, c 1 | a 2, c 0 | a 3, c 1.
    assert list(table.single_accuracy * 12) == pytest.approx([2 + 3 + 1 + 0, 2 + 3 + 0 + 0, 3 + 3 + 1 + 0])
    # Majorities: a 7, b 7, c 7 (first of equals), d 2 | a 7, c 5 | a 7, c 5 (first of equals).
    assert list(table.consensus_accuracy) == [3 / 4, 2 / 4, 2 / 4]
    assert list(table.unanimous) == [2 / 4, 2 / 4, 3 / 4]
    assert list(table.problems) == [4, 4, 4] and list(table.debating) == [4, 2, 2]
    # Round 2: a: 1→7 corrected, copied; 7→1 corrupted, copied; 7→7.
    #          c: 7→5 corrupted, copied; None→5 changed, copied; 5→9 changed alone.
    # Round 3: a: 7→7.0 no change; 1→7 corrected, copied; 7→7.
    #          c: 5→5; 5→7 corrected, nobody had 7; 9→None changed, copied from nobody.
    assert table[["changed", "corrected", "corrupted", "copied"]].to_numpy().tolist() == [
        [0, 0, 0, 0],
        [5, 1, 2, 4],
        [3, 2, 0, 1],
    ]
    assert tuple(table.loc[2, ["consensus_low", "consensus_high"]]) == wilson(2, 4)
    assert tuple(table.loc[3, ["single_low", "single_high"]]) == wilson(7 / 3, 4)  # 7/3 right problems of 4


def test_rounds_do_not_depend_on_the_order_of_rows():
    pd.testing.assert_frame_equal(
        group.rounds(DEBATE.sample(frac=1, random_state=1).sort_values("problem", kind="stable"), "mini_gsm"),
        group.rounds(DEBATE, "mini_gsm"),
    )


def test_a_log_that_was_read_from_disk_counts_the_same(tmp_path):
    """None becomes NaN in a table."""
    store.write_table(DEBATE, tmp_path / "log.parquet")
    log = pd.read_parquet(tmp_path / "log.parquet")
    pd.testing.assert_frame_equal(group.rounds(log, "mini_gsm"), group.rounds(DEBATE, "mini_gsm"))
    assert answers(group.debate(log, "mini_gsm", CELL)) == answers(group.debate(DEBATE, "mini_gsm", CELL))


def test_consensus_after_each_round_by_hand():
    table = group.consensus(DEBATE, "mini_gsm")
    # a: 7 | 7 | 7; b: 7, and counts on; c: 7 (first of equals) | 5 | 5 (first of equals); d: 2.
    assert table.to_dict("index") == {
        "a": {1: True, 2: True, 3: True},
        "b": {1: True, 2: True, 3: True},
        "c": {1: True, 2: False, 3: False},
        "d": {1: False, 2: False, 3: False},
    }
    assert list(table.mean()) == list(group.rounds(DEBATE, "mini_gsm").consensus_accuracy)


def test_greedy_answers_alone(predicted):
    rows = predicted(Scripted(lambda question, number, agent: gold(question)), samples=0)
    assert list(rows["sample"]) == [-1] * 5 and rows.correct_flexible.all()


def test_an_open_ended_answer_is_scored_by_its_measure(predicted):
    """One of the two words of an answer is no exact match, but has an F1 of 2/3."""
    problems = tasks.problems("mini_hotpot", "test", 5)

    class Half(Scripted):
        def generate(self, chats, sampling, seed):
            gold = {p.question: p.answer for p in problems}
            return [
                engines.Completion(f"Answer: {gold[chat[0]['content']].split()[0]}", (1,), "stop", 1, 0, 1)
                for chat in chats
            ]

    rows = predicted(Half(None), task="mini_hotpot")
    expected = {p.id: 2 / (1 + len(p.answer.split())) for p in problems}
    assert list(rows.score) == pytest.approx([expected[item] for item in rows.item]) and set(rows.score) == {2 / 3}
    assert not rows.correct_flexible.any()
