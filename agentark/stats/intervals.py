"""Confidence intervals of a share or a mean, and of a difference of two shares of which only summaries remain."""

from __future__ import annotations

from math import sqrt

import numpy as np
from scipy.stats import t

from .bootstrap import paired_bootstrap
from .checks import is_binary, normal_quantile, paired_arrays


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for k correct answers out of n (Wilson 1927).

    k and n may be fractions, because an effective sample size is one.  Returns (low, high) within [0, 1], also for
    k = 0 and k = n.  Raises ValueError for n <= 0, k < 0 or k > n.
    """
    if not n > 0:
        raise ValueError(f"no items: an interval needs n > 0, got n = {n}")
    if not 0 <= k <= n:
        raise ValueError(f"k must lie between 0 and n, got k = {k} of n = {n}")
    z, p = normal_quantile(level), k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # The ends are exact at k = 0 and k = n: rounding must not put the estimate outside its own interval.
    return (0.0 if k == 0 else max(0.0, middle - half)), (1.0 if k == n else min(1.0, middle + half))


def mean_interval(scores, level: float = 0.95) -> tuple[float, float]:
    """(low, high) of the mean of (n,) scores: Wilson's interval if all are 0 or 1, else a percentile bootstrap.

    Raises ValueError if there are no scores or one is NaN.
    """
    scores, zeros = paired_arrays(scores, np.zeros(len(scores)))
    if is_binary(scores):
        return wilson(int(scores.sum()), len(scores), level)
    return paired_bootstrap(zeros, scores, level=level)[1:]


def effective_size(correct, items) -> float:
    """The number of independent answers that several answers per item are equivalent to (Kish 1965, the design effect).

    correct: (rows,) of 0 or 1; items: (rows,) item ids.  The result is p(1 - p) over the variance of the mean of the
    item means.  Answers to the same item resemble each other, so `rows` would be too large; the number of items is
    the lower bound.  Raises ValueError if the arrays are empty or differ in length.
    """
    correct, items = np.asarray(correct, dtype=float), np.asarray(items)
    if len(correct) != len(items) or not len(items):
        raise ValueError(f"as many items as answers are needed, and at least one: {len(correct)} answers, {len(items)} "
                         "items")  # fmt: skip
    unique, index = np.unique(items, return_inverse=True)
    means = np.bincount(index, weights=correct) / np.bincount(index)
    p, rows, n = correct.mean(), len(correct), len(unique)
    if rows == n or n == 1 or p in (0.0, 1.0):
        return float(n)
    variance = means.var(ddof=1) / n
    return float(np.clip(p * (1 - p) / variance if variance > 0 else rows, n, rows))


def unpaired_difference(a, a_low, a_high, b, b_low, b_high):
    """(b - a, low, high) of two shares from their Wilson intervals: Newcombe's hybrid score (1998, method 10).

    Takes numbers, or arrays of one shape.  It is for two runs of which only summaries remain: if the rows are
    available, use `paired_bootstrap`, which gives a narrower interval.
    """
    difference = b - a
    low = difference - np.sqrt((b - b_low) ** 2 + (a_high - a) ** 2)
    return difference, low, difference + np.sqrt((b_high - b) ** 2 + (a - a_low) ** 2)


def t_interval(values, level: float = 0.95) -> tuple[float, float, float, float]:
    """Student's interval of the mean of a few independent values, such as one difference per training seed.

    Returns (mean, low, high, p), where p is that of the mean being 0.  Raises ValueError for fewer than two values.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs two values, got {len(values)}")
    mean, error = values.mean(), values.std(ddof=1) / sqrt(len(values))
    if error == 0:
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    reach = t.ppf((1 + level) / 2, len(values) - 1) * error
    return mean, mean - reach, mean + reach, 2 * t.sf(abs(mean) / error, len(values) - 1)
