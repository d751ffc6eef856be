"""The mean difference between two methods over training seeds and test items, which are crossed: no resampling.

Every seed is tested on the same items, so that a difference has three parts: of its seed, of its item, and of both.
Analysis of variance estimates the variance of the mean difference as
    V = V_both + max(0, V_seeds - V_both) + max(0, V_items - V_both),
where V_seeds is the variance of the seeds' means over the number of seeds, V_items that of the clusters' means over
the number of clusters, and V_both that of the residuals, which the other two contain.  V's degrees of freedom are
Satterthwaite's (1946); the interval and p are Student's.  For two conditions this is the quasi-F test of Clark (1973,
"The language-as-fixed-effect fallacy"), here with clusters of items in place of items (Miller 2024, arXiv 2411.00640).

Why not a bootstrap: resampling seeds and items counts V_both three times, and no bootstrap of crossed data is exact
(Owen 2007, "The pigeonhole bootstrap"); five seeds have few different resamples, so that its interval is too narrow;
and a p from B resamples is never below 1 / B, which Holm's correction then multiplies.

Simulated false alarms (tests/test_stats.py): 3-6 % from three seeds on.  Two seeds say little about their variance;
there the degrees of freedom are bounded by the seeds' and false alarms are 0-3 %.  With a difference in less than
about ten clusters the test is too liberal.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t

from .checks import normal_quantile


class Crossed(NamedTuple):
    """A difference with its interval and its two-sided p.

    seeds, clusters, debates: how many were compared.  With one seed, interval and p are over test items only; with one
    debate, they hold for that debate only.  error, freedom: the standard error and its degrees of freedom.
    """

    difference: float
    low: float
    high: float
    p: float
    error: float
    freedom: float
    seeds: int
    clusters: int
    debates: int

    def detectable(self, level: float, power: float = 0.8) -> float:
        """The smallest true difference that a test at this level finds with this power; infinite without an error."""
        normal_quantile(level)  # checks the level
        if self.error == 0:
            return inf  # no variance was seen, so that nothing is known of it
        return float(self.error * (t.ppf((1 + level) / 2, self.freedom) + t.ppf(power, self.freedom)))

    def columns(self) -> dict[str, Any]:
        """The difference, low, high, p and detectable of a row that `decided` completes."""
        return {name: getattr(self, name) for name in ("difference", "low", "high", "p", "detectable")}


def crossed(
    differences,
    clusters: Sequence[Hashable] | None = None,
    *,
    debates: Sequence[Hashable] | None = None,
    sets: Sequence[Hashable] | None = None,
    weights: dict | None = None,
    level: float = 0.95,
) -> Crossed:
    """Compare two methods over training seeds and test items.

    differences: (S seeds, n items), the score of one method minus that of the other.
    clusters: (n,) what items share; by default each stands alone.
    debates: (S,) the debate from which each seed's students learnt.  If there are several, the seeds of one debate are
        averaged, and the debates take the place of the seeds.
    sets, weights: (n,) the set that each item belongs to, such as its test, and the weight of each set in the result:
        1/2 and 1/2 average two sets, 1 and -1 subtract the second.  By default all items are one set of weight 1.
    Raises ValueError for no values, NaN, other lengths, or one cluster of one seed.
    """
    values_Sn, cluster_n, share_n, set_n = _checked(differences, clusters, sets, weights)
    normal_quantile(level)  # checks the level
    names = [0] * len(values_Sn) if debates is None else list(debates)
    if len(names) != len(values_Sn):
        raise ValueError(f"as many debates as seeds are needed: {len(names)} and {len(values_Sn)}")
    seeds, distinct = len(values_Sn), list(dict.fromkeys(names))
    if len(distinct) > 1:
        values_Sn = np.stack([values_Sn[[name == debate for name in names]].mean(axis=0) for debate in distinct])
    mean, error, freedom = _estimate(values_Sn, cluster_n, share_n, set_n)
    about = (seeds, int(cluster_n.max()) + 1, len(distinct))
    if error == 0:  # neither seeds nor clusters differ: a sign test over the clusters remains
        return Crossed(mean, mean, mean, 1.0 if mean == 0 else min(1.0, 2.0 ** (1 - about[1])), 0.0, inf, *about)
    reach, p = float(t.ppf((1 + level) / 2, freedom)) * error, float(2 * t.sf(abs(mean) / error, freedom))
    return Crossed(mean, mean - reach, mean + reach, p, error, freedom, *about)


def _checked(differences, clusters, sets, weights) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The differences, and for each item the number of its cluster, its weight and the number of its set."""
    values = np.asarray(differences, dtype=float)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"differences of seeds over items are needed, got shape {values.shape}")
    if np.isnan(values).any():
        raise ValueError("differences hold NaN: every seed must be tested on every item")
    n = values.shape[1]
    clusters, sets = list(range(n)) if clusters is None else list(clusters), [0] * n if sets is None else list(sets)
    if not len(clusters) == len(sets) == n:
        raise ValueError(f"{n} items need as many clusters and sets, got {len(clusters)} and {len(sets)}")
    numbers = {name: k for k, name in enumerate(dict.fromkeys(clusters))}
    places = {name: k for k, name in enumerate(dict.fromkeys(sets))}
    if set(weights := weights or dict.fromkeys(places, 1 / len(places))) != set(places):
        raise ValueError(f"the weights are of the sets {sorted(map(str, weights))}, the items of {list(places)}")
    set_n = np.array([places[name] for name in sets])
    share_n = np.array([weights[name] for name in places])[set_n] / np.bincount(set_n)[set_n]
    return values, np.array([numbers[name] for name in clusters]), share_n, set_n


