"""Measures other than accuracy, item by item: means with intervals, and each method against the base and its controls.

Rows are as in `tables`, one per item and cell, without grades: their column `score` is the measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from agentark import stats

from . import tables

MEANS = ["n", "mean", "low", "high"]
COMPARED = ["n", "difference", "low", "high", "p", "p_holm", "verdict"]
LEAST = 10  # common items of a comparison: with fewer, a t-test finds too much (stats/crossed.py)
WORDS = {"better": "higher", "worse": "lower"}  # which of the two is better depends on the measure


def mean(values: Sequence[float], level: float, resamples: int) -> tuple[int, float, float, float]:
    """MEANS of some values: how many, their mean, and its percentile bootstrap interval (NaN for a single value)."""
    value, low, high = stats.paired_bootstrap(np.zeros(len(values)), values, resamples, level=level)
    return (len(values), value, low, high) if len(values) > 1 else (1, value, np.nan, np.nan)


def means(rows: Mapping[str, pd.DataFrame], name: str, *, level: float, resamples: int) -> pd.DataFrame:
    """The mean score of each cell: `tables.keys`, then `name`, whose values are the keys of `rows`, then MEANS."""
    parts = []
    for label, frame in rows.items():
        by = tables.keys(frame)
        groups = frame.groupby(by, sort=False).score
        lines = [(*key, label, *mean(values, level, resamples)) for key, values in groups]
        parts.append(tables.ordered(pd.DataFrame(lines, columns=[*by, name, *MEANS])))
    return pd.concat(parts, ignore_index=True)


def compared(rows: Mapping[str, pd.DataFrame], name: str, *, level: float, resamples: int) -> pd.DataFrame:
    """Each method minus the base and minus its controls, item by item, wherever they have `LEAST` items in common.

    Columns: `name`, whose values are the keys of `rows`, the coordinates, method, against, then COMPARED: the paired
    bootstrap's interval, p of the paired t-test, and p after Holm's correction over this whole table.  The verdict is
    "higher", "lower" or "no difference detectable".
    """
    found = []
    for label, frame in rows.items():
        cells = {key: part.set_index("item").score for key, part in frame.groupby(tables.keys(frame), sort=False)}
        places = [dict(zip(tables.keys(frame), key, strict=True)) for key in cells]
        for cell, other in tables.pairs(places):
            both = pd.concat([cells[tuple(p.values())] for p in (other, cell)], axis=1, join="inner").to_numpy()
            if len(both) >= LEAST:
                interval = stats.paired_bootstrap(both[:, 0], both[:, 1], resamples, level=level)
                teacher = other["teacher"] if cell["teacher"] == "-" else cell["teacher"]
                row = {name: label, **cell, "teacher": teacher, "against": other["method"], "n": len(both)}
                row |= dict(zip(("difference", "low", "high"), interval))
                found.append(row | {"p": stats.paired_p(both[:, 0], both[:, 1])})
    if not found:
        return pd.DataFrame(columns=[name, *tables.KEYS, "against", *COMPARED])
    table = stats.decided(pd.DataFrame(found), level)
    return table.assign(verdict=[WORDS.get(verdict, verdict) for verdict in table.verdict])
