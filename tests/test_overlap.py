"""Tests of the overlap scores: values computed by hand, and edge cases."""

import pytest

from agentark.grade.overlap import exact, f1, hotpot_f1, rouge, score, truthful
from agentark.tasks.problem import Problem


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("Lake Miro", ["Lake Miro"], 1),
        ("Lake Sava", ["Lake Miro"], 1 / 2),  # one of two in each
        ("in Lake Miro", ["Lake Miro"], 4 / 5),  # precision 2/3, recall 1
        ("Miro", ["Lake Miro"], 2 / 3),  # precision 1, recall 1/2
        ("Port Sava", ["Lake Miro"], 0),
        ("Miro Lake", ["Lake Miro"], 1),  # order does not count
        ("lake lake lake", ["Lake Miro"], 2 / 5),  # a repeated word counts once: precision 1/3, recall 1/2
        ("lake lake", ["Lake Lake Miro"], 4 / 5),
        ("The Lake, Miro!", ["a lake miro"], 1),  # case, articles, punctuation
        ("anthem", ["the anthem"], 1),
        ("anthem", ["them"], 0),  # articles are words, not parts of words
        ("Lake Sava", ["Port Miro", "Sava"], 2 / 3),  # the best reference counts
        ("", ["Lake Miro"], 0),
        ("Lake Miro", [""], 0),
        ("", [""], 1),
        ("the", ["..."], 1),
        ("the", ["Lake"], 0),
    ],
)
def test_f1(answer, references, value):
    assert f1(answer, references) == pytest.approx(value)
    assert f1(answer, tuple(reversed(references))) == f1(answer, iter(references))


@pytest.mark.parametrize(
    ("answer", "references", "value"),
    [
        ("Yes.", ["yes"], 1),
        ("no", ["no"], 1),
        ("no answer", ["noanswer"], 0),
        ("noanswer", ["noanswer"], 1),
        ("yes, it is", ["yes"], 0),
        ("yes", ["yes, it is"], 0),
        ("no", ["no man's land"], 0),
        ("no man's land", ["no"], 0),  # SQuAD's: 1/2 each
        ("yes", ["no"], 0),
        ("yes or no", ["yes"], 0),
        ("no one", ["no man"], 1 / 2),
        ("yes it is", ["yes it was"], 2 / 3),  # neither is just yes or no: SQuAD's
        ("yes it is", ["yes", "yes it is not"], 6 / 7),  # the best reference counts: precision 1, recall 3/4
        ("Lake Sava", ["Lake Miro"], 1 / 2),
        ("in Lake Miro", ["Lake Miro"], 4 / 5),
        ("", [""], 1),
        ("", ["yes"], 0),
    ],
)
def test_hotpot_f1(answer, references, value):
    assert (
        hotpot_f1(answer, references)
        == score(answer, Problem("x", "?", references[0], "", references=tuple(references)), "hotpot_f1")
        == pytest.approx(value)
    )


def test_squads_f1_gives_partial_credit_for_yes():  # QASPER's, whose official script has no rule for yes and no
    assert f1("yes, it is", ["yes"]) == 1 / 2


def test_exact():
    assert exact("The Lake, Miro.", ["x", "lake miro"]) == 1
    assert exact("Lake", ["Lake Miro"]) == exact("Miro Lake", ["Lake Miro"]) == exact("", ["x"]) == exact("x", []) == 0
    assert exact("", ["the"]) == 1


