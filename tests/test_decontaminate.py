"""Tests of decontamination against overlaps counted by hand."""

import time

import pytest

from agentark.extract.decontaminate import Hit, decontaminate, word_ngrams
from agentark.tasks import choices
from agentark.tasks.problem import Problem


def problem(name, question, *options) -> Problem:
    return Problem(
        name, question + ("\n" + choices.listed(options) if options else ""), "A", "Answer: A", options=options
    )


TEST = problem("test/0", "Ann has two red apples and three green pears. How many?")  # 11 words


def test_word_ngrams():
    assert word_ngrams(problem("", "One two, THREE; four-five"), 3) == [
        "one two three",
        "two three four",
        "three four five",
    ]
    assert word_ngrams(problem("", "It's 3.5 km"), 2) == ["it s", "s 3", "3 5", "5 km"]
    assert word_ngrams(problem("", "One two"), 3) == ["one two"]
    assert word_ngrams(problem("", "... !"), 3) == []


def test_word_ngrams_leave_options_out_unless_the_question_is_short():
    assert word_ngrams(problem("", "One two three four", "five", "six"), 3) == ["one two three", "two three four"]
    assert word_ngrams(problem("", "One two", "five", "six"), 3) == ["one two a five b six"]
    inside = Problem(
        "", "five or\nsix they asked then", "A", "", options=("five", "six")
    )  # the options are not a list at the end
    assert len(word_ngrams(inside, 3)) == 4


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (TEST.question, "ann has two red apples and three green"),
        (
            "Bob said: two red apples and three green pears! How?",
            "two red apples and three green pears how",
        ),  # eight in a row
        ("ANN HAS   two red apples\nand three (green) plums.", "ann has two red apples and three green"),
    ],
)
def test_eight_words_in_a_row_are_an_overlap(question, words):
    report = decontaminate([problem("train/0", question)], {"gsm8k": [TEST]})
    assert (
        report.kept == []
        and report.dropped == [Hit("train/0", "gsm8k", "test/0", words)]
        and report.counts == {"gsm8k": 1}
    )


@pytest.mark.parametrize(
    "question",
    [
        "Bob said: two red apples and three green pears!",  # seven in a row
        "Ann has two red apples, or three green pears. How many?",  # interrupted
        "Ann has two blue apples and three green pears. How many?",
        "",
        "Pears.",
    ],
)
def test_less_is_none(question):
    train = problem("train/0", question)
    report = decontaminate([train], {"gsm8k": [TEST]})
    assert report.kept == [train] and report.dropped == [] and report.counts == {"gsm8k": 0}


def test_a_short_question_is_hit_by_the_same_question_alone():
    test = [problem("med/0", "Normal in the lumbar spine?", "Lordosis", "Kyphosis")]
    same = problem("a", "normal in the LUMBAR spine", "lordosis", "kyphosis")
    longer = problem("b", "What is normal in the lumbar spine? Tell us why it is so.", "Lordosis", "Kyphosis")
    others = problem("c", "Normal in the lumbar spine?", "Scoliosis", "Kyphosis")
    report = decontaminate([same, longer, others], {"med": test})
    assert report.kept == [longer, others] and [hit.problem for hit in report.dropped] == ["a"]


def test_each_test_set_is_counted_and_the_first_item_named():
    other = problem("other/7", "She counts two red apples and three green pears, which is nice, so very nice.")
    train = [
        problem("t/0", TEST.question),
        problem("t/1", "Nothing of the kind is asked here, not a single word of it."),
        problem("t/2", other.question),
    ]
    report = decontaminate(train, {"one": [TEST, problem("test/1", TEST.question)], "two": [other], "none": []})
    assert report.kept == [train[1]]
    assert [(hit.problem, hit.test_set, hit.item) for hit in report.dropped] == [
        ("t/0", "one", "test/0"),
        ("t/2", "two", "other/7"),
    ]
    assert report.counts == {"one": 1, "two": 1, "none": 0}
    both = decontaminate([problem("t/3", f"{TEST.question} {other.question}")], {"one": [TEST], "two": [other]})
    assert both.counts == {"one": 1, "two": 1} and len(both.dropped) == 2 and both.kept == []


def test_answers_and_solutions_do_not_count():
    train = Problem("t", "Something else entirely is what this one here asks.", TEST.question, TEST.question)
    assert decontaminate([train], {"x": [TEST]}).kept == [train]


def test_n_is_a_parameter():
    train = problem("t", "two red apples")
    assert decontaminate([train], {"x": [TEST]}, n=3).counts == {"x": 1} and decontaminate(
        [train], {"x": [TEST]}, n=4
    ).counts == {"x": 0}
    with pytest.raises(ValueError, match="n must be at least 1"):
        decontaminate([train], {"x": [TEST]}, n=0)


def test_it_is_linear_in_the_number_of_questions():
    train = [
        problem(f"t/{n}", f"Question {n}: " + " ".join(f"word{n * 100 + k}" for k in range(40))) for n in range(5000)
    ]
    started = time.process_time()
    report = decontaminate(train, {"x": train[::2]})
    assert len(report.kept) == 2500 and time.process_time() - started < 5  # 0.5 s on a busy core
