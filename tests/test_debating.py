"""The value of a debate: every number of the analysis, counted by hand on a small log."""

import pandas as pd
import pytest

from agentark import stats
from agentark.cells import Cell
from agentark.report import debating

PROBLEMS = [f"mini_gsm/dev/{n}" for n in range(4)]
GOLD = ["1", "2", "3", "4"]


def row(n, number, agent, answer, text="", tokens=10):
    return {
        "problem": PROBLEMS[n],
        "round": number,
        "agent": agent,
        "text": text or f"Answer: {answer}",
        "answer": answer,
        "finish": "stop",
        "tokens_in": tokens,
        "tokens_cached": 0,
        "tokens_out": 1,
        "gold": GOLD[n],
        "template": "t",
        "held_out": False,
        "correct": answer == GOLD[n],
        "score": float(answer == GOLD[n]),
    }


def log_of(rounds):
    """A log from {round: the answers of agents 1, 2, 3 to each problem, or None if its debate has stopped}.

    The aggregator repeats the last majority, at no cost.
    """
    rows = [
        row(n, number, agent, answer)
        for number, replies in rounds.items()
        for n, answers in enumerate(replies)
        if answers
        for agent, answer in enumerate(answers, 1)
    ]
    last = {n: answers for replies in rounds.values() for n, answers in enumerate(replies) if answers}
    return pd.DataFrame(rows + [row(n, 9, 0, max(answers, key=answers.count), tokens=0) for n, answers in last.items()])


DEBATE = log_of({1: ["111", "299", "935", "444"], 2: [None, "229", "935", None], 3: [None, "222", "333", None]})
SHUFFLED = log_of({1: ["111", "299", "935", "444"], 2: [None, "999", "555", None]})
SAMPLES = pd.DataFrame(
    [
        row(n, 1, agent, answer)
        for n, answers in enumerate(["111111111", "222999992", "333555555", "444777777"])
        for agent, answer in enumerate(answers, 1)
    ]
)
LOGS = [
    (Cell("t", train="mini_gsm", test="mini_gsm", split=split, protocol=protocol), log)
    for split, protocol, log in (
        ("dev", "debate", DEBATE),
        ("dev", "self_consistency", SAMPLES),
        ("dev", "shuffled", SHUFFLED),
        ("test", "debate", SHUFFLED),
    )
]


def test_answer_forms_by_hand():
    table = debating.answer_forms(LOGS, "dev", resamples=500).set_index("what")
    # As many samples as the debate had completions: 3 of the first and of the last problem, 9 of the others.
    right = {
        "one agent": 3,
        "majority of 3": 2 + 0 + 0,
        "majority vote, equal samples": 2,
        "debate, round 2": 3,
        "debate, round 3": 4,
        "debate of shuffled peers, round 2": 2,
    }
    # Problem 1, round 1: 9 by two votes.  Problem 2: 9 3 5, the first of equals.
    # Samples: 111 | 222999992 -> 9 | 333555555 -> 5 | 444.
    right["one agent"] = sum(answers[0] == gold for answers, gold in zip(["111", "299", "935", "444"], GOLD))
    assert (table.accuracy * 4).to_dict() == right
    assert (table.n == 4).all() and set(table.teacher) == {"t"}
    assert tuple(table.loc["debate, round 3", ["ci_low", "ci_high"]]) == stats.wilson(4, 4)
    # two discordant problems, both in favour of the debate
    assert table.loc["debate, round 3", "difference"] == 0.5 and table.loc["debate, round 3", "p"] == 0.5
    assert pd.isna(table.loc["majority vote, equal samples", "difference"])
    assert table.loc["majority vote, equal samples", "verdict"] == ""
    assert list(table.p_holm.dropna()) == list(stats.holm(table.p.dropna()))


def test_a_missing_log_gives_no_row():
    table = debating.answer_forms(LOGS[:2], "dev", resamples=50)
    assert not table.what.str.contains("shuffled").any() and table.what.str.contains("round 3").any()


def test_by_majority_size():
    table = debating.by_majority_size(DEBATE, "mini_gsm").set_index("right_at_first")
    assert table.problems.to_dict() == {1: 2, 3: 2}
    assert table.loc[1, ["round_1", "round_2", "round_3"]].tolist() == [0.0, 0.5, 1.0]
    assert table.loc[3, ["round_1", "round_3"]].tolist() == [1.0, 1.0]


FIRST = [row(0, 1, 1, "1"), row(0, 1, 2, "7"), row(0, 1, 3, "1")]  # of three agents the second is wrong


def test_naming_by_hand():
    second = [
        row(
            0,
            2,
            1,
            "1",
            "Check 1: 1+1=2 said 2 ok\nCheck 2: 1+1=2 said 2 ok, 2+1=4 said 3 no\nCheck 3: 1+1=3 said 2 no\nCheck: keep 1\nAnswer: 1",
        ),
        row(
            0, 2, 2, "1", "Check 2: 1+1=2 said 2 ok\nCheck 1: 1+1=2 said 2 ok\nCheck: keep 2\nAnswer: 7"
        ),  # its own, which is wrong
        row(
            0, 2, 3, "1", "Check 2: 1+1=2 said 2 ok\nCheck 9: 1+1=3 said 2 no\nCheck: repair 2\nAnswer: 7"
        ),  # there is no agent 9
    ]
    third = [
        row(0, 3, 1, "1", "Check 1: 1+1=3 said 2 no\nCheck: none is right\nAnswer: 1"),  # judges itself only
        row(0, 3, 2, "1", "Check 1: rubbish\nAnswer: 1"),
        row(0, 3, 3, "1", "Answer: 1"),
    ]
    table = debating.naming(pd.DataFrame(FIRST + second + third)).set_index("round")
    assert table.loc[2].to_dict() == pytest.approx(
        {
            "replies": 3,
            "checked": 1,
            "named_is_wrong": 1 / 2,  # of 2 and 3, which the first reply calls wrong
            "chance": 2 / 4,  # judged are 2 and 3, then 1, then 2
            "named_share": 2 / 4,
            "missed": 1 / 2,
            "kept_is_right": 1 / 2,
            "chance_kept": 2 / 3,
            "none": 0,
        }
    )
    assert table.loc[3, ["replies", "checked", "none"]].to_dict() == pytest.approx(
        {"replies": 3, "checked": 0, "none": 2 / 3}
    )
    assert table.loc[3, ["named_is_wrong", "chance", "missed", "kept_is_right", "chance_kept"]].isna().all()


def test_naming_does_not_count_the_aggregator():
    check = "Check 2: 1+1=3 said 2 no\nCheck: repair 2\nAnswer: 1"
    rows = [*FIRST, row(0, 2, 1, "1", check), row(0, 2, 0, "1", check)]
    table = debating.naming(pd.DataFrame(rows))
    assert table.replies.tolist() == [1] and table.named_is_wrong.tolist() == [1.0]


def test_replies_without_any_verdict():
    """As in the logs of networks that write no checks: there is nothing to count, and nothing fails."""
    table = debating.naming(log_of({1: [("1", "2", "1")], 2: [("1", "1", "1")]})).set_index("round")
    assert table.checked[2] == 0 and table.none[2] == 1 and table.named_is_wrong.isna().all()
