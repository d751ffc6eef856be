"""The interval of a ratio of means, such as the tokens per right answer."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, nan, sqrt

import numpy as np

from .checks import normal_quantile


def ratio_of_means(above: Sequence, below: Sequence, level: float = 0.95) -> tuple[float, float, float]:
    """(ratio, low, high) of a product of means over another product of means of the same items.

    above, below: lists of (n,) values of the items in the same order.  The values of an item belong together, so that
    the interval is that of one quantity per item: by the delta method, the logarithm varies as the mean over items of
    Σ x/mean(x) - Σ y/mean(y) does (Cochran 1977, 6.3).  The ends are NaN where there is no such interval: for fewer
    than two items, or if a mean is 0 (the ratio is then 0, infinite or NaN).  Raises ValueError if the lengths differ,
    if there are no items, or if a value is negative or NaN.
    """
    over, under = (np.array([np.asarray(values, dtype=float) for values in side]) for side in (above, below))
    if over.ndim != 2 or under.ndim != 2 or over.shape[1] != under.shape[1] or not over.shape[1]:
        raise ValueError("a ratio needs the same items above and below, and at least one")
    if not (np.concatenate([over, under]) >= 0).all():
        raise ValueError("a ratio of means needs values that are not negative")
    tops, bottoms, n = over.mean(axis=1), under.mean(axis=1), over.shape[1]
    top, bottom = float(tops.prod()), float(bottoms.prod())
    ratio = top / bottom if bottom else (float("inf") if top else nan)
    if n < 2 or not top or not bottom:
        return ratio, nan, nan
    influence = (over / tops[:, None]).sum(axis=0) - (under / bottoms[:, None]).sum(axis=0)
    reach = normal_quantile(level) * influence.std(ddof=1) / sqrt(n)
    return ratio, exp(log(ratio) - reach), exp(log(ratio) + reach)
