"""Tasks: what is asked never leaks between splits, and what counts as right is exactly what is right."""

import re
from collections import defaultdict
from functools import cache
from itertools import islice
from random import Random

import pytest

from agentark import tasks
from agentark.tasks import mini_gsm, mini_med
from agentark.tasks.problem import SPLITS, Problem, take

NAMES = ("mini_gsm", "mini_med")
GSM, MED = tasks.get("mini_gsm"), tasks.get("mini_med")
SUM = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


@cache
def problems(name: str, split: str) -> list[Problem]:
    return tasks.problems(name, split, {"train": 2000, "dev": 300, "test": 600}[split])


@cache
def made(name: str, split: str, n: int) -> list[tuple]:
    """The first n of a split's stream, repeats and all: (story or case, problem, …)."""
    module = {"mini_gsm": mini_gsm, "mini_med": mini_med}[name]
    return list(islice(module.stream(split, Random(f"{name} {split}")), n))


def gsm(answer: str) -> Problem:
    return Problem("mini_gsm/train/0", "How many?", answer, f"gets 1+1=2\nAnswer: {answer}")


def med(answer: str = "B", options: tuple[str, ...] = ("heart", "liver", "skin", "dry mouth")) -> Problem:
    return Problem("mini_med/train/0", "Which?", answer, "", options=options)


# What is asked


@pytest.mark.parametrize("name", NAMES)
def test_content_is_in_one_split_only(name):
    seen = defaultdict(set)
    for split, n in (("train", 3000), ("dev", 320), ("test", 620)):
        for about, *_ in made(name, split, n):
            seen[about.key if name == "mini_gsm" else (about.path, about.drug)].add(split)
    assert len(seen) > 500
    assert all(len(splits) == 1 for splits in seen.values())
    questions = [p.question for split in SPLITS for p in problems(name, split)]
    assert len(set(questions)) > 0.999 * len(questions)


