r"""math: MATH (Hendrycks et al. 2021), competition mathematics, of which 500 problems are the paper's training set.

The paper does not say which 500; most likely they are MATH-500, a part of the *test* split.  Ours are the first 500 of
the train split, ordered by hash (DECISIONS 11).  The literal choice is the task `math_500`: a model trained on it can
no longer be tested on MATH, so neither task has a test split.

A problem's template is its subject and level ("Algebra, Level 5"); its answer is the last \boxed{} of the solution.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache, partial

from . import answers, fixed_sets, hub
from .problem import Problem, Task

REPO, LITERAL = "EleutherAI/hendrycks_math", "HuggingFaceH4/MATH-500"
SUBJECTS = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
            "precalculus")  # fmt: skip
INSTRUCTION = ('Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone, '
               "in LaTeX where it needs it.")  # fmt: skip

DROPPED: Counter[str] = Counter()  # rows that were left out, by reason


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


TASK = Task("math", problems, answers.parse, answers.equal, INSTRUCTION, {"train": 500}, measure="accuracy",
            licence="MIT", source=hub.source(REPO), dropped=DROPPED, compared=answers.COUNTS)  # fmt: skip
TASK_500 = Task("math_500", partial(problems, literal=True), answers.parse, answers.equal, INSTRUCTION, {"train": 500},
                measure="accuracy", licence="MIT", family=("math",), dropped=DROPPED, compared=answers.COUNTS,
                source=f"{hub.source(LITERAL)} (CONTAMINATED: questions of MATH's test split)")  # fmt: skip
TASKS = (TASK, TASK_500)
