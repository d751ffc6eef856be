"""Evaluates the scores of a judge (4.4, Table 1; DECISIONS 28): means, comparisons of models, and noise."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from agentark import stats
from agentark.stats import agreement

from .judge import SCALE, JudgeError


def _item_means(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean over the repeats of each (dimension, model, item); items without any score are left out."""
    return scores.dropna(subset="score").groupby(["dimension", "model", "item"], sort=False).score.mean().reset_index()


def means(scores: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Return the mean score per dimension and model (the lower half of Table 1).

    Columns: dimension, model, items (with a score), mean, low, high (percentile bootstrap over items) and unscored, the
    number of missing scores; the table of scores gives the reasons.
    """
    missing = scores.score.isna().groupby([scores.dimension, scores.model]).sum()
    by_item, rows = _item_means(scores), []
    for dimension, model in scores[["dimension", "model"]].drop_duplicates().itertuples(index=False):
        values = by_item[(by_item.dimension == dimension) & (by_item.model == model)].score.to_numpy()
        interval = (np.nan,) * 3
        if len(values):
            interval = stats.paired_bootstrap(np.zeros(len(values)), values, resamples, seed, level)
        rows.append((dimension, model, len(values), *interval, int(missing[dimension, model])))
    return pd.DataFrame(rows, columns=["dimension", "model", "items", "mean", "low", "high", "unscored"])


def compare(scores: pd.DataFrame, base: str, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Compare each model with `base` in each dimension, on the items where both have a score.

    Columns: dimension, model, items, difference (model minus base), low, high (paired bootstrap over items), p
    (Wilcoxon's signed-rank test with Pratt's treatment of zeros), p_holm (over all rows) and verdict.  Raises
    JudgeError if `base` has no scores.
    """
    by_item = _item_means(scores)
    if base not in set(by_item.model):
        raise JudgeError(f"{base} has no scores to compare with; choose one of {', '.join(sorted(set(by_item.model)))}")
    rows = []
    for dimension, group in by_item.groupby("dimension", sort=False):
        wide = group.pivot(index="item", columns="model", values="score")
        for model in [model for model in wide.columns if model != base and base in wide]:
            pair = wide[[base, model]].dropna()
            if pair.empty:
                continue
            interval = stats.paired_bootstrap(pair[base], pair[model], resamples, seed, level)
            gaps = (pair[model] - pair[base]).to_numpy()
            p = float(wilcoxon(gaps, zero_method="pratt").pvalue) if gaps.any() else 1.0
            rows.append((dimension, model, len(pair), *interval, p))
    table = pd.DataFrame(rows, columns=["dimension", "model", "items", "difference", "low", "high", "p"])
    if table.empty:
        return table.assign(p_holm=[], verdict=[])
    table["p_holm"] = stats.holm(table.p)
    figures = zip(table.difference, table.low, table.high, table.p_holm, strict=True)
    table["verdict"] = [stats.verdict(d, low, high, p, 1 - level) for d, low, high, p in figures]
    return table


def noise(scores: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Measure how well the repeats of a judge agree, with one row per dimension and one for all dimensions together.

    Columns: dimension, pairs (of the scores of one solution in two repeats), same (share of equal scores), kappa
    (quadratic weights) with its bootstrap interval over items, low and high, and shift (mean difference of the later
    and the earlier repeat, with two repeats that of the two orders).  Raises JudgeError if there is only one repeat.
    """
    repeats = sorted(scores["repeat"].unique())
    if len(repeats) < 2:
        reason = "the noise of a judge cannot be measured with one repeat"
        raise JudgeError(f"{reason}: set judge.repeats = 2 (a program has no noise)")
    wide = scores.pivot(index=["dimension", "item", "model"], columns="repeat", values="score")
    both = [wide[[a, b]].dropna().set_axis(["earlier", "later"], axis=1) for a, b in combinations(repeats, 2)]
    pairs = pd.concat(both).reset_index()
    rows = []
    for dimension in (*scores.dimension.unique(), "all"):
        subset = pairs if dimension == "all" else pairs[pairs.dimension == dimension]
        ratings, scale = (list(subset.earlier), list(subset.later)), [float(s) for s in SCALE]
        options: dict[str, Any] = {"quadratic": True, "resamples": resamples, "seed": seed, "level": level}
        figures = agreement.kappa(*ratings, list(subset.item), scale, **options)
        shift = float((subset.later - subset.earlier).mean())
        rows.append((dimension, *(figures[name] for name in ("n", "agreement", "kappa", "low", "high")), shift))
    return pd.DataFrame(rows, columns=["dimension", "pairs", "same", "kappa", "low", "high", "shift"])