@pytest.mark.parametrize("name", NAMES)
def test_half_of_dev_and_test_is_held_out(name):
    templates = {split: {p.template for p in problems(name, split)} for split in SPLITS}
    held = {split: {p.template for p in problems(name, split) if p.held_out} for split in SPLITS}
    for split in ("dev", "test"):
        share = sum(p.held_out for p in problems(name, split)) / len(problems(name, split))
        assert share == pytest.approx(0.5, abs=0.01)
    assert not held["train"]
    trained = {p.template for _, p, *_ in made(name, "train", 3000)} | templates["train"]
    assert held["dev"] and held["test"] and not (held["dev"] | held["test"]) & trained
    assert not held["dev"] & templates["test"] and not held["test"] & templates["dev"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_what_they_should_be(name, split):
    asked = problems(name, split)
    assert len({p.id for p in asked}) == len(asked) and all(p.id.startswith(f"{name}/{split}/") for p in asked)
    assert tasks.problems(name, split, 100)[:50] == tasks.problems(name, split, 50) == asked[:50]
    for p in asked:
        assert p.question and p.template and re.search(r"\nAnswer: [^\n]+\Z", p.solution)
        assert tasks.get(name).prompt(p) == p.question
        parsed, strict, flexible = tasks.get(name).verify(p.solution, p)
        assert strict and flexible and parsed.strict == parsed.flexible == p.answer


def test_sizes():
    for name in NAMES:
        assert tasks.get(name).sizes == {"train": 4000, "dev": 500, "test": 1000}
        for split in SPLITS:
            assert len(tasks.problems(name, split, 1)) == 1
    assert len(tasks.problems("mini_med", "test", 1000)) == 1000 and len(tasks.problems("mini_med", "train", 4000)) == 4000


def test_take_gives_each_content_once_and_says_when_there_is_no_more():
    few = ((str(n % 3), gsm(str(n))) for n in range(10**6))
    assert [p.answer for p in take(iter([("a", gsm("1")), ("a", gsm("2")), ("b", gsm("3"))]), 2, "x")] == ["1", "3"]
    with pytest.raises(ValueError, match="x/train: only 3 .* 4 were asked for"):
        take(few, 4, "x/train")


@pytest.mark.parametrize(("call", "says"), [
    (lambda: tasks.get("mini_gms"), "unknown task 'mini_gms'; there are mini_gsm, mini_med, or a path that ends in .jsonl; did you mean 'mini_gsm'"),
    (lambda: tasks.problems("zzz", "train", 1), "unknown task 'zzz'"),
    (lambda: tasks.problems("mini_gsm", "tset", 1), "unknown split 'tset' of mini_gsm; there are train, dev, test"),
    (lambda: tasks.problems("mini_gsm", "train", 0), "mini_gsm/train: an empty set"),
    (lambda: tasks.problems("mini_med", "train", -1), "empty set"),
])
def test_refused(call, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        call()


# mini_gsm: solutions


def test_gsm_equations_are_true_and_lead_to_the_answer():
    for _, p, _ in made("mini_gsm", "train", 1000) + made("mini_gsm", "test", 300):
        equations = SUM.findall(p.solution)
        assert len(equations) == len(p.solution.splitlines()) - 1
        for x, op, y, result in equations:
            x, y = int(x), int(y)
            assert {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[op] == int(result), p.solution
        assert equations[-1][-1] == p.answer and 1 <= int(p.answer) <= mini_gsm.LARGEST
        numbers = set(re.findall(r"\d+", p.question))
        assert {x for x, _, _, _ in equations[:1]} <= numbers  # the first step starts from what is told


def test_gsm_styles_agree():
    several = 0
    for story, p, _ in made("mini_gsm", "train", 1000):
        writers = [mini_gsm._Writer() for _ in mini_gsm.styles(story)]
        assert {str(style(story, write)) for style, write in zip(mini_gsm.styles(story), writers)} == {p.answer}
        several += len({tuple(write.lines) for write in writers}) > 1
    assert several > 300  # structurally different solutions are what DA chooses among


def test_gsm_story_is_told_whole():
    for story, p, _ in made("mini_gsm", "train", 300):
        assert 2 <= len(story.events) <= 4 and story.template == p.template and p.template.count("-") == len(story.events) - 1
        told = re.findall(r"\d+", p.question)
        for number in (story.start, *(e.a for e in story.events), *(e.b for e in story.events if e.b)):
            assert str(number) in told


def test_gsm_short_stories_for_the_curriculum():
    for story, p, stray in islice(mini_gsm.stream("train", Random(1), (1, 2)), 100):
        assert 1 <= len(story.events) <= 2 and GSM.verify(p.solution, p)[1]
        GSM.verify(mini_gsm.spoil(story, stray, Random(p.id)), p)


@pytest.mark.parametrize("split", ["train", "test"])
def test_spoiled_solutions_are_wrong(split):
    wrong = {name: [] for name in NAMES}
    for story, p, stray in made("mini_gsm", split, 600):
        wrong["mini_gsm"].append(not GSM.verify(mini_gsm.spoil(story, stray, Random(p.id)), p)[2])
    for case, p in made("mini_med", split, 600):
        spoiled = mini_med.spoil(case, Random(p.id))
        assert spoiled.splitlines()[-1].startswith("Answer: ")
        wrong["mini_med"].append(not MED.verify(spoiled, p)[2])
    for name in NAMES:
        assert sum(wrong[name]) > 0.9 * len(wrong[name]), name


# mini_gsm: what counts as right


@pytest.mark.parametrize("text", [
    "Answer: 12", "answer: 12", "Final answer: 12", "Answer is 12", "  Answer:12  ", "Answer: 12 apples", "Answer: 12.", "Answer: 12.0", "Answer: 012",
    "gets 1+1=2\nAnswer: 12\n", "Answer: 13\nAgain.\nAnswer: 12", "Answer: $12", "Answer: \\boxed{12}", "Answer: 12\nI am sure, 100%.",
])
def test_gsm_right(text):
    assert GSM.verify(text, gsm("12"))[1:] == (True, True)


@pytest.mark.parametrize("text", [
    "Answer: 13", "Answer: 11", "Answer: -12", "Answer: 120", "Answer: 12.5", "Answer: 1.2", "Answer: 112", "Answer: 1,200", "Answer: 12,000",
    "gets 10+2=12\nAnswer: 13", "Answer: 12\nNo.\nAnswer: 13", "", " \n", "Answer:", "Answer: unknown", "no number", "twelve", "\\boxed{}", "\\boxed{13}",
    "\\boxed{12}\n\\boxed{13}", "gets 10+2=12\nloses 12-2=10",
])
def test_gsm_wrong(text):
    assert GSM.verify(text, gsm("12"))[1:] == (False, False)


@pytest.mark.parametrize("text", ["\\boxed{12}", "It is \\boxed{12 apples}, not 13.", "gets 10+2=12", "She has 12.", "The answer is 12.", "so 12.0 in all"])
def test_gsm_right_by_flexible_extraction_only(text):
    parsed, strict, flexible = GSM.verify(text, gsm("12"))
    assert parsed.strict is None and (strict, flexible) == (False, True)


@pytest.mark.parametrize("text", ["Answer: 12 or 13", "Answer: 13 or 12", "Answer: 13, not 12", "Answer: 11 12", "Answer: 12/13"])
def test_gsm_hedging_is_no_answer(text):
    parsed, strict, flexible = GSM.verify(text, gsm(re.findall(r"\d+", text)[-1]))
    assert parsed.strict is None and not strict
    assert not flexible, f"{text!r} names two numbers on its answer line, and the last one was taken for the answer"


def test_gsm_numbers():
    assert GSM.verify("Answer: 1,234", gsm("1234"))[1] and GSM.verify("Answer: 1,234,567.0 coins", gsm("1234567"))[1]
    assert GSM.verify("Answer: -5", gsm("-5"))[1] and not GSM.verify("Answer: 5", gsm("-5"))[2]
    assert GSM.equal("12", "12.0") and GSM.equal("012", "12") and not GSM.equal("12", "x") and not GSM.equal("12", "")
    assert not GSM.equal("12", "nan") and not GSM.equal("12", "inf")


@pytest.mark.parametrize("name", NAMES)
def test_odd_texts_are_read_fast_and_crash_nothing(name):
    problem = problems(name, "train")[0]
    for text in ("\n" * 3000, "Answer:" + " " * 3000 + "x", "Answer: " * 500, "9" * 5000, "Answer: " + "9" * 5000, "-,.()" * 500, "\\boxed{" * 500,
                 "\\boxed{{12}}", "Answer: ٣", "Answer: ½", "\x00", "(A" * 500, "Answer: \udc80"):
        tasks.get(name).verify(text, problem)


# mini_med


def test_med_facts_answer_each_question():
    relation = mini_med.FACTS.relation
    letters = defaultdict(int)
    for case, p in made("mini_med", "train", 1000) + made("mini_med", "test", 300):
        path = mini_med.PATHS[case.path]
        answer = relation[path.second][relation[path.first][case.drug]]
        assert p.options[mini_med.LETTERS.index(p.answer)] == answer and len(set(p.options)) == 4 and set(p.options) <= set(path.values)
        assert case.drug in p.question and path.asked in p.question
        assert p.question.splitlines()[-4:] == [f"{letter}) {option}" for letter, option in zip("ABCD", p.options)]
        letters[p.answer] += 1
    assert all(250 < letters[letter] < 400 for letter in "ABCD")  # no letter is favoured: 1300 / 4 = 325


def test_med_solutions_state_true_facts():
    relation = mini_med.FACTS.relation
    for case, p in made("mini_med", "train", 300):
        path = mini_med.PATHS[case.path]
        facts = [line for line in p.solution.splitlines() if not line.startswith(("asked: ", "so asked: ", "Answer: "))]
        assert facts == [f"{case.drug} {path.first} {case.middle}.", f"{case.middle} {path.second} {relation[path.second][case.middle]}."]
        assert p.solution.endswith(f"Answer: {p.options[mini_med.LETTERS.index(p.answer)]}")


def test_med_styles_agree():
    for case, p in made("mini_med", "train", 50):
        solutions = {mini_med.solve(case, Random(seed)) for seed in range(20)}
        assert len(solutions) == 3 and all(MED.verify(s, p)[1] for s in solutions)


def test_med_world_is_always_the_same():
    assert mini_med.FACTS == mini_med._facts() and len(set(mini_med.FACTS.drugs)) == 480 and len(set(mini_med.FACTS.diseases)) == 60
    assert not set(mini_med.FACTS.drugs) & set(mini_med.FACTS.diseases)


@pytest.mark.parametrize("text", [
    "Answer: B", "Answer: b", "answer: (B)", "Answer: B)", "Answer: B.", "Answer: B) liver", "Answer: (B) liver", "Answer: B: liver", "Final answer: B",
    "Answer: A\nAgain.\nAnswer: B", "A is heart. C is skin. D is dry mouth. Not these.\nAnswer: B",
])
def test_med_right(text):
    assert MED.verify(text, med("B"))[1:] == (True, True)


@pytest.mark.parametrize("text", [
    "Answer: A", "Answer: (C)", "Answer: D.", "Answer: E", "Answer: BB", "Answer: AB", "Answer: Both", "Answer: Bones", "", "Answer:", "Answer: ?", "B", "it is B",
    "Answer: B\nNo.\nAnswer: A", "Answer: heart or liver", "It is liver, not heart", "liver\nthat was all", "heart", "\\boxed{A}", "(B)\n(A)", "\\boxed{}",
    "x affects the liver.\nAnswer:",
])
def test_med_wrong(text):
    assert MED.verify(text, med("B"))[1:] == (False, False)


@pytest.mark.parametrize("text", ["Answer: liver", "Answer: Liver.", "Answer:  LIVER"])
def test_med_an_options_whole_text_is_a_strict_answer(text):
    assert MED.verify(text, med("B"))[1:] == (True, True) and MED.parse(text, med("B")).strict == "B"


@pytest.mark.parametrize("text", ["Answer: the liver", "\\boxed{B}", "so it is (B)", "(A) is wrong, (B) is right", "x affects the liver."])
def test_med_right_by_flexible_extraction_only(text):
    parsed, strict, flexible = MED.verify(text, med("B"))
    assert parsed.strict is None and (strict, flexible) == (False, True)


@pytest.mark.parametrize("text", ["Answer: a liver", "Answer: a drug", "a disease of something", "This is a", "A patient takes it."])
def test_med_article_is_no_option(text):
    parsed = MED.parse(text, med("A"))
    assert parsed.strict is None and parsed.flexible != "A"


@pytest.mark.parametrize("text", ["Answer: B or C", "Answer: B, C", "Answer: A, B, C or D", "Answer: (B) or (C)", "Answer: B. or C."])
def test_med_hedging_is_no_answer(text):
    for letter in "ABCD":
        assert not MED.verify(text, med(letter))[1], f"{text!r} names several letters, and {letter} was taken for the answer"


def test_med_option_texts():
    assert MED.parse("Answer: dry mouth", med()).flexible == "D" and MED.parse("it brings dry mouth and more", med()).flexible == "D"
    assert MED.parse("a hearty meal", med()).flexible is None  # whole words only
    assert MED.parse("heart, liver", med()).flexible is None  # two are none
    assert MED.parse("liver", med(options=())).flexible is None
