"""The mini tasks in the paper's training roles: splits are disjoint, and exactly the right answers count as right."""

import ast
import re
from collections import Counter, defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import islice
from random import Random

import pytest

from agentark import tasks
from agentark.tasks import mini, mini_gsm, mini_math, mini_med, mini_meta, mini_truthful, numeric
from agentark.tasks.problem import SPLITS, Problem, take

MODULES = {"mini_gsm": mini_gsm, "mini_med": mini_med, "mini_math": mini_math, "mini_meta": mini_meta}
NAMES = tuple(MODULES)
CONTENT = {  # the part of a case that must be in one split only
    "mini_gsm": lambda story: story.key,
    "mini_med": lambda case: (case.path, case.drug),
    "mini_math": lambda case: case.key,
    "mini_meta": lambda case: case.story.key,
}
GSM, MED, MATH, META = (tasks.get(name) for name in NAMES)
WITH_PRETRAIN = ("pretrain", *SPLITS)  # the networks of the zoo are trained on problems that no study has
SUM = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


@cache
def problems(name: str, split: str) -> list[Problem]:
    return tasks.problems(name, split, {"train": 2000, "dev": 300, "test": 600}[split])


@cache
def stream_start(name: str, split: str, n: int) -> list[tuple]:
    """The first n of a split's stream, with repeats: (story or case, problem, …)."""
    return list(islice(MODULES[name].stream(split, Random(f"{name} {split}")), n))


def gsm(answer: str) -> Problem:
    return Problem("mini_gsm/train/0", "How many?", answer, f"gets 1+1=2\nAnswer: {answer}")


def med(answer: str = "B", options: tuple[str, ...] = ("heart", "liver", "skin", "dry mouth")) -> Problem:
    return Problem("mini_med/train/0", "Which?", answer, "", options=options)


# Questions of the mini tasks


@pytest.mark.parametrize("name", NAMES)
def test_content_is_in_one_split_only(name):
    seen = defaultdict(set)
    for split, n in (("pretrain", 1000), ("train", 3000), ("dev", 320), ("test", 620)):
        for case, *_ in stream_start(name, split, n):
            seen[CONTENT[name](case)].add(split)
    assert len(seen) > 500
    assert all(len(splits) == 1 for splits in seen.values())
    questions = [p.question for split in SPLITS for p in problems(name, split)]
    assert len(set(questions)) > 0.999 * len(questions)
    pretrained = {p.question for _, p, *_ in stream_start(name, "pretrain", 1000)}
    assert len(pretrained) > 800 and not pretrained & set(questions)


@pytest.mark.parametrize(
    ("shares", "expected"), [((30, 40, 10, 20), (30, 40, 10, 20)), ((0, 50, 0, 50), (0, 50, 0, 50))]
)
def test_a_split_is_a_function_of_the_content(shares, expected):
    splits = Counter(mini.split_of(f"content {n}", shares) for n in range(4000))
    assert [splits[split] / 4000 for split in WITH_PRETRAIN] == pytest.approx([s / 100 for s in expected], abs=0.03)
    assert all(mini.split_of(f"content {n}") == mini.split_of(f"content {n}", mini.SHARES) for n in range(100))
    assert sum(mini.SHARES) == sum(mini_med.SHARES) == sum(mini_truthful.SHARES) == 100


@pytest.mark.parametrize("split", WITH_PRETRAIN)
def test_which_templates_a_split_may_use(split):
    homes = [mini.next_home(split, n) for n in range(6)]
    assert homes == (["train", split] * 3 if split in ("dev", "test") else ["train"] * 6)


def test_studies_have_no_pretrain_problems():
    with pytest.raises(ValueError, match="unknown split 'pretrain' of mini_gsm: the splits are train, dev, test"):
        tasks.problems("mini_gsm", "pretrain", 1)


