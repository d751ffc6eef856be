"""The reasoning of a solution, and the same in another order: a control of whatever says that reasoning is good."""

from __future__ import annotations

from random import Random
from typing import Any

from agentark.extract import steps


def parts(text: str) -> tuple[str, str]:
    """(reasoning, answer): a solution before its first line that gives the answer ("" if none does), and the rest."""
    lines = text.splitlines(keepends=True)
    end = next((n for n, line in enumerate(lines) if steps.is_answer(line)), len(lines))
    return "".join(lines[:end]), "".join(lines[end:])


def orders(text: str, rng: Random) -> dict[str, str]:
    """The reasoning of a solution with its `lines`, and with its `words`, in another order; none if there is only one.

    Words are moved between lines, each of which keeps its number of words.
    """
    lines = [line.split() for line in steps.split(parts(text)[0])]
    words, found = [word for line in lines for word in line], {}
    if moved := _another(lines, rng):
        found["lines"] = "".join(" ".join(line) + "\n" for line in moved)
    if mixed := _another(words, rng):
        rest = iter(mixed)
        found["words"] = "".join(" ".join(next(rest) for _ in line) + "\n" for line in lines)
    return found


def _another(items: list[Any], rng: Random) -> list[Any]:
    """The items in a random order that is not theirs; empty if all are equal."""
    if all(item == items[0] for item in items):
        return []
    while (other := rng.sample(items, len(items))) == items:
        pass
    return other
