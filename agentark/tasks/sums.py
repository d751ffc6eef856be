"""sums: two numbers of one or two digits, added or taken from each other; what a language model of 135 M parameters can do at all.

Made here, in the manner of the arithmetic of Brown et al. (2020, 3.9.1), whose "2 digit addition" draws both numbers from 0 to 99; here each
number has one or two digits with equal chance, so that some are within reach of a small network.  No result is negative.  A question belongs to
the split that its hash says: none is in two.  The worked solution is the one equation.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from . import answers
from .problem import Problem, Task, bucket, take

INSTRUCTION = 'End with "Answer:" and the result.'  # not "Answer: N": the model then answers "N"


def stream(split: str, rng: Random) -> Iterator[tuple[str, Problem]]:
    """Endless (question, problem) of a split."""
    count = 0
    while True:
        a, b = (rng.randint(*rng.choice(((0, 9), (10, 99)))) for _ in range(2))
        sign = rng.choice("+-")
        value = a + b if sign == "+" else a - b
        question = f"Calculate {a} {sign} {b}."
        if value < 0 or bucket(f"sums {question}", (50, 10, 40)) != split:
            continue
        yield (
            question,
            Problem(f"sums/{split}/{count}", question, str(value), f"{a} {sign} {b} = {value}\nAnswer: {value}", sign),
        )
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; ValueError where no more can be made."""
    return take(stream(split, Random(f"sums {split}")), n, f"sums/{split}")


TASK = Task(
    "sums",
    problems,
    answers.parse_number,
    answers.same,
    INSTRUCTION,
    {"train": 2000, "dev": 500, "test": 1000},
    licence="Apache-2.0",
    source="made by this package",
)