@pytest.mark.parametrize("name", NAMES)
def test_half_of_dev_and_test_is_held_out(name):
    templates = {split: {p.template for p in problems(name, split)} for split in SPLITS}
    held = {split: {p.template for p in problems(name, split) if p.held_out} for split in SPLITS}
    for split in ("dev", "test"):  # exactly half, and every other one, so that this holds for the first n, too
        assert [p.held_out for p in problems(name, split)] == [n % 2 == 1 for n in range(len(problems(name, split)))]
    assert not held["train"]
    streams = [*stream_start(name, "train", 3000), *stream_start(name, "pretrain", 1000)]
    assert not any(p.held_out for _, p, *_ in streams)
    trained = {p.template for _, p, *_ in streams} | templates["train"]
    assert held["dev"] and held["test"] and not (held["dev"] | held["test"]) & trained
    assert not held["dev"] & templates["test"] and not held["test"] & templates["dev"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_problems_are_what_they_should_be(name, split):
    of_split = problems(name, split)
    assert len({p.id for p in of_split}) == len(of_split)
    assert all(p.id.startswith(f"{name}/{split}/") for p in of_split)
    assert tasks.problems(name, split, 100)[:50] == tasks.problems(name, split, 50) == of_split[:50]
    for p in of_split:
        assert p.question and p.template and re.search(r"\nAnswer: [^\n]+\Z", p.solution)
        assert tasks.get(name).prompt(p) == p.question
        parsed, strict, flexible = tasks.get(name).verify(p.solution, p)
        assert strict and flexible and parsed.strict == parsed.flexible == p.answer


def test_sizes():
    for name in NAMES:
        assert tasks.get(name).sizes == {"train": 4000, "dev": 500, "test": 1000}
        for split in SPLITS:
            assert len(tasks.problems(name, split, 1)) == 1
    for name in NAMES:
        assert len(tasks.problems(name, "test", 1000)) == 1000 and len(tasks.problems(name, "train", 4000)) == 4000


def test_take_gives_each_content_once_and_says_when_there_is_no_more():
    few = ((str(n % 3), gsm(str(n))) for n in range(10**6))
    assert [p.answer for p in take(iter([("a", gsm("1")), ("a", gsm("2")), ("b", gsm("3"))]), 2, "x")] == ["1", "3"]
    with pytest.raises(ValueError, match="x/train has only 3 different problems, but 4 were requested"):
        take(few, 4, "x/train")


def test_take_alternates_between_the_halves():
    def some(*held_outs):
        return ((str(n), replace(gsm(str(n)), held_out=h)) for n, h in enumerate(held_outs))

    def answers(stream, n, **options):
        return [p.answer for p in take(stream, n, "x", **options)]

    assert answers(some(False, False, True, True, False, True), 4, halves=True) == ["0", "2", "4", "5"]
    assert answers(some(True, False, True, False, False), 3, halves=True) == ["1", "2", "3"]
    assert answers(some(True, False, True), 3) == ["0", "1", "2"]
    repeated = (("a", gsm("1")), ("a", replace(gsm("2"), held_out=True)), ("b", replace(gsm("3"), held_out=True)))
    assert answers(iter(repeated), 2, halves=True) == ["1", "3"]  # the repeated one was of the other half


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tasks.get("mini_gms"),
            "unknown task 'mini_gms' (did you mean 'mini_gsm'?): give the path of a file (.jsonl, .csv, .tsv, .parquet)",
        ),
        (lambda: tasks.get("mini_gms"), f"(.jsonl, .csv, .tsv, .parquet) or one of {', '.join(tasks.names())}"),
        (lambda: tasks.get("mini_mth"), "did you mean 'mini_math'"),
        (lambda: tasks.get("gsm8"), "did you mean 'gsm8k'"),
        (lambda: tasks.get("metamath"), "did you mean 'metamathqa'"),
        (lambda: tasks.get("gsm_symbolc"), "did you mean 'gsm_symbolic'"),
        (lambda: tasks.problems("zzz", "train", 1), "unknown task 'zzz': give"),
        (
            lambda: tasks.problems("mini_gsm", "tset", 1),
            "unknown split 'tset' of mini_gsm: the splits are train, dev, te",
        ),
        (lambda: tasks.problems("mini_gsm", "train", 0), "mini_gsm/train: the number of problems must be at least 1"),
        (lambda: tasks.problems("mini_med", "train", -1), "must be at least 1, not -1"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


# mini_gsm: solutions


def test_gsm_equations_are_true_and_lead_to_the_answer():
    for _, p, _ in stream_start("mini_gsm", "train", 1000) + stream_start("mini_gsm", "test", 300):
        equations = SUM.findall(p.solution)
        assert len(equations) == len(p.solution.splitlines()) - 1
        for x, op, y, result in equations:
            x, y = int(x), int(y)
            assert {"+": x + y, "-": x - y, "*": x * y, "/": x / y}[op] == int(result), p.solution
        assert equations[-1][-1] == p.answer and 1 <= int(p.answer) <= mini_gsm.LARGEST
        numbers = set(re.findall(r"\d+", p.question))
        assert {x for x, _, _, _ in equations[:1]} <= numbers  # the first step starts from numbers of the question


def test_gsm_styles_agree():
    several = 0
    for story, p, _ in stream_start("mini_gsm", "train", 1000):
        writers = [numeric.Writer() for _ in mini_gsm.styles(story)]
        assert {str(style(story, write)) for style, write in zip(mini_gsm.styles(story), writers)} == {p.answer}
        several += len({tuple(write.lines) for write in writers}) > 1
    assert several > 300  # structurally different solutions are what DA chooses among


def test_gsm_questions_have_all_numbers_of_their_story():
    for story, p, _ in stream_start("mini_gsm", "train", 300):
        assert (
            2 <= len(story.events) <= 4
            and story.template == p.template
            and p.template.count("-") == len(story.events) - 1
        )
        numbers = re.findall(r"\d+", p.question)
        for number in (story.start, *(e.a for e in story.events), *(e.b for e in story.events if e.b)):
            assert str(number) in numbers


def test_gsm_short_stories_for_the_curriculum():
    for story, p, stray in islice(mini_gsm.stream("train", Random(1), (1, 2)), 100):
        assert 1 <= len(story.events) <= 2 and GSM.verify(p.solution, p)[1]
        GSM.verify(mini_gsm.spoil(story, stray, Random(p.id)), p)


@pytest.mark.parametrize("split", ["train", "test"])
def test_spoiled_solutions_are_wrong(split):
    wrong = {name: [] for name in NAMES}
    for story, p, stray in stream_start("mini_gsm", split, 600):
        wrong["mini_gsm"].append(not GSM.verify(mini_gsm.spoil(story, stray, Random(p.id)), p)[2])
    for case, p in stream_start("mini_med", split, 600):
        spoiled = mini_med.spoil(case, Random(p.id))
        assert spoiled.splitlines()[-1].startswith("Answer: ")
        wrong["mini_med"].append(not MED.verify(spoiled, p)[2])
    for name in ("mini_math", "mini_meta"):
        for case, p in stream_start(name, split, 600):
            spoiled = MODULES[name].spoil(case, Random(p.id))
            assert re.search(r"\nAnswer: -?\d+\Z", spoiled), spoiled
            wrong[name].append(not tasks.get(name).verify(spoiled, p)[2])
    for name in NAMES:
        assert sum(wrong[name]) > 0.9 * len(wrong[name]), name


# mini_gsm: what counts as right


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 12",
        "answer: 12",
        "Final answer: 12",
        "Answer is 12",
        "  Answer:12  ",
        "Answer: 12 apples",
        "Answer: 12.",
        "Answer: 12.0",
        "Answer: 012",
        "gets 1+1=2\nAnswer: 12\n",
        "Answer: 13\nAgain.\nAnswer: 12",
        "Answer: $12",
        "Answer: \\boxed{12}",
        "Answer: 12\nI am sure, 100%.",
    ],
)
def test_gsm_right(text):
    assert GSM.verify(text, gsm("12"))[1:] == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: 13",
        "Answer: 11",
        "Answer: -12",
        "Answer: 120",
        "Answer: 12.5",
        "Answer: 1.2",
        "Answer: 112",
        "Answer: 1,200",
        "Answer: 12,000",
        "gets 10+2=12\nAnswer: 13",
        "Answer: 12\nNo.\nAnswer: 13",
        "",
        " \n",
        "Answer:",
        "Answer: unknown",
        "no number",
        "twelve",
        "\\boxed{}",
        "\\boxed{13}",
        "\\boxed{12}\n\\boxed{13}",
        "gets 10+2=12\nloses 12-2=10",
    ],
)
def test_gsm_wrong(text):
    assert GSM.verify(text, gsm("12"))[1:] == (False, False)


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{12}",
        "It is \\boxed{12 apples}, not 13.",
        "gets 10+2=12",
        "She has 12.",
        "The answer is 12.",
        "so 12.0 in all",
    ],
)
def test_gsm_right_by_flexible_extraction_only(text):
    parsed, strict, flexible = GSM.verify(text, gsm("12"))
    assert parsed.strict is None and (strict, flexible) == (False, True)


