"""What the mini tasks have in common: their splits, the templates that a split may use, word lists, and sizes.

There are four splits.  The networks of the zoo are trained on "pretrain"; "train" is what students are distilled on and
no network has seen before; choices are made on "dev", and "test" is for the final comparison.  The split of a problem
is a function of its content, so that no content is in two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from .problem import Equal, Measure, Parse, Problem, Problems, Task, bucket, percentile, take

# The version of the tasks that the networks of the zoo were trained on: raise it when a network of earlier tasks would
# no longer know what is asked (other numbers, other facts).  A network of another version is refused.
WORLD = 2
SIZES = {"train": 4000, "dev": 500, "test": 1000}
SHARES = (30, 40, 10, 20)  # percentages of contents for pretrain, train, dev and test
_SPLITS = ("pretrain", "train", "dev", "test")


def split_of(key: str, shares: tuple[int, int, int, int] = SHARES) -> str:
    """The split of a content: "pretrain", "train", "dev" or "test"; `shares` are their percentages."""
    place = percentile(key)
    return next(split for n, split in enumerate(_SPLITS) if place < sum(shares[: n + 1]))


def template_split(name: str, template: str) -> str:
    """The split that owns a template: "train" templates may occur in every split, the others only in their own."""
    return bucket(f"{name} template {template}", (50, 10, 40))


def next_home(split: str, count: int) -> str:
    """The owner of the template of problem number `count` of a split: in dev and test, every other one is held out."""
    return ("train", split)[count % 2] if split in ("dev", "test") else "train"


def first(name: str, stream: Callable[[str, Random], Iterator], split: str, n: int) -> list[Problem]:
    """The first n problems of a split of a module's stream of (case, problem)."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"{name} {split}")))
    return taken(keyed, n, name, split)


def taken(keyed: Iterator[tuple[str, Problem]], n: int, name: str, split: str) -> list[Problem]:
    """The first n problems of a stream of (content key, problem); in dev and test exactly half are held out."""
    return take(keyed, n, f"{name}/{split}", halves=split in ("dev", "test"))


def pairs(firsts: str, seconds: str) -> tuple[str, ...]:
    """All pairs of a word of `firsts` and a word of `seconds`, separated by a space."""
    return tuple(f"{first} {second}" for first in firsts.split() for second in seconds.split())


def task(name: str, problems: Problems, parse: Parse, equal: Equal, measure: Measure,
         family: tuple[str, ...] = (), pictures: bool = False) -> Task:  # fmt: skip
    """The task of a module, without an instruction: the networks of the zoo have learnt the form of its answers."""
    return Task(name, problems, parse, equal, sizes=SIZES, measure=measure, licence="Apache-2.0",
                source="made by this package", family=family, pictures=pictures)  # fmt: skip
