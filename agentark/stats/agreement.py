"""The agreement of two raters beyond chance: Cohen's kappa, plain or weighted, with an interval over clusters.

It compares the language model's verification with the symbolic one (A.3), and a judge with itself (4.4, DECISIONS 28).
Answers to the same problem resemble each other, so problems are resampled instead of answers.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def kappa(a: Sequence, b: Sequence, clusters: Sequence[Hashable], categories: Sequence, *, quadratic: bool = False,
          resamples: int, seed: int = 0, level: float = 0.95) -> dict[str, float]:  # fmt: skip
    """Cohen's kappa of two raters of the same items: 1 - observed / expected disagreement (Cohen 1960, 1968).

    a, b: (n,) ratings, each one of `categories`; clusters: (n,) the cluster of each item.  A disagreement counts 1, or,
    if `quadratic`, the squared distance of its categories, whose order then matters.

    Returns n, agreement (the share of equal ratings), kappa, low and high (a percentile bootstrap over clusters) and
    undefined (the share of resamples without a kappa, which are left out).  They are NaN if there are no items, or if
    both raters always choose the same category, so that chance would agree as well.  Raises ValueError if the lengths
    differ or a rating is not a category.
    """
    if not len(a) == len(b) == len(clusters):
        raise ValueError(f"as many ratings as items are needed: {len(a)}, {len(b)} and {len(clusters)}")
    index = {category: n for n, category in enumerate(categories)}
    unknown = sorted({str(x) for x in (*a, *b) if x not in index})
    if unknown:
        raise ValueError(f"no category is {', '.join(unknown)}; there are {', '.join(map(str, categories))}")
    if not len(a):
        return {"n": 0, "agreement": np.nan, "kappa": np.nan, "low": np.nan, "high": np.nan, "undefined": np.nan}
    c = len(categories)
    _, cluster = np.unique(np.array([str(x) for x in clusters]), return_inverse=True)
    counts_GCC = np.zeros((cluster.max() + 1, c, c))  # G clusters, C categories of each rater
    np.add.at(counts_GCC, (cluster, np.array([index[x] for x in a]), np.array([index[x] for x in b])), 1)
    distance = np.subtract.outer(np.arange(c), np.arange(c))
    cost_CC = (distance**2 if quadratic else distance != 0).astype(float)
    counts_CC = counts_GCC.sum(0)
    n_clusters = len(counts_GCC)
    times_RG = np.random.default_rng(seed).multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=resamples)
    resampled = _kappa((times_RG @ counts_GCC.reshape(n_clusters, -1)).reshape(-1, c, c), cost_CC)
    defined = resampled[~np.isnan(resampled)]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if len(defined) else (np.nan, np.nan)
    agreement, value = float(np.trace(counts_CC) / len(a)), float(_kappa(counts_CC[None], cost_CC)[0])
    limits = {"low": float(low), "high": float(high), "undefined": float(np.isnan(resampled).mean())}
    return {"n": len(a), "agreement": agreement, "kappa": value, **limits}


def _kappa(counts_RCC: np.ndarray, cost_CC: np.ndarray) -> np.ndarray:
    """(R,) kappas of confusion matrices (R, C, C); NaN if the expected disagreement is 0."""
    n_R = counts_RCC.sum((1, 2))
    observed_R = (counts_RCC * cost_CC).sum((1, 2)) / n_R
    expected_R = np.einsum("ri,rj,ij->r", counts_RCC.sum(2), counts_RCC.sum(1), cost_CC) / n_R**2
    return np.where(expected_R > 0, 1 - observed_R / np.where(expected_R > 0, expected_R, 1), np.nan)