@pytest.mark.parametrize(
    "text", ["Answer: 12 or 13", "Answer: 13 or 12", "Answer: 13, not 12", "Answer: 11 12", "Answer: 12/13"]
)
def test_gsm_hedging_is_no_answer(text):
    parsed, strict, flexible = GSM.verify(text, gsm(re.findall(r"\d+", text)[-1]))
    assert parsed.strict is None and not strict
    assert not flexible, f"{text!r} names two numbers on its answer line, and the last one was taken for the answer"


def test_gsm_numbers():
    assert GSM.verify("Answer: 1,234", gsm("1234"))[1] and GSM.verify("Answer: 1,234,567.0 coins", gsm("1234567"))[1]
    assert GSM.verify("Answer: -5", gsm("-5"))[1] and not GSM.verify("Answer: 5", gsm("-5"))[2]
    assert GSM.equal("12", "12.0") and GSM.equal("012", "12") and not GSM.equal("12", "x") and not GSM.equal("12", "")
    assert not GSM.equal("12", "nan") and not GSM.equal("12", "inf")
    assert GSM.equal(str(2**53), f"{2**53}.0") and not GSM.equal(str(2**53), str(2**53 + 1))  # equal as floats


@pytest.mark.parametrize("name", NAMES)
def test_odd_texts_are_read_fast_and_crash_nothing(name):
    problem = problems(name, "train")[0]
    for text in (
        "\n" * 3000,
        "Answer:" + " " * 3000 + "x",
        "Answer: " * 500,
        "9" * 5000,
        "Answer: " + "9" * 5000,
        "-,.()" * 500,
        "\\boxed{" * 500,
        "\\boxed{{12}}",
        "Answer: ٣",
        "Answer: ½",
        "\x00",
        "(A" * 500,
        "Answer: \udc80",
    ):
        tasks.get(name).verify(text, problem)


