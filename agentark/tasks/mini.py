"""What the mini tasks have in common: the templates that a split may use, word lists, and the sizes of the splits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from .problem import Equal, Measure, Parse, Problem, Problems, Task, bucket, take

SIZES = {"train": 4000, "dev": 500, "test": 1000}


def template_split(name: str, template: str) -> str:
    """The split that owns a template: "train" templates may occur in every split, the others only in their own."""
    return bucket(f"{name} template {template}", (50, 10, 40))


def next_home(split: str, count: int) -> str:
    """The owner of the template of problem number `count` of a split: in dev and test, every other one is held out."""
    return ("train", split)[count % 2]


def first(name: str, stream: Callable[[str, Random], Iterator], split: str, n: int) -> list[Problem]:
    """The first n problems of a split of a module's stream of (case, problem)."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"{name} {split}")))
    return take(keyed, n, f"{name}/{split}")


def pairs(firsts: str, seconds: str) -> tuple[str, ...]:
    """All pairs of a word of `firsts` and a word of `seconds`, separated by a space."""
    return tuple(f"{first} {second}" for first in firsts.split() for second in seconds.split())


def task(name: str, problems: Problems, parse: Parse, equal: Equal, measure: Measure,
         family: tuple[str, ...] = ()) -> Task:  # fmt: skip
    """The task of a module, without an instruction: the networks of the zoo have learnt the form of its answers."""
    return Task(name, problems, parse, equal, sizes=SIZES, measure=measure, licence="Apache-2.0",
                source="made by this package", family=family)  # fmt: skip
