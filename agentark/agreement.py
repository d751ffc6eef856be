"""How far two raters agree beyond chance: Cohen's kappa, plain or weighted, with an interval over clusters.

For the verifier against the symbolic one (A.3), and for a judge against itself (4.4, DECISIONS 28).  Answers to one problem resemble
each other, so that problems are resampled, not answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def kappa(
    a: Sequence,
    b: Sequence,
    clusters: Sequence[Hashable],
    categories: Sequence,
    *,
    quadratic: bool = False,
    resamples: int,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, float]:
    """Agreement of two raters on the same things.

    a, b: (n,) their ratings, each one of `categories` (in order, where `quadratic`: disagreement then counts by the squared distance, else
    each counts 1); clusters: (n,) what each thing belongs to.  kappa = 1 - observed / expected disagreement (Cohen 1960, 1968).

    Returns n, agreement (share of equal ratings), kappa, low, high (percentile bootstrap over clusters) and undefined (the share of
    resamples without a kappa, which are left out).  NaN where there is nothing, or where both raters always say the same one thing:
    chance would agree as well.  ValueError where lengths differ or a rating is no category.
    """
    if not len(a) == len(b) == len(clusters):
        raise ValueError(f"as many ratings as things are needed: {len(a)}, {len(b)} and {len(clusters)}")
    at = {category: n for n, category in enumerate(categories)}
    strange = sorted({str(x) for x in (*a, *b) if x not in at})
    if strange:
        raise ValueError(f"no category is {', '.join(strange)}; there are {', '.join(map(str, categories))}")
    if not len(a):
        return {"n": 0, "agreement": np.nan, "kappa": np.nan, "low": np.nan, "high": np.nan, "undefined": np.nan}
    c = len(categories)
    _, group = np.unique(np.array([str(x) for x in clusters]), return_inverse=True)
    counts_GCC = np.zeros((group.max() + 1, c, c))  # G clusters, C categories of each rater
    np.add.at(counts_GCC, (group, [at[x] for x in a], [at[x] for x in b]), 1)
    distance = np.subtract.outer(np.arange(c), np.arange(c))
    cost_CC = (distance**2 if quadratic else distance != 0).astype(float)
    counts_CC = counts_GCC.sum(0)
    times_RG = np.random.default_rng(seed).multinomial(
        len(counts_GCC), np.full(len(counts_GCC), 1 / len(counts_GCC)), size=resamples
    )
    drawn = _kappa((times_RG @ counts_GCC.reshape(len(counts_GCC), -1)).reshape(-1, c, c), cost_CC)
    defined = drawn[~np.isnan(drawn)]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else (np.nan, np.nan)
    return {
        "n": len(a),
        "agreement": float(np.trace(counts_CC) / len(a)),
        "kappa": float(_kappa(counts_CC[None], cost_CC)[0]),
        "low": float(low),
        "high": float(high),
        "undefined": float(np.isnan(drawn).mean()),
    }


def _kappa(counts_RCC: np.ndarray, cost_CC: np.ndarray) -> np.ndarray:
    """(R,) kappas of confusion matrices (R, C, C); NaN where chance alone cannot disagree."""
    n_R = counts_RCC.sum((1, 2))
    observed_R = (counts_RCC * cost_CC).sum((1, 2)) / n_R
    expected_R = np.einsum("ri,rj,ij->r", counts_RCC.sum(2), counts_RCC.sum(1), cost_CC) / n_R**2
    return np.where(expected_R > 0, 1 - observed_R / np.where(expected_R > 0, expected_R, 1), np.nan)