# mini_med


def test_med_facts_answer_each_question():
    relation = mini_med.FACTS.relation
    letters = defaultdict(int)
    for case, p in stream_start("mini_med", "train", 1000) + stream_start("mini_med", "test", 300):
        path = mini_med.PATHS[case.path]
        answer = relation[path.second][relation[path.first][case.drug]]
        assert (
            p.options[mini_med.LETTERS.index(p.answer)] == answer
            and len(set(p.options)) == 4
            and set(p.options) <= set(path.values)
        )
        assert case.drug in p.question and path.noun in p.question
        assert p.question.splitlines()[-4:] == [f"{letter}) {option}" for letter, option in zip("ABCD", p.options)]
        letters[p.answer] += 1
    assert all(250 < letters[letter] < 400 for letter in "ABCD")  # all letters are equally frequent: 1300 / 4 = 325


def test_med_solutions_state_true_facts():
    relation = mini_med.FACTS.relation
    for case, p in stream_start("mini_med", "train", 300):
        path = mini_med.PATHS[case.path]
        facts = [line for line in p.solution.splitlines() if not line.startswith(("asked: ", "so asked: ", "Answer: "))]
        assert facts == [
            f"{case.drug} {path.first} {case.middle}.",
            f"{case.middle} {path.second} {relation[path.second][case.middle]}.",
        ]
        assert p.solution.endswith(f"Answer: {p.options[mini_med.LETTERS.index(p.answer)]}")


def test_med_styles_agree():
    for case, p in stream_start("mini_med", "train", 50):
        solutions = {mini_med.solve(case, Random(seed)) for seed in range(20)}
        assert len(solutions) == 3 and all(MED.verify(s, p)[1] for s in solutions)


def test_med_world_is_always_the_same():
    assert (
        mini_med.FACTS == mini_med._facts()
        and len(set(mini_med.FACTS.drugs)) == 600
        and len(set(mini_med.FACTS.diseases)) == 60
    )
    assert not set(mini_med.FACTS.drugs) & set(mini_med.FACTS.diseases)
    for path in mini_med.PATHS.values():  # every value can be an answer, and there is a fact for every drug
        assert set(mini_med.FACTS.relation[path.first]) == set(mini_med.FACTS.drugs)
        assert set(mini_med.FACTS.relation[path.second].values()) == set(path.values)


def test_med_test_problems_have_distinct_facts_and_clusters():
    """No two have the same path and drug; those that need the same first fact, and only those, are a cluster."""
    of_test = tasks.problems("mini_med", "test", 1000)
    clusters = defaultdict(list)
    for p in of_test:
        path = mini_med.PATHS[p.template.split("-")[0]]
        (drug,) = [line.split()[0] for line in p.solution.splitlines() if f" {path.first} " in line]
        assert p.cluster == f"{drug} {path.first}" and p.cluster.split()[0] in p.question
        clusters[p.cluster].append(p.template.split("-")[0])
    assert len({(p.template.split("-")[0], p.cluster.split()[0]) for p in of_test}) == 1000
    assert max(map(len, clusters.values())) > 1 and 400 < len(clusters) < 900
    assert {kind for kinds in clusters.values() for kind in kinds} == set(mini_med.PATHS)
    assert all(kinds == ["effect"] for cluster, kinds in clusters.items() if cluster.endswith(" belongs to"))


@pytest.mark.parametrize("name", ["mini_gsm", "mini_math", "mini_meta"])
def test_other_problems_are_no_clusters(name):
    assert {p.cluster for split in SPLITS for p in problems(name, split)} == {""}