def _estimate(values_Sn, cluster_n, share_n, set_n) -> tuple[float, float, float]:
    """The weighted mean difference, its standard error, and the error's degrees of freedom."""
    seeds, clusters = len(values_Sn), int(cluster_n.max()) + 1
    if seeds == clusters == 1:
        raise ValueError("one cluster of one seed says nothing about its variance: compare more items")
    mean_S = values_Sn @ share_n
    inner_Sn = values_Sn.copy()  # around the mean of the seed on the item's set
    for number in range(int(set_n.max()) + 1):
        inner_Sn[:, set_n == number] -= values_Sn[:, set_n == number].mean(axis=1, keepdims=True)
    total_SG = np.stack([np.bincount(cluster_n, weights=inner_n * share_n) for inner_n in inner_Sn])
    common_G = total_SG.mean(axis=0)
    # Clusters of equal weight that would be as many (Kish 1965), for the degrees of freedom.
    weight_G = np.bincount(cluster_n, weights=np.abs(share_n))
    df_items = weight_G.sum() ** 2 / (weight_G**2).sum() - 1
    bessel = clusters / (clusters - 1) if clusters > 1 else 0.0
    items = bessel * float((common_G**2).sum())
    by_seed = float(mean_S.var(ddof=1)) / seeds if seeds > 1 else 0.0
    both = bessel * float(((total_SG - common_G) ** 2).sum()) / (seeds * (seeds - 1)) if seeds > 1 else 0.0
    rounding = 1e-12 * np.abs(values_Sn).max()  # what rounding alone makes of 0
    items, by_seed, both = (0.0 if part <= rounding**2 else part for part in (items, by_seed, both))
    mean = 0.0 if abs(mean_S.mean()) <= rounding else float(mean_S.mean())
    variance = both + max(0.0, by_seed - both) + max(0.0, items - both)
    if variance == 0:
        return mean, 0.0, inf
    if seeds == 2:  # too few to tell whether a part is absent
        parts = [(max(by_seed, both), 1.0), (max(items, both), df_items)]
    else:
        parts = [(by_seed, seeds - 1.0)] if by_seed > both else []
        parts += [(items, df_items)] if items > both else []
        parts += [(both, (seeds - 1) * df_items)] if len(parts) != 1 else []  # cancels where one part alone exceeds it
    freedom = variance**2 / sum(part**2 / df for part, df in parts if part > 0)
    return mean, sqrt(variance), float(freedom)
