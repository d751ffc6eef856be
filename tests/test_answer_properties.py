"""Properties of the judge of answers: nothing raises, `equal` is an equivalence, gold answers pass, votes have no order."""

from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentark.mas import votes
from agentark.tasks import answers, symbolic
from agentark.tasks.problem import Problem

FEW = settings(max_examples=120, deadline=None, derandomize=True, database=None)

# Ways to write an integer that are votes for one answer.
FORMS = (
    "{}", "{}.0", "{}.00", "${}", "${}.00", "{} apples", "{} USD", "about {}", "**{}**", "$\\text{{{}}}$", "\\boxed{{{}}}", '"{}"',
    "{}/1", "{}e0", "x = {}", "{} cm^2", "{}cm", "\\frac{{{}}}{{1}}", "+{}", "{} kg.",
)  # fmt: skip
NUMBERS = st.builds(
    lambda n, form: form.format(n), st.integers(0, 10**25) | st.integers(0, 30), st.sampled_from(FORMS)
) | st.sampled_from(
    ["50%", "0.5", "1/2", "½", "50", "-3", "−3", "2e3", "2 × 10^3", "2,000", "2 000", "2 million", "2000%"]
)
WORDS = st.sampled_from(
    ["Paris", "paris.", "the Paris", "A", "(A)", "a", "B) Lyon", "May 3, 2021", "2021-05-03", "3:30 pm", "15:30", "H2O", "yes", "no"]
)  # fmt: skip
SIMPLE = NUMBERS | WORDS
LISTS = st.lists(SIMPLE, min_size=1, max_size=3).map(", ".join) | st.lists(NUMBERS, min_size=2, max_size=3).map(
    " and ".join
)
ANSWERS = SIMPLE | LISTS | st.sampled_from(["(1, 2)", "(2, 1)", "1, 2", "[1, 2)", "\\{2, 1\\}", "±2", "2, -2", "∅"])
PIECES = st.sampled_from(
    ["Answer:", "answer is", "**", "\\boxed{", "}", "{", "$", "####", "\n", "<think>", "</think>", "not", "at least", "or", "≈", "=", "12",
     "3/4", "½", "%", "−", "...", "(A)", "B", "I cannot", "x^2", "\\frac{1}{2}", "1,234", "答案：", "٣", "^", "2^", "!", ":", "-", "\udc80"]
)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30).filter(
    lambda text: any(character.isalnum() for character in text) and "nswer" not in text
)
REPLIES = st.lists(PIECES | ANSWERS | st.text(max_size=8), max_size=12).map(" ".join)


@pytest.fixture(autouse=True)
def no_formulas(monkeypatch):
    """Formulas are not compared here: each pair is equal if its two texts are, and must come in one order."""

    def compare(x, y):
        assert x <= y
        return x == y, "symbolic"

    monkeypatch.setattr(symbolic, "compare", compare)


def problem(gold: str) -> Problem:
    return Problem("x/0", "Which?", gold, f"Answer: {gold}")


@FEW
@given(REPLIES, ANSWERS | REPLIES)
def test_nothing_raises(reply, gold):
    for parse in (answers.parse, answers.parse_number, answers.parse_like_gold):
        for answer in (parse(reply, problem(gold)).strict, parse(reply, problem(gold)).flexible):
            assert answer is None or answers.equal(gold, answer) in (True, False)
    assert answers.same(gold, reply) in (True, False)


@FEW
@given(ANSWERS, ANSWERS, ANSWERS)
@example("50%", "0.5", "50")
@example("(1, 2)", "1, 2", "(2, 1)")
def test_equal_is_an_equivalence(x, y, z):
    assert answers.equal(x, x)
    assert answers.equal(x, y) == answers.equal(y, x)
    if answers.equal(x, y) and answers.equal(y, z):
        assert answers.equal(x, z)


@FEW
@given(ANSWERS | TEXTS)
def test_a_gold_answer_passes_its_own_check(gold):
    parsed = answers.parse_like_gold(f"So we are done.\nAnswer: {gold}", problem(gold))
    assert parsed.strict is not None and answers.equal(gold, parsed.strict)


@FEW
@given(st.integers(-(10**22), 10**22), st.sampled_from(FORMS), st.sampled_from(FORMS), st.integers(1, 9))
def test_forms_of_one_number_are_equal_and_those_of_two_are_not(n, form, other, step):
    assert answers.equal(form.format(abs(n)), other.format(abs(n)))
    assert not answers.equal(form.format(abs(n)), other.format(abs(n) + step))


@FEW
@given(st.fractions())
def test_the_plain_form_of_a_number_is_exact(value):
    assert answers.number(answers.figure(str(value))) == (value, False)


@FEW
@given(st.lists(ANSWERS, min_size=2, max_size=5), ANSWERS, st.randoms(use_true_random=False))
def test_votes_do_not_depend_on_their_order(given_answers, gold, random):
    """As in a debate: each reply is read, and then the answers are counted."""
    replies = [f"Answer: {answer}" for answer in given_answers]
    read = [answers.parse_like_gold(reply, problem(gold)).flexible for reply in replies]
    counted = sorted(n for _, n in votes.tally(read, answers.equal))
    random.shuffle(read)
    assert sorted(n for _, n in votes.tally(read, answers.equal)) == counted


@pytest.mark.parametrize(
    ("given_answers", "gold"),
    [
        (["18", "18 apples", "$18.00"], "18"),
        (["18", "18 apples", "$18.00"], "20"),
        (["50%", "0.5", "1/2"], "50%"),
        (["20 and 15", "15, 20", "\\{20, 15\\}"], "15,20"),
        (["B", "(B)", "B) Lyon"], "B"),
        (["2021-05-03", "May 3, 2021", "3 May 2021"], "2021-05-03"),
        (["12,34,567", "1 234 567", "１２３４５６７"], "1234567"),
    ],
)
def test_three_forms_of_one_answer_are_three_votes_in_every_order(given_answers, gold):
    for order in permutations(given_answers):
        read = [answers.parse_like_gold(f"Answer: {answer}", problem(gold)).strict for answer in order]
        assert [n for _, n in votes.tally(read, answers.equal)] == [3]
        assert votes.consensus(read, answers.equal, "unanimous")


def test_votes_that_differ_stay_apart_where_a_gold_answer_is_lenient():
    for order in permutations(["50%", "0.5", "50"]):
        assert sorted(n for _, n in votes.tally(order, answers.equal)) == [1, 2]
    assert answers.same("50%", "50") and answers.same("50%", "0.5") and not answers.same("50", "0.5")