@pytest.mark.parametrize(
    "text",
    [
        "Answer: B",
        "Answer: b",
        "answer: (B)",
        "Answer: B)",
        "Answer: B.",
        "Answer: B) liver",
        "Answer: (B) liver",
        "Answer: B: liver",
        "Final answer: B",
        "Answer: A\nAgain.\nAnswer: B",
        "A is heart. C is skin. D is dry mouth. Not these.\nAnswer: B",
    ],
)
def test_med_right(text):
    assert MED.verify(text, med("B"))[1:] == (True, True)


@pytest.mark.parametrize(
    "text",
    [
        "Answer: A",
        "Answer: (C)",
        "Answer: D.",
        "Answer: E",
        "Answer: BB",
        "Answer: AB",
        "Answer: Both",
        "Answer: Bones",
        "",
        "Answer:",
        "Answer: ?",
        "B",
        "it is B",
        "Answer: B\nNo.\nAnswer: A",
        "Answer: heart or liver",
        "It is liver, not heart",
        "liver\nthat was all",
        "heart",
        "\\boxed{A}",
        "(B)\n(A)",
        "\\boxed{}",
        "x affects the liver.\nAnswer:",
    ],
)
def test_med_wrong(text):
    assert MED.verify(text, med("B"))[1:] == (False, False)


@pytest.mark.parametrize("text", ["Answer: liver", "Answer: Liver.", "Answer:  LIVER"])
def test_med_an_options_whole_text_is_a_strict_answer(text):
    assert MED.verify(text, med("B"))[1:] == (True, True) and MED.parse(text, med("B")).strict == "B"


@pytest.mark.parametrize(
    "text", ["Answer: the liver", "\\boxed{B}", "so it is (B)", "(A) is wrong, (B) is right", "x affects the liver."]
)
def test_med_right_by_flexible_extraction_only(text):
    parsed, strict, flexible = MED.verify(text, med("B"))
    assert parsed.strict is None and (strict, flexible) == (False, True)


@pytest.mark.parametrize(
    "text", ["Answer: a liver", "Answer: a drug", "a disease of something", "This is a", "A patient takes it."]
)
def test_med_article_is_no_option(text):
    parsed = MED.parse(text, med("A"))
    assert parsed.strict is None and parsed.flexible != "A"


@pytest.mark.parametrize(
    "text", ["Answer: B or C", "Answer: B, C", "Answer: A, B, C or D", "Answer: (B) or (C)", "Answer: B. or C."]
)
def test_med_hedging_is_no_answer(text):
    for letter in "ABCD":
        assert not MED.verify(text, med(letter))[1], (
            f"{text!r} names several letters, and {letter} was taken for the answer"
        )


def test_med_option_texts():
    assert (
        MED.parse("Answer: dry mouth", med()).flexible == "D"
        and MED.parse("it brings dry mouth and more", med()).flexible == "D"
    )
    assert MED.parse("a hearty meal", med()).flexible is None  # whole words only
    assert MED.parse("heart, liver", med()).flexible is None  # two are none
    assert MED.parse("liver", med(options=())).flexible is None


# mini_math

OPS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
PATTERNS = {  # kind -> a pattern of its questions: the text of the tree, and m
    "equation": r"([\dx()*/+-]+)=(\d+)()\b",
    "order": r"(?:Compute|What is|Find the value of) ([\d()*/+-]+)[.?]()\Z",
    "remainder": r"(?:remainder of|Divide|Find) ([\d()*/+-]+) (?:divided by|by|modulo) (\d+)[.?]",
}


def read(text: str):
    """A sum's text as a tree, by Python's grammar."""

    def tree(node):
        if isinstance(node, ast.BinOp):
            return OPS[type(node.op)], tree(node.left), tree(node.right)
        return node.id if isinstance(node, ast.Name) else node.value

    return tree(ast.parse(text, mode="eval").body)


def exact_value(tree, x: int = 0) -> Fraction:
    """A tree's value in exact arithmetic, with no limits except for a division by zero."""
    if not isinstance(tree, tuple):
        return Fraction(x if tree == "x" else tree)
    a, b = exact_value(tree[1], x), exact_value(tree[2], x)
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b}[tree[0]]()


def parts(tree):
    """All parts of a tree, itself included."""
    yield tree
    if isinstance(tree, tuple):
        yield from parts(tree[1])
        yield from parts(tree[2])


def math_cases() -> list[tuple]:
    return (
        stream_start("mini_math", "train", 1200)
        + stream_start("mini_math", "dev", 200)
        + stream_start("mini_math", "test", 300)
    )


