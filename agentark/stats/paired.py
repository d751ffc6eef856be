"""Tests of two models on the same items, and the smallest difference that such a test can detect."""

from __future__ import annotations

from math import inf, sqrt

from scipy.optimize import brentq
from scipy.stats import binom, norm, ttest_rel

from .checks import is_binary, normal_quantile, paired_arrays


def mcnemar_exact(a, b) -> float:
    """Two-sided p of McNemar's exact test (McNemar 1947), whose null hypothesis is that both models err equally often.

    a, b: (n,) of bool or 0/1, the same items in the same order.  Only the discordant items count, of which each model
    answers one correctly: p = min(1, 2 P[Binomial(discordant, 1/2) <= the smaller count]), and 1 if there are none.
    Raises ValueError if the scores are empty, differ in length or are not all 0 or 1.
    """
    a, b = paired_arrays(a, b)
    if not is_binary(a, b):
        raise ValueError("McNemar's test compares correct and wrong answers: the scores must be 0 or 1")
    only_a, only_b = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum())
    if only_a + only_b == 0:
        return 1.0
    return float(min(1.0, 2 * binom.cdf(min(only_a, only_b), only_a + only_b, 0.5)))


def paired_p(a, b) -> float:
    """Two-sided p of a paired difference of (n,) scores.

    McNemar's exact test if all scores are 0 or 1, else the paired t-test; 1 if no item differs.
    """
    a, b = paired_arrays(a, b)
    if is_binary(a, b):
        return mcnemar_exact(a, b)
    return float(ttest_rel(b, a).pvalue) if (a != b).any() else 1.0


def smallest_detectable(n: int, discordant_share: float, level: float = 0.95, power: float = 0.8) -> float:
    """The smallest true difference of two accuracies that McNemar's test on n items detects with this power.

    With a share s of discordant items and a difference d, the normal approximation (Connor 1987) requires
        d sqrt(n) = z_level sqrt(s) + z_power sqrt(s - d^2),   hence
        d = sqrt(s) (z_level sqrt(n) + z_power sqrt(n + z_power^2 - z_level^2)) / (n + z_power^2).
    Two models cannot differ by more than they disagree.  If d > s results, because few disagreements were observed, a
    detectably different model would have to disagree more, so s = d is inserted:
        n d = (z_level + z_power sqrt(1 - d))^2.
    The result is infinite if even d = 1 does not suffice.  The exact test needs slightly more than this.  Raises
    ValueError for n < 1, or s outside [0, 1].
    """
    if not n >= 1:
        raise ValueError(f"no items: the smallest detectable difference needs n >= 1, got {n}")
    if not 0 <= discordant_share <= 1:
        raise ValueError(f"a share must lie between 0 and 1, got {discordant_share}")
    if not 0.5 <= power < 1:
        raise ValueError(f"power must lie between 0.5 and 1, got {power}")
    z, w, s = normal_quantile(level), float(norm.ppf(power)), discordant_share
    if n <= z * z:
        return inf
    d = sqrt(s) * (z * sqrt(n) + w * sqrt(n + w * w - z * z)) / (n + w * w)
    return d if 0 < d <= s else float(brentq(lambda x: sqrt(n * x) - z - w * sqrt(1 - x), 0.0, 1.0))


def smallest_detectable_of(a, b, level: float = 0.95, power: float = 0.8) -> float:
    """`smallest_detectable` for the (n,) scores of two models.

    If they are not all 0 or 1, that of the paired t-test: (z_level + z_power) sd(b - a) / sqrt(n).
    """
    a, b = paired_arrays(a, b)
    if is_binary(a, b):
        return smallest_detectable(len(a), float((a != b).mean()), level, power)
    if len(a) == 1:
        return inf
    return (normal_quantile(level) + float(norm.ppf(power))) * float((b - a).std(ddof=1)) / sqrt(len(a))
