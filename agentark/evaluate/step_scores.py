"""Measures how well step scores agree with step labels, and how well they choose among solutions.

All functions take lists, one per trace.  The labels come from a program that did not train the scorer (DECISIONS 28).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from agentark.mas import votes

Scores = Sequence[Sequence[float]]
Labels = Sequence[Sequence[bool | None]]


def check(scores: Scores, labels: Labels) -> None:
    """Raise ValueError if scores and labels differ in shape, or if a score is not a finite number."""
    if len(scores) != len(labels):
        raise ValueError(f"there are scores of {len(scores)} traces, but labels of {len(labels)}")
    for n, (row, row_labels) in enumerate(zip(scores, labels, strict=True)):
        if len(row) != len(row_labels):
            counts = f"{len(row)} scores and {len(row_labels)} labels"
            raise ValueError(f"trace {n} has {counts}: split it in the same way for both")
        if not np.isfinite(np.asarray(row, dtype=float)).all():
            raise ValueError(f"trace {n} has a score that is not a number: {list(row)}")


def first_error(labels: Sequence[bool | None]) -> int:
    """Return the index of the first step with a false label, or -1."""
    return next((n for n, label in enumerate(labels) if label is not None and not label), -1)


def first_below(scores: Sequence[float], threshold: float) -> int:
    """Return the index of the first step with a score below the threshold, or -1."""
    return next((n for n, score in enumerate(scores) if score < threshold), -1)


def first_error_f1(scores: Scores, labels: Labels, threshold: float) -> dict[str, float]:
    """Return ProcessBench's measure.

    `erroneous` is the share of traces with an error whose first error is found exactly, `correct` the share of the
    others (among them traces without steps) in which none is found, and `f1` their harmonic mean, NaN without one kind.
    """
    check(scores, labels)
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for row, row_labels in zip(scores, labels, strict=True):
        index = first_error(row_labels)
        hits[index >= 0].append(first_below(row, threshold) == index)
    wrong, right = mean(hits[True]), mean(hits[False])
    f1 = 0.0 if wrong + right == 0 else 2 * wrong * right / (wrong + right)
    counts = {"n_erroneous": len(hits[True]), "n_correct": len(hits[False])}
    return {"f1": f1, "erroneous": wrong, "correct": right, **counts}


def fix_threshold(scores: Scores, labels: Labels) -> float:
    """Return the best of at most 200 thresholds by first-error F1 on these (dev) traces, the median of equal ones."""
    check(scores, labels)
    values = np.unique(np.concatenate([np.asarray(row, dtype=float) for row in scores]))
    middles = (values[:-1] + values[1:]) / 2
    middles = middles[np.unique(np.linspace(0, len(middles) - 1, 200).astype(int))] if len(middles) > 200 else middles
    candidates = [values[0] - 1e-6, *middles, values[-1] + 1e-6]
    f1s = [first_error_f1(scores, labels, threshold)["f1"] for threshold in candidates]
    best = [threshold for threshold, f1 in zip(candidates, f1s, strict=True) if f1 == max(f1s)]
    return float(best[len(best) // 2]) if best else float("nan")


def labelled(scores: Scores, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (float) and labels (bool) of all steps that have a label, both of shape (steps,)."""
    check(scores, labels)
    rows = zip(scores, labels, strict=True)
    pairs = [pair for row in rows for pair in zip(*row, strict=True) if pair[1] is not None]
    return np.array([s for s, _ in pairs], dtype=float), np.array([bool(label) for _, label in pairs], dtype=bool)


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the probability that a right step scores above a wrong one (Mann-Whitney's U over its maximum).

    Equal scores count half.  Returns NaN if all labels are equal.
    """
    values, is_right = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    right, wrong = int(is_right.sum()), int((~is_right).sum())
    if not right or not wrong:
        return float("nan")
    return float((rankdata(values)[is_right].sum() - right * (right + 1) / 2) / (right * wrong))


def auroc_interval(
    scores: ArrayLike, labels: ArrayLike, problems: Sequence[str], level: float = 0.95, resamples: int = 500
) -> tuple[float, float] | None:
    """Return the percentile interval of `auroc` over resampled problems, to which the steps belong.

    None if all labels are equal.
    """
    values, is_right = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if is_right.all() or not is_right.any():
        return None
    _, of = np.unique(np.asarray(problems), return_inverse=True)
    order = np.argsort(values, kind="stable")
    values, is_right, of = values[order], is_right[order], of[order]
    starts = np.flatnonzero(np.r_[True, values[1:] > values[:-1]])  # of each different score
    n = of.max() + 1
    counts_RP = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=resamples)
    weights_RS = counts_RP[:, of].astype(float)
    right_RU = np.add.reduceat(weights_RS * is_right, starts, axis=1)
    wrong_RU = np.add.reduceat(weights_RS * ~is_right, starts, axis=1)
    below_RU = wrong_RU.cumsum(axis=1) - wrong_RU / 2
    possible_R = right_RU.sum(axis=1) * wrong_RU.sum(axis=1)
    drawn = (right_RU * below_RU).sum(axis=1)[possible_R > 0] / possible_R[possible_R > 0]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def shuffled(scores: Scores, seed: int) -> list[list[float]]:
    """Return the scores of each trace in another order: what is left of a scorer that does not see the steps."""
    rng = np.random.default_rng(seed)
    return [list(rng.permutation(row)) for row in scores]


def mean(values: ArrayLike) -> float:
    """Return the mean, or NaN if there are no values."""
    return float(np.mean(np.asarray(values))) if np.size(values) else float("nan")


def calibration(scores: ArrayLike, labels: ArrayLike, bins: int = 10) -> tuple[pd.DataFrame, float]:
    """Return how often steps with a given score are right: a table and the expected calibration error.

    The table has one row per equal bin of [0, 1]: low, high, n, score (mean) and right (share of right steps).  The
    error is the mean distance of score and share, weighted by n.  Raises ValueError for scores outside [0, 1].
    """
    values, is_right = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if len(values) and (values.min() < 0 or values.max() > 1):
        limits = f"{values.min():.3g} to {values.max():.3g}"
        raise ValueError(f"only scores between 0 and 1 have a calibration; these range from {limits}")
    index = np.minimum((values * bins).astype(int), bins - 1)
    inside = [index == b for b in range(bins)]
    figures = [(int(mask.sum()), mean(values[mask]), mean(is_right[mask])) for mask in inside]
    rows = [(b / bins, (b + 1) / bins, *row) for b, row in enumerate(figures)]
    table = pd.DataFrame(rows, columns=["low", "high", "n", "score", "right"])
    gaps = (table.score - table.right).abs().fillna(0) * table.n
    return table, float(gaps.sum() / len(values)) if len(values) else float("nan")


def choices(
    rewards: Scores,
    correct: Sequence[Sequence[bool]],
    answers: Sequence[Sequence[str | None]],
    lengths: Sequence[Sequence[float]],
    equal: Callable[[str, str], bool],
) -> pd.DataFrame:
    """Return the accuracy of one sample per problem, one row each, chosen by reward, vote, chance, or length.

    Columns: best, majority, random (the expected accuracy), shortest, and pass (whether there is a right sample).
    Equally good samples count with their mean.  Each input has one list per problem, of equal lengths; raises
    ValueError otherwise.
    """
    rows = []
    for reward, right, texts, length in zip(rewards, correct, answers, lengths, strict=True):
        if not len(reward) == len(right) == len(texts) == len(length) > 0:
            needed = "the same number of samples per problem, at least one"
            raise ValueError(f"rewards, correct, answers and lengths must have {needed}")
        hits = np.asarray(right, dtype=float)
        winner = votes.majority(texts, equal)  # one of the texts, which the first equal one among them is
        best, shortest = hits[np.asarray(reward) == max(reward)], hits[np.asarray(length) == min(length)]
        pairs = [(hit, text) for hit, text in zip(hits, texts, strict=True) if text is not None]
        agreeing = [hit for hit, text in pairs if winner is not None and equal(winner, text)]
        row = {"best": best.mean(), "majority": agreeing[0] if agreeing else 0.0, "random": hits.mean()}
        rows.append(row | {"shortest": shortest.mean(), "pass": hits.max()})
    return pd.DataFrame(rows, columns=["best", "majority", "random", "shortest", "pass"])


def drop(before: Scores, after: Scores, steps: Sequence[int]) -> dict[str, float]:
    """Return how far scores fall because of an error that was injected in a step of each trace.

    `at` is the mean drop at the error, `after` that over the steps after it, if there are any, `fell` the share of
    traces whose score at the error fell, and `n` the number of traces.
    """
    drops = [np.subtract(x[n:], y[n:]) for x, y, n in zip(before, after, steps, strict=True)]
    at_error = np.array([d[0] for d in drops])
    after_error = [np.mean(d[1:]) for d in drops if len(d) > 1]
    return {"at": mean(at_error), "after": mean(after_error), "fell": mean(at_error > 0), "n": len(drops)}


def minimum_last(scores: Scores) -> float:
    """Return how often the last step of a trace of two or more steps has its lowest score; ties share the trace."""
    rows = [np.asarray(row, dtype=float) for row in scores if len(row) > 1]
    return mean([(row[-1] == row.min()) / (row == row.min()).sum() for row in rows])
