"""The percentile bootstrap of the difference between two models over test items."""

from __future__ import annotations

import numpy as np

from .checks import is_binary, normal_quantile, paired_arrays

CHUNK_CELLS = 2_000_000  # cells of one chunk of resamples: 16 MB of indices


def paired_bootstrap(a, b, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of b minus the mean of a with a percentile interval over resampled items (Efron 1979).

    a, b: (n,) scores of the same items in the same order.  Returns (difference, low, high).  If no item differs, the
    interval is (0, 0), which is no proof of equality.  Raises ValueError if the scores are empty, differ in length or
    hold NaN, or for fewer than one resample.

    For scores of 0 and 1, resampling items is the same as drawing how many pairs of each kind occur, so one
    multinomial per resample is enough for any n; otherwise items are drawn, a bounded chunk at a time.
    """
    a, b = paired_arrays(a, b)
    if resamples < 1:
        raise ValueError(f"at least one resample is needed, got {resamples}")
    normal_quantile(level)  # checks the level
    n, rng = len(a), np.random.default_rng(seed)
    difference = b - a
    if is_binary(a, b):
        shares = [(difference > 0).mean(), (difference < 0).mean()]
        counts = rng.multinomial(n, [*shares, max(0.0, 1 - sum(shares))], size=resamples)  # won, lost, tied
        means = (counts[:, 0] - counts[:, 1]) / n
    else:
        means = np.empty(resamples)
        chunk = max(1, CHUNK_CELLS // n)
        for start in range(0, resamples, chunk):
            size = min(chunk, resamples - start)
            means[start : start + size] = difference[rng.integers(0, n, (size, n))].mean(axis=1)
        means = _round_to_zero(means, np.abs(difference).max())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(difference.mean()), float(low), float(high)


def _round_to_zero(means: np.ndarray, scale: float) -> np.ndarray:
    """Resampled means in which values that differ from 0 by rounding alone are 0.

    Their sign would depend on the order of a sum, which in BLAS depends on the number of threads.
    """
    return np.where(np.abs(means) < 1e-12 * scale, 0.0, means)
