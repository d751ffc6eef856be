"""Checks of arguments that the other modules of this package share."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm


def normal_quantile(level: float) -> float:
    """The two-sided standard normal quantile of a confidence level.  Raises ValueError outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"a level must lie between 0 and 1, got {level}")
    return float(norm.ppf((1 + level) / 2))


def paired_arrays(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Both as (n,) float arrays.  Raises ValueError if they are empty, differ in length, are not flat or hold NaN."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"paired scores must be flat arrays, got shapes {a.shape} and {b.shape}")
    if len(a) != len(b):
        raise ValueError(f"paired scores differ in length: {len(a)} and {len(b)}")
    if not len(a):
        raise ValueError("no items: paired scores are empty")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("paired scores hold NaN")
    return a, b


def is_binary(*arrays: np.ndarray) -> bool:
    """Whether all values are 0 or 1."""
    return all(np.isin(array, (0, 1)).all() for array in arrays)