def test_math_answers_are_right():
    kinds = Counter()
    for case, p in math_cases():
        text, m = re.search(PATTERNS[case.kind], p.question).groups()[:2]
        answer = int(p.answer)
        if case.kind == "equation":
            assert (
                exact_value(read(text), answer) == int(m) == case.m and text.count("x") == 1
            )  # linear in x: there is no other answer
            assert exact_value(read(text), answer + 1) != int(m)
        elif case.kind == "order":
            assert exact_value(read(text)) == answer and case.m == 0
        else:
            assert exact_value(read(text)) % int(m) == answer < int(m) and int(m) == case.m
        assert 0 <= answer <= mini_math.LARGEST
        kinds[case.kind] += 1
        for part in parts(read(text)):  # no intermediate result is negative, fractional or too large
            if "x" not in str(part):
                assert exact_value(part).denominator == 1 and 0 <= exact_value(part) <= mini_math.LARGEST
    assert set(kinds) == set(mini_math.WORDINGS) and min(kinds.values()) > 250


def test_math_trees_are_shown_with_the_necessary_brackets():
    bracketed = 0
    for case, p in math_cases():
        shown = mini_math.show(case.tree)
        assert shown in p.question and read(shown) == case.tree
        for start in [k for k, c in enumerate(shown) if c == "("]:  # no bracket can be left out
            depth = 0
            for end in range(start, len(shown)):
                depth += {"(": 1, ")": -1}.get(shown[end], 0)
                if depth == 0:
                    break
            assert read(shown[:start] + shown[start + 1 : end] + shown[end + 1 :]) != case.tree
            bracketed += 1
        assert p.template == f"{case.kind} {re.sub('[0-9]+', 'n', shown)}"
    assert bracketed > 300


@pytest.mark.parametrize(
    ("tree", "shown"),
    [
        (7, "7"),
        ("x", "x"),
        (("+", ("+", 1, 2), 3), "1+2+3"),
        (("+", 1, ("+", 2, 3)), "1+(2+3)"),
        (("-", ("-", 9, 3), 2), "9-3-2"),
        (("-", 9, ("-", 3, 2)), "9-(3-2)"),
        (("*", ("+", 1, 2), 3), "(1+2)*3"),
        (("+", 1, ("*", 2, 3)), "1+2*3"),
        (("*", ("*", 2, 3), 4), "2*3*4"),
        (("/", 12, ("*", 2, 3)), "12/(2*3)"),
        (("*", ("/", 12, 2), 3), "12/2*3"),
        (("/", ("-", "x", 3), 2), "(x-3)/2"),
        (("*", 3, ("+", 4, "x")), "3*(4+x)"),
    ],
)
def test_math_show(tree, shown):
    assert mini_math.show(tree) == shown and read(shown) == tree
    assert mini_math.show(tree, shape=True) == re.sub(r"\d+", "n", shown)


def test_math_equations_of_solutions_are_true():
    for case, p in math_cases():
        lines = p.solution.splitlines()
        equations = SUM.findall(p.solution)
        assert (
            len(equations) == len(lines) - 1 >= 1
            and lines[-1] == f"Answer: {p.answer}" == f"Answer: {equations[-1][-1]}"
        )
        for x, op, y, result in equations:
            assert exact_value((op, int(x), int(y))) == int(result), p.solution
        steps = sum(isinstance(part, tuple) for part in parts(case.tree))
        assert len(equations) == steps + 2 * (case.kind == "remainder")


def test_math_styles_agree():
    several = 0
    for case, p in math_cases()[:600]:
        solutions = {mini_math.solve(case, Random(seed)) for seed in range(12)}
        assert 1 <= len(solutions) <= 2 and all(MATH.verify(s, p)[1] for s in solutions)
        assert case.kind != "equation" or len(solutions) == 2
        several += len(solutions) > 1
    assert several > 120  # an equation always has two styles, a single sum has one


def test_math_named_steps_are_true_of_the_answer():
    """In the style that names the expression of each result, the expression has this value."""
    named = 0
    for case, p in math_cases():
        for line in p.solution.splitlines()[:-1]:
            match = re.fullmatch(r"([\dx()*/+-]+): .+=(\d+)", line)
            if match:
                assert exact_value(read(match[1]), int(p.answer)) == int(match[2])
                named += 1
    assert named > 200


