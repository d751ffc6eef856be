"""From the p-values of several comparisons to a verdict on each."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # statistics need no tables
    import pandas as pd


def holm(pvalues) -> np.ndarray:
    """(m,) p-values corrected for m comparisons (Holm 1979): in the same order, never smaller than given, at most 1.

    The i-th smallest is multiplied by m - i + 1, then raised to the largest before it.  Raises ValueError for an empty
    input, for values outside [0, 1], and for NaN: a comparison that failed must not make the others look better.
    """
    p = np.asarray(pvalues, dtype=float)
    if p.ndim != 1 or not len(p):
        raise ValueError(f"Holm's correction needs a flat array of at least one p-value, got shape {p.shape}")
    if np.isnan(p).any():
        raise ValueError(f"p-values hold NaN, first at position {int(np.isnan(p).argmax())}")
    if (p < 0).any() or (p > 1).any():
        raise ValueError("p-values must lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def verdict(difference: float, low: float, high: float, p_holm: float, alpha: float = 0.05) -> str:
    """ "better", "worse" or "no difference detectable": the corrected test and the interval must agree.

    Raises ValueError for NaN, or if low exceeds high.
    """
    if any(isnan(x) for x in (difference, low, high, p_holm)):
        raise ValueError(f"no verdict on NaN: difference {difference}, interval {low} to {high}, p {p_holm}")
    if low > high:
        raise ValueError(f"the interval is upside down: {low} to {high}")
    if p_holm <= alpha and difference > 0 and low > 0:
        return "better"
    if p_holm <= alpha and difference < 0 and high < 0:
        return "worse"
    return "no difference detectable"


def decided(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return a table of comparisons with Holm's correction over it, and a verdict on each.

    Reads the columns difference, low, high (the interval at `level`) and p; adds p_holm and verdict.  A row without p
    compares nothing: its p_holm is NaN and its verdict empty.  If there is a column `detectable`, the functions from a
    level to the smallest difference that each test finds, its values at Holm's first step, the strictest, replace it as
    `smallest_detectable`.
    """
    compared = table.p.notna()
    table = table.assign(p_holm=float("nan"), verdict="")
    table.loc[compared, "p_holm"] = holm(table.p[compared])
    table.loc[compared, "verdict"] = [
        verdict(row.difference, row.low, row.high, row.p_holm, 1 - level) for row in table[compared].itertuples()
    ]
    if "detectable" in table:
        strictest = 1 - (1 - level) / max(1, compared.sum())
        table["smallest_detectable"] = [found(strictest) for found in table.detectable]
        table = table.drop(columns="detectable")
    return table