@pytest.mark.parametrize(
    ("answer", "reference", "one", "two", "longest"),
    [
        ("they meet on Monday", "they meet on Monday", 1, 1, 1),
        ("They meet, on MONDAY!", "they meet on Monday.", 1, 1, 1),
        ("they meet on Friday", "they meet on Monday", 3 / 4, 2 / 3, 3 / 4),
        (
            "on Monday they meet",
            "they meet on Monday",
            1,
            2 / 3,
            1 / 2,
        ),  # the same words; "on Monday" and "they meet"; two in a row
        ("they meet", "they meet on Monday", 2 / 3, 1 / 2, 2 / 3),  # P 1, R 1/2; bigrams P 1, R 1/3
        (
            "they buy the red chairs now",
            "they buy red chairs",
            4 / 5,
            2 / 4,
            4 / 5,
        ),  # articles count; bigrams 2 of 5 and of 3
        ("the", "a", 0, 0, 0),
        ("chair", "chairs", 0, 0, 0),  # no stemming
        ("", "they meet", 0, 0, 0),
        ("they meet", "", 0, 0, 0),
        ("", "", 0, 0, 0),
        ("...", "they", 0, 0, 0),
    ],
)
def test_rouge(answer, reference, one, two, longest):
    scores = rouge(answer, reference)
    assert scores == pytest.approx({"rouge1": one, "rouge2": two, "rougeL": longest})


def test_rouge_is_symmetric_in_f_and_not_in_order():
    assert rouge("a b c", "a b")["rougeL"] == rouge("a b", "a b c")["rougeL"] == pytest.approx(4 / 5)
    assert rouge("b a", "a b")["rougeL"] == 1 / 2 and rouge("b a", "a b")["rouge1"] == 1


def test_truthful():
    scores = truthful("rikas eat moss", ["moss", "rikas eat moss"], ["ants", "rikas eat ants"])
    assert scores == pytest.approx(
        {"rougeL_max": 1, "rougeL_diff": 1 / 3, "rougeL_acc": 1, "rouge1_max": 1, "rouge1_diff": 1 / 3, "rouge1_acc": 1}
    )
    wrong = truthful("rikas eat ants", ["moss", "rikas eat moss"], ["ants", "rikas eat ants"])
    assert wrong["rougeL_acc"] == wrong["rouge1_acc"] == 0 and wrong["rougeL_diff"] == pytest.approx(-1 / 3)
    for tie in ("", "snow", "rikas eat", "rikas eat snow"):  # as near to the one as to the other: not truthful
        assert truthful(tie, ["moss", "rikas eat moss"], ["ants", "rikas eat ants"])["rougeL_acc"] == 0
    order = truthful(
        "moss eat rikas", ["rikas eat moss"], ["moss eat ants"]
    )  # ROUGE-1 does not see the order, ROUGE-L does
    assert (order["rouge1_acc"], order["rougeL_acc"]) == (1, 0)
    assert (order["rougeL_max"], order["rougeL_diff"]) == pytest.approx((1 / 3, -1 / 3))
    assert truthful("moss", iter(["moss"]), iter(["ants"]))["rougeL_acc"] == 1


PROBLEM = Problem(
    "x/test/0", "?", "Lake Miro", "", references=("Lake Miro", "big lake"), incorrect=("Port Miro", "Sava")
)


@pytest.mark.parametrize(
    ("measure", "answer", "value"),
    [
        ("f1", "Lake Miro", 1),
        ("f1", "the big lake", 1),
        ("f1", "Lake Sava", 1 / 2),
        ("f1", "", 0),
        ("f1", None, 0),
        ("rouge", "Lake Miro", 1),
        ("rouge", "Miro Lake", 1 / 2),
        ("rouge", "the big lake", 4 / 5),
        ("rouge", "", 0),
        ("rouge", None, 0),
        ("truth", "Lake Miro", 1),
        ("truth", "big lake", 1),
        ("truth", "Port Miro", 0),
        ("truth", "Miro", 0),
        ("truth", "snow", 0),
        ("truth", "", 0),
        ("truth", None, 0),
    ],
)
def test_score(measure, answer, value):
    assert score(answer, PROBLEM, measure) == pytest.approx(value)


def test_score_without_references_uses_the_answer():
    bare = Problem("x/test/0", "?", "Lake Miro", "")
    assert score("lake miro", bare, "f1") == score("lake miro", bare, "rouge") == 1 and score("Sava", bare, "f1") == 0


def test_score_of_an_unknown_measure():
    for answer in ("Lake Miro", None):
        with pytest.raises(ValueError, match="unknown measure 'bleu'; choose f1, hotpot_f1, rouge or truth"):
            score(answer, PROBLEM, "bleu")