@pytest.mark.parametrize(
    ("op", "x", "y", "result"),
    [
        ("+", 2, 3, 5),
        ("-", 3, 3, 0),
        ("*", 0, 9, 0),
        ("/", 12, 4, 3),
        ("/", 0, 5, 0),
        ("/", 5, 0, None),
        ("/", 0, 0, None),
        ("/", 7, 2, None),
        ("-", 2, 3, None),
        ("+", 99, 0, 99),
        ("+", 99, 1, None),
        ("*", 20, 5, None),
        ("*", 11, 9, 99),
        ("/", 1, 2, None),
    ],
)
def test_math_apply(op, x, y, result):
    assert mini_math.apply(op, x, y) == result == mini_math.value((op, x, y)) == mini_math.value((op, "x", y), x)


def test_math_value():
    assert mini_math.value(5) == mini_math.value("x", 5) == 5 and mini_math.value("x") == 0
    assert mini_math.value(("+", ("/", 7, 2), 1)) is None  # a part without a value leaves the whole without one
    assert mini_math.value(("-", 5, ("-", 2, 3))) is None and mini_math.value(("*", ("-", 2, 3), 0)) is None
    assert mini_math.value(("/", ("*", 200, 3), 6)) is None  # an intermediate result is too large
    for case, p in math_cases():
        assert mini_math.value(case.tree, int(p.answer)) == exact_value(case.tree, int(p.answer))


def test_math_misread():
    changed = 0
    for case, p in math_cases()[:600]:
        misread = mini_math._misread(case.tree, Random(p.id))
        old, new = (re.findall(r"\d+|[-+*/x]", mini_math.show(tree)) for tree in (case.tree, misread))
        differ = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(differ) <= 1 and (differ or "x" in old)  # one number or one operation; x itself cannot be misread
        for a, b in differ:
            assert (a.isdigit() and b.isdigit() and int(b) >= 1) or (a in "+-*/" and b in "+-")
        changed += len(differ)
    assert changed > 450
    assert mini_math._misread("x", Random(0)) == "x" and {
        mini_math._misread(1, Random(seed)) for seed in range(40)
    } == {1, 2, 3, 11}


def test_math_spoiled_solutions_are_all_wrong_and_differ():
    for case, p in stream_start("mini_math", "train", 200):
        spoiled = {mini_math.spoil(case, Random(seed)) for seed in range(8)}
        assert len(spoiled) > 2 and not any(MATH.verify(s, p)[2] for s in spoiled)


# mini_meta


def follow(story) -> int:
    """The value after all events of a story."""
    value = story.start
    for event in story.events:
        value = {
            "gain": value + event.a,
            "lose": value - event.a,
            "packs": value + event.a * event.b,
            "daily": value - event.a * event.b,
            "times": value * event.a,
            "share": value / event.a,
        }[event.kind]
        assert value == int(value) >= 1
    return int(value)


def test_meta_answers_are_right():
    kinds = Counter()
    for case, p in stream_start("mini_meta", "train", 1200) + stream_start("mini_meta", "test", 400):
        kinds[case.kind] += 1
        end = follow(case.story)
        assert end == mini_meta.outcome(case.story)
        if case.hidden is None:
            assert case.kind in ("answer", "rephrase") and int(p.answer) == end
            continue
        assert (case.hidden == 0) == (case.kind == "verify")
        assert int(p.answer) == (case.story.start if case.hidden == 0 else case.story.events[case.hidden - 1].a)
        assert case.hidden == 0 or case.story.events[case.hidden - 1].kind in ("gain", "lose")
    assert set(kinds) == set(mini_meta.KINDS) and min(kinds.values()) > 250


def test_meta_questions_have_all_numbers_but_the_hidden_one():
    for case, p in stream_start("mini_meta", "train", 800):
        text = p.question.rsplit(". ", 1)[0]
        xs = len(re.findall(r"\bx\b", p.question))
        numbers = Counter(re.findall(r"\d+", p.question))
        needed = Counter([str(case.story.start), *(str(n) for e in case.story.events for n in (e.a, e.b) if n)])
        if case.hidden is None:
            assert xs == 0 and re.search(r"\?\Z|\bat the end\.\Z", p.question)
        else:
            assert xs == 2 and p.question.endswith("hat is x?")  # in the story and in the question
            assert len(re.findall(r"\bx\b", text)) >= 1
            needed[p.answer] -= 1
            needed[str(follow(case.story))] += 1
        assert not needed - numbers, p.question
        assert p.template == f"{case.kind}:{case.story.template}"
        extra = sum(numbers.values()) - sum((+needed).values())
        assert len(case.stray) <= extra <= 2 * len(case.stray)  # each distractor has one or two numbers


