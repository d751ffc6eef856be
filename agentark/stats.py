"""How sure we are: intervals, paired tests, and what a test of this size could have seen.

Two models that answered the same items are compared item by item.  An unpaired comparison of paired data throws most
of the power away; a comparison without a correction for how many were made finds something in any noise.
"""

from __future__ import annotations

from math import inf, isnan, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom, norm, ttest_rel


def _z(level: float) -> float:
    """The two-sided normal quantile of `level`; ValueError outside (0, 1)."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return float(norm.ppf((1 + level) / 2))


def _pair(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Both as flat float arrays of one length; ValueError where they are empty, unequal in length or hold NaN."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"paired scores are flat arrays, got shapes {a.shape} and {b.shape}")
    if len(a) != len(b):
        raise ValueError(f"paired scores differ in length: {len(a)} and {len(b)}")
    if not len(a):
        raise ValueError("no items: paired scores are empty")
    if np.isnan(a).any() or np.isnan(b).any():
        raise ValueError("paired scores hold NaN")
    return a, b


def _binary(*arrays: np.ndarray) -> bool:
    return all(np.isin(x, (0.0, 1.0)).all() for x in arrays)


def _without_noise(means: np.ndarray, scale: float) -> np.ndarray:
    """Resampled means with those at 0 that are off it by rounding alone: their sign is the order of a sum (BLAS's follows its threads)."""
    return np.where(np.abs(means) < 1e-12 * scale, 0.0, means)


def wilson(k: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for k right out of n (Wilson 1927): (low, high), within [0, 1], also at k = 0 and k = n.

    k and n may be fractions, because an effective sample size is one.  ValueError for n <= 0, k < 0 or k > n.
    """
    if not n > 0:
        raise ValueError(f"no items: an interval needs n > 0, got n = {n}")
    if not 0 <= k <= n:
        raise ValueError(f"k lies between 0 and n, got k = {k} of n = {n}")
    z, p = _z(level), k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # the ends are exact at the borders; rounding must not put the estimate outside its own interval
    return (0.0 if k == 0 else max(0.0, middle - half)), (1.0 if k == n else min(1.0, middle + half))


def mean_interval(scores, level: float = 0.95) -> tuple[float, float]:
    """An interval of the mean of (n,) scores: Wilson's where all are 0 or 1, else the percentile bootstrap's.  ValueError for none, or NaN."""
    scores, zero = _pair(scores, np.zeros(len(scores)))
    return (
        wilson(int(scores.sum()), len(scores), level)
        if _binary(scores)
        else paired_bootstrap(zero, scores, level=level)[1:]
    )


def effective_size(correct, items) -> float:
    """How many independent answers several answers an item are worth: p(1 - p) over the variance of the mean of item means.

    correct: (rows,) of 0/1; items: (rows,) item ids.  Answers to one item resemble each other, so that `rows` would be too
    many; the number of items is the least that it can be (Kish 1965, the design effect).  ValueError for empty or unequal.
    """
    correct, items = np.asarray(correct, dtype=float), np.asarray(items)
    if len(correct) != len(items) or not len(items):
        raise ValueError(
            f"as many items as answers are needed, and at least one: {len(correct)} answers, {len(items)} items"
        )
    groups, at = np.unique(items, return_inverse=True)
    means = np.bincount(at, weights=correct) / np.bincount(at)
    p, rows, n = correct.mean(), len(correct), len(groups)
    if rows == n or n == 1 or p in (0.0, 1.0):
        return float(n)
    variance = means.var(ddof=1) / n
    return float(np.clip(p * (1 - p) / variance if variance > 0 else rows, n, rows))


def unpaired_difference(a, a_low, a_high, b, b_low, b_high):
    """(b - a, low, high) from two proportions and their Wilson intervals: Newcombe's hybrid score (1998, method 10).

    For where only the summaries of two runs are left; with the rows at hand use `paired_bootstrap`, which is narrower.
    Numbers or arrays of one shape.
    """
    difference = b - a
    return (
        difference,
        difference - np.sqrt((b - b_low) ** 2 + (a_high - a) ** 2),
        difference + np.sqrt((b_high - b) ** 2 + (a - a_low) ** 2),
    )


def mcnemar_exact(a, b) -> float:
    """Two-sided p of McNemar's exact test (McNemar 1947): of the items where two models disagree, is a half each one's?

    a, b: (n,) of bool or 0/1, the same items in the same order.  p = min(1, 2 P[Binomial(discordant, 1/2) <= the fewer]),
    and 1 where they agree on all.  ValueError for empty, unequal in length, or other values.
    """
    a, b = _pair(a, b)
    if not _binary(a, b):
        raise ValueError("McNemar's test is for right or wrong: the scores must be 0 or 1")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(min(1.0, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_p(a, b) -> float:
    """Two-sided p of a paired difference of (n,) scores: McNemar's exact test where all are 0 or 1, else the paired t-test; 1 where no item differs."""
    a, b = _pair(a, b)
    return mcnemar_exact(a, b) if _binary(a, b) else float(ttest_rel(b, a).pvalue) if (a != b).any() else 1.0


def paired_bootstrap(a, b, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> tuple[float, float, float]:
    """(mean of b minus mean of a, low, high): percentile interval over resampled items (Efron 1979).

    a, b: (n,) scores of the same items in the same order.  For 0/1 scores, resampling items is the same as drawing how many
    of each kind of pair occur, so one multinomial a resample is drawn, whatever n; else the items, a bounded chunk at a
    time.  Where no item differs the interval is (0, 0): that is no proof of equality.  ValueError as `mcnemar_exact`,
    except that any number may be a score.
    """
    a, b = _pair(a, b)
    if resamples < 1:
        raise ValueError(f"at least one resample is needed, got {resamples}")
    _z(level)
    n, rng = len(a), np.random.default_rng(seed)
    difference = b - a
    if _binary(a, b):
        shares = [(difference > 0).mean(), (difference < 0).mean()]
        drawn = rng.multinomial(n, [*shares, max(0.0, 1 - sum(shares))], size=resamples)  # (resamples, won lost same)
        means = (drawn[:, 0] - drawn[:, 1]) / n
    else:
        means = np.empty(resamples)
        chunk = max(1, 2_000_000 // n)  # 16 MB of indices at once
        for at in range(0, resamples, chunk):
            size = min(chunk, resamples - at)
            means[at : at + size] = difference[rng.integers(0, n, (size, n))].mean(axis=1)
        means = _without_noise(means, np.abs(difference).max())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(difference.mean()), float(low), float(high)


def crossed_bootstrap(
    differences, resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float, float, float]:
    """(mean, low, high, two-sided p) of differences between two methods over training seeds and test items, both resampled.

    differences: (S seeds, n items), S at least 2: every seed met the same items, so that seeds and items are drawn independently.
    The resampled mean's spread of seeds is widened by S / (S - 1), which S values resampled would otherwise understate.  p is twice
    the smaller share of resampled means on one side of 0.  ValueError for fewer seeds, or NaN.
    """
    d = np.asarray(differences, dtype=float)
    if d.ndim != 2 or d.shape[0] < 2 or not d.shape[1]:
        raise ValueError(f"differences of at least two seeds over items are needed, got shape {d.shape}")
    if np.isnan(d).any():
        raise ValueError("differences hold NaN: every seed must have met every item")
    _z(level)
    (seeds, n), rng, mean = d.shape, np.random.default_rng(seed), d.mean()
    of_seeds = rng.multinomial(seeds, [1 / seeds] * seeds, size=resamples) / seeds
    widened = mean + (d.mean(axis=1) - mean) * sqrt(
        seeds / (seeds - 1)
    )  # seeds' own means, spread as independent ones are
    residual = d - d.mean(axis=1, keepdims=True)  # items about their seed's mean
    means = np.empty(resamples)
    chunk = max(1, 2_000_000 // n)
    for at in range(0, resamples, chunk):
        size = min(chunk, resamples - at)
        of_items = rng.multinomial(n, [1 / n] * n, size=size) / n
        means[at : at + size] = of_seeds[at : at + size] @ widened + (
            (of_items @ residual.T) * of_seeds[at : at + size]
        ).sum(axis=1)
    means = _without_noise(means, np.abs(d).max())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    p = min(1.0, 2 * max(min((means <= 0).mean(), (means >= 0).mean()), 1 / resamples))
    return float(mean), float(low), float(high), float(p)


def holm(pvalues) -> np.ndarray:
    """p-values corrected for how many there are (Holm 1979): same order, never smaller than given, at most 1.

    pvalues: (m,).  The i-th smallest is multiplied by m - i + 1, and raised to the largest before it.  ValueError for
    empty input, NaN (a comparison that failed must not make the others look better), or values outside [0, 1].
    """
    p = np.asarray(pvalues, dtype=float)
    if p.ndim != 1 or not len(p):
        raise ValueError(f"Holm's correction needs a flat array of at least one p-value, got shape {p.shape}")
    if np.isnan(p).any():
        raise ValueError(f"p-values hold NaN, first at position {int(np.isnan(p).argmax())}")
    if (p < 0).any() or (p > 1).any():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def smallest_detectable(n: int, discordant_share: float, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true difference of two accuracies that McNemar's test on n items would find with this power.

    With a share s of discordant items and difference d, the normal approximation (Connor 1987) asks for
        d sqrt(n) = z_level sqrt(s) + z_power sqrt(s - d^2),   whence
        d = sqrt(s) (z_level sqrt(n) + z_power sqrt(n + z_power^2 - z_level^2)) / (n + z_power^2).
    Two models cannot differ by more than they disagree; where d > s comes out (few disagreements were seen), a model that
    differed detectably would have to disagree more, so s = d is put in: n d = (z_level + z_power sqrt(1 - d))^2.  Infinite
    where even d = 1 would not do.  The exact test needs slightly more than this.  ValueError for n < 1, s outside [0, 1].
    """
    if not n >= 1:
        raise ValueError(f"no items: the smallest detectable difference needs n >= 1, got {n}")
    if not 0 <= discordant_share <= 1:
        raise ValueError(f"a share lies between 0 and 1, got {discordant_share}")
    if not 0.5 <= power < 1:
        raise ValueError(f"power lies between 0.5 and 1, got {power}")
    z, w, s = _z(level), float(norm.ppf(power)), discordant_share
    if n <= z * z:
        return inf
    d = sqrt(s) * (z * sqrt(n) + w * sqrt(n + w * w - z * z)) / (n + w * w)
    return d if 0 < d <= s else float(brentq(lambda x: sqrt(n * x) - z - w * sqrt(1 - x), 0.0, 1.0))


def smallest_detectable_of(a, b, level: float = 0.95, power: float = 0.8) -> float:
    """`smallest_detectable` of two models' (n,) scores; where they are not 0 or 1, the paired t-test's: (z_level + z_power) sd(b - a) / sqrt(n)."""
    a, b = _pair(a, b)
    if _binary(a, b):
        return smallest_detectable(len(a), float((a != b).mean()), level, power)
    return (_z(level) + float(norm.ppf(power))) * float((b - a).std(ddof=1)) / sqrt(len(a)) if len(a) > 1 else inf


def verdict(difference: float, low: float, high: float, p_holm: float, alpha: float = 0.05) -> str:
    """ "better", "worse" or "no difference detectable": the corrected test and the interval must both say so.

    ValueError for NaN or an interval that is upside down.
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
