"""sums: the sum or difference of two numbers of one or two digits, simple enough for a model of 135 M parameters.

The questions follow the arithmetic of Brown et al. (2020, 3.9.1), whose "2 digit addition" samples both numbers from 0
to 99; here each number has one or two digits with equal probability, so that some questions are easy for a small
network.  No result is negative.  The split of a question is a function of its hash, so that the splits are disjoint.
The worked solution is the equation.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from . import answers
from .problem import Problem, Task, bucket, take

INSTRUCTION = 'End with "Answer:" and the result.'  # after "Answer: N" the model would answer "N"


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
        solution = f"{a} {sign} {b} = {value}\nAnswer: {value}"
        yield question, Problem(f"sums/{split}/{count}", question, str(value), solution, sign)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; ValueError if there are not as many."""
    return take(stream(split, Random(f"sums {split}")), n, f"sums/{split}")


TASK = Task("sums", problems, answers.parse_number, answers.equal, INSTRUCTION,
            {"train": 2000, "dev": 500, "test": 1000}, measure="accuracy", licence="Apache-2.0",
            source="made by this package", compared=answers.COUNTS)  # fmt: skip
TASKS = (TASK,)