def test_meta_distractors_are_known():
    assert {len(case.stray) for case, _ in stream_start("mini_meta", "train", 300)} == {0, 1}
    for case, p in stream_start("mini_meta", "train", 300):
        assert {str(n) for n in case.stray} <= set(re.findall(r"\d+", p.question))


def test_meta_words():
    """Rephrasing and mini_gsm have no wording in common."""
    ways = {form for forms in mini_gsm.EVENTS.values() for form in forms}
    assert set(mini_meta.REPHRASED) == set(mini_gsm.EVENTS) and not ways & {
        form for forms in mini_meta.REPHRASED.values() for form in forms
    }
    for case, p in stream_start("mini_meta", "train", 400):
        assert p.question.startswith("At first") == (case.kind == "rephrase")


def test_meta_equations_are_true_and_lead_to_the_answer():
    for case, p in stream_start("mini_meta", "train", 1000) + stream_start("mini_meta", "test", 300):
        equations = SUM.findall(p.solution)
        assert len(equations) == len(p.solution.splitlines()) - 1 >= len(case.story.events)
        for x, op, y, result in equations:
            assert exact_value((op, int(x), int(y))) == int(result), p.solution
        assert equations[-1][-1] == p.answer


def test_meta_styles_agree():
    several = Counter()
    for case, p in stream_start("mini_meta", "train", 400):
        solutions = {mini_meta.solve(case, Random(seed)) for seed in range(12)}
        assert all(META.verify(s, p)[1] for s in solutions)
        several[case.kind] += len(solutions) > 1
    assert several["answer"] > 20 and several["rephrase"] > 20 and several["backward"] > 10


def test_meta_solutions_do_not_use_the_hidden_number():
    """Every number in a solution is in the question or an earlier result."""
    for case, p in stream_start("mini_meta", "train", 400):
        if case.hidden is not None:
            numbers = set(map(int, re.findall(r"\d+", p.question)))
            for x, _, y, result in SUM.findall(p.solution):
                assert int(x) in numbers and int(y) in numbers
                numbers.add(int(result))


def test_meta_is_held_out_where_its_story_is():
    for split in SPLITS:
        for case, p in stream_start("mini_meta", split, 300):
            home = mini.template_split("mini_gsm", case.story.template)
            assert p.held_out == (home != "train") and (home == split or not p.held_out)


def test_meta_augments_the_first_stories_of_mini_gsm(monkeypatch):
    """Its training problems are made from mini_gsm's, in their order, and from no test story of mini_gsm."""

    def keys(module, split, n):
        used = []

        def spy(stream, *rest, **options):
            def recorded():
                for key, problem in stream:
                    used.append(key)
                    yield key, problem

            return take(recorded(), *rest, **options)

        monkeypatch.setattr(mini, "take", spy)
        module.problems(split, n)
        return used

    for split, other in (("train", "test"), ("test", "train")):
        stories = keys(mini_gsm, split, 600)
        augmented = [key.split(" ", 2)[2] for key in keys(mini_meta, split, 400)]
        assert set(augmented) <= set(stories) and augmented[0] in stories[:5]
        rest = iter(stories)
        assert all(key in rest for key in augmented)  # in the same order, and none more often than in mini_gsm
        assert not set(augmented) & set(keys(mini_gsm, other, 600))
    assert {p.template.split(":")[0] for p in tasks.problems("mini_meta", "train", 40)} == set(mini_meta.KINDS)


def test_meta_of_a_story_without_a_number_to_ask_for():
    story = mini_gsm.Story(10, (mini_gsm.Event("times", 2), mini_gsm.Event("packs", 2, 3)))
    assert (
        mini_meta.augment(story, "backward", Random(0)) is None
        and mini_meta.augment(story, "verify", Random(0)).hidden == 0
    )
    only = mini_gsm.Story(10, (mini_gsm.Event("times", 2), mini_gsm.Event("lose", 3)))
    case = mini_meta.augment(only, "backward", Random(0))
    assert case.hidden == 2 and mini_meta.solve(case, Random(0)).endswith("\nx 20-17=3\nAnswer: 3")
    assert (
        mini_meta.solve(mini_meta.augment(only, "verify", Random(0)), Random(0))
        == "before 17+3=20\nbefore 20/2=10\nAnswer: 10"
    )


def test_meta_short_stories_for_the_curriculum():
    for case, p in islice(mini_meta.stream("train", Random(1), (1, 1)), 200):
        assert (
            len(case.story.events) == 1
            and META.verify(p.solution, p)[1]
            and META.verify(mini_meta.solve(case, Random(2)), p)[1]
        )
        META.verify(mini_meta.spoil(case, Random(p.id)), p)
