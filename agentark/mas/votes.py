"""Counting answers: which agree, and whether agents have reached a consensus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Equal = Callable[[str, str], bool]


def tally(answers: Sequence[str | None], equal: Equal) -> list[tuple[str, int]]:
    """Return the different answers with their counts, most frequent first, then by appearance; None does not vote."""
    counts: list[list] = []
    for answer in (a for a in answers if a is not None):
        same = next((entry for entry in counts if equal(entry[0], answer)), None)
        if same:
            same[1] += 1
        else:
            counts.append([answer, 1])
    return [(answer, n) for answer, n in sorted(counts, key=lambda entry: -entry[1])]


def majority(answers: Sequence[str | None], equal: Equal) -> str | None:
    """Return the most frequent answer, the earliest of equally frequent ones; None if nobody answered."""
    counted = tally(answers, equal)
    return counted[0][0] if counted else None


def weighted(answers: Sequence[str | None], weights: Sequence[float], equal: Equal) -> str | None:
    """Return the answer with the largest sum of weights, the most frequent of equal ones; None if nobody answered."""

    def total(answer: str) -> float:
        return sum(w for a, w in zip(answers, weights, strict=True) if a is not None and equal(answer, a))

    return max((answer for answer, _ in tally(answers, equal)), key=total, default=None)


def consensus(answers: Sequence[str | None], equal: Equal, rule: str) -> bool:
    """Return whether a debate may stop (DECISIONS 3).

    `unanimous`: all agents gave the same answer; `majority`: more than half of all agents did; `off`: never.
    """
    if rule == "off":
        return False
    counted = tally(answers, equal)
    most = counted[0][1] if counted else 0
    if rule == "unanimous":
        return most == len(answers)
    if rule == "majority":
        return 2 * most > len(answers)
    raise ValueError(f"unknown rule {rule!r}; there are unanimous, majority, off")
