"""The rule by which a difference decides a claim; it was stated before the results (the head of params/claims.yaml)."""

from __future__ import annotations

from math import isnan
from typing import Literal

from .file import Comparison

Verdict = Literal["holds", "opposite", "undecided"]


def verdict(claim: Comparison, difference: float, low: float, high: float, p_holm: float,
            level: float = 0.95) -> Verdict:  # fmt: skip
    """ "holds", "opposite" or "undecided", from a difference with its interval at `level` and its corrected p.

    A difference is found if the interval excludes 0, p_holm is at most 1 - level, and it is at least the smallest of
    interest.  "higher" and "lower" hold if one is found in that direction, and are opposite if one is found in the
    other.  "equal" holds if the interval lies within plus and minus the smallest effect, "not higher" if it lies below
    the smallest effect; they are opposite if a difference (upwards) is found.  All else is undecided.
    Raises ValueError for NaN, or if low exceeds high.
    """
    if any(isnan(x) for x in (difference, low, high, p_holm)):
        raise ValueError(f"no verdict on NaN: difference {difference}, interval {low} to {high}, p {p_holm}")
    if low > high:
        raise ValueError(f"the interval is upside down: {low} to {high}")
    # 1 - 0.95 is a little more than 0.05, so that p = 0.05 counts as found at either.
    certain, smallest = p_holm <= 1 - level, claim.smallest
    above = certain and low > 0 and difference >= smallest
    below = certain and high < 0 and difference <= -smallest
    holds, opposite = {
        "higher": (above, below),
        "lower": (below, above),
        "equal": (-smallest < low and high < smallest, above or below),
        "not higher": (high < smallest, above),
    }[claim.direction]
    return "holds" if holds else "opposite" if opposite else "undecided"
