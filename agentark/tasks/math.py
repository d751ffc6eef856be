r"""math: MATH (Hendrycks et al. 2021), competition mathematics; 500 of its train split are the paper's training set (DECISIONS 11).

Which 500 the paper does not say; most likely they are MATH-500, which is a part of the *test* split.  Ours are the first 500 of the train
split in an order by hash.  The literal choice is the task `math_500`: a model that has learnt from it can no longer be tested on MATH, so
neither task has a test split.

A problem's template is its subject and level ("Algebra, Level 5"); its answer is the last \boxed{} of the solution.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache, partial

from . import answers, hub, sources
from .problem import Problem, Task

REPO, LITERAL = "EleutherAI/hendrycks_math", "HuggingFaceH4/MATH-500"
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone, in LaTeX where it needs it.'

DROPPED: Counter[str] = Counter()  # rows that were left out, by reason


def _problem(row: dict, name: str, template: str) -> Problem | None:
    boxed = answers.boxes(sources.column(row, "solution", "math"))
    if not boxed:
        DROPPED[r"no \boxed{} in the solution"] += 1
        return None
    return Problem(
        name,
        row["problem"].strip(),
        boxed[-1].strip(),
        f"{row['solution'].strip()}\nAnswer: {boxed[-1].strip()}",
        template,
    )


@lru_cache(maxsize=1)
def _read() -> dict[str, list[Problem]]:
    """The problems of the dataset's train split, as our train and dev."""
    DROPPED.clear()
    rows = [
        {**row, "row": f"{subject}-{n}"}
        for subject in SUBJECTS
        for n, row in enumerate(hub.load(REPO, "train", subject))
    ]
    found: dict[str, list[Problem]] = {"train": [], "dev": []}
    for row in hub.ordered(rows, lambda row: sources.column(row, "problem", "math"), "math"):
        split = hub.side(row["problem"])
        if made := _problem(row, f"math/{split}/{row['row']}", f"{row['type']}, {row['level']}"):
            found[split].append(made)
    return found


@lru_cache(maxsize=1)
def _read_literal() -> list[Problem]:
    """MATH-500, whose columns are problem, solution, answer, subject, level (a number) and unique_id."""
    return [
        Problem(
            f"math_500/train/{row['unique_id']}",
            row["problem"].strip(),
            row["answer"].strip(),
            f"{row['solution'].strip()}\nAnswer: {row['answer'].strip()}",
            f"{row['subject']}, Level {row['level']}",
        )
        for row in hub.load(LITERAL, "test")
    ]


def problems(split: str, n: int, literal: bool = False) -> list[Problem]:
    """The first n problems of "train" or "dev", in an order by hash; dev is MATH's train split in either task.

    Raises ValueError for "test" and where there are fewer, hub.HubError where the dataset cannot be had.
    """
    if split == "test":
        raise ValueError(
            "MATH is a training set alone, never a test column (DECISIONS 11): test on gsm8k, or look at math's dev split"
        )
    return hub.first(
        _read_literal() if literal and split == "train" else _read()[split], n, "math_500" if literal else "math", split
    )


TASK = Task(
    "math",
    problems,
    answers.parse,
    answers.same,
    INSTRUCTION,
    {"train": 500},
    licence="MIT",
    source=hub.source(REPO),
    dropped=DROPPED,
)
TASK_500 = Task(
    "math_500",
    partial(problems, literal=True),
    answers.parse,
    answers.same,
    INSTRUCTION,
    {"train": 500},
    licence="MIT",
    source=f"{hub.source(LITERAL)} (CONTAMINATED: questions of MATH's test split)",
    dropped=DROPPED,
)
