"""What the printed accuracies of the paper can be: functions from its tables to tables, with what chance would give.

Rounding.  An accuracy is printed in percent with two decimals, hence is one of 10,001 numbers.  k right answers of n
give the number 10,000 k / n hundredths of a percent, rounded (half up or half even) or cut.  A tie needs 20,000 k =
n (2m + 1), which is impossible for odd n: 1,319 and 4,183 are odd, so that both kinds of rounding are the same here.
Tables 8-13 drop a trailing zero (56.9 is 56.90): of their values with two decimals none ends in 0.

Noise.  The paper gives neither numbers of items nor seeds nor rows.  Intervals are unpaired (Newcombe 1998, method 10)
for the sizes of the test sets (DECISIONS 13).  A paired test on the same questions would be more powerful, and needs
the rows; `gains` says how few questions the models would have to disagree on.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations, product
from math import comb, pi, sqrt

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import norm

from agentark import stats

from .figures import looks
from .methods import shown

QUESTIONS = {"gsm8k": 1319, "medmcqa": 4183}  # of a test set
TRAINS = ["gsm8k", "math", "medmcqa", "metamathqa"]
STEPS = 10_000  # hundredths of a percent
NEAR = 5  # right answers: how close two accuracies are that `repeats` takes as near
TEACHERS = ["qwen3-32b", "gemma3-27b-it"]  # that 4.1 names; the tables also have qwen3-8b


@cache
def printable(n: int, rule: str = "half up") -> frozenset[int]:
    """The hundredths of a percent that some k of n right answers print as; rule: "half up", "half even" or "cut"."""
    numbers = set()
    for k in range(n + 1):
        whole, rest = divmod(STEPS * k, n)
        up = 2 * rest > n or (2 * rest == n and (rule == "half up" or whole % 2 == 1))
        numbers.add(whole + (up and rule != "cut"))
    return frozenset(numbers)


def hundredths(values: pd.Series) -> pd.Series:
    """Printed percentages as whole hundredths of a percent."""
    return (100 * values).round().astype(int)


def matrix(distilled: pd.DataFrame, baselines: pd.DataFrame) -> pd.DataFrame:
    """The cells of Tables 9-13 with their base (%), gain (points), relative gain (%), and whether one run can give it.

    `one_run`: the value is a rounded k / n.  Input: "table09_13_distillation" and "table09_13_baselines".
    """
    base = baselines.set_index(["student", "test"]).value
    cells = distilled.assign(base=[base[key] for key in zip(distilled.student, distilled.test, strict=True)])
    cells["gain"] = cells.value - cells.base
    cells["relative"] = 100 * cells.gain / cells.base
    numbers = {test: printable(n) for test, n in QUESTIONS.items()}
    pairs = zip(hundredths(cells.value), cells.test, strict=True)
    return cells.assign(one_run=[value in numbers[test] for value, test in pairs])


def one_run(cells: pd.DataFrame) -> pd.DataFrame:
    """How many cells could come from one run, by rounding rule, and how many numbers drawn at random would.

    chance: the share of the 10,001 numbers that are possible; expected: chance × cells.
    """
    rows = []
    for test, n in QUESTIONS.items():
        values = hundredths(cells[cells.test == test].value)
        possible = {rule: printable(n, rule) for rule in ("half up", "half even", "cut")}
        possible["half up or cut"] = possible["half up"] | possible["cut"]
        for rule, numbers in possible.items():
            fit = int(values.isin(numbers).sum())
            row = {"test": test, "n": n, "rule": rule, "cells": len(values), "fit": fit, "no fit": len(values) - fit}
            rows.append(row | {"chance": len(numbers) / (STEPS + 1)})
    table = pd.DataFrame(rows)
    return table.assign(expected=table.chance * table.cells)


def other_sizes(cells: pd.DataFrame, around: int = 3) -> pd.DataFrame:
    """How many cells are a rounded k / n if n is another number near the size of the test set: one column per offset.

    This is the control of `one_run`: if the fit said nothing of n, all columns would be alike.
    """
    rows = {}
    for test, n in QUESTIONS.items():
        values = hundredths(cells[cells.test == test].value)
        sizes = range(n - around, n + around + 1)
        rows[f"{test}, n = {n}"] = {
            f"n{m - n:+d}" if m != n else "n": int(values.isin(printable(m)).sum()) for m in sizes
        }
    return pd.DataFrame(rows).T


def no_one_run(cells: pd.DataFrame) -> pd.DataFrame:
    """What the cells that are no rounded k / n could be: a cut k / n, or a rounded mean of several runs, k / (runs n).

    chance: the share of the numbers that are no rounded k / n and fit; expected: chance × cells.
    """
    rows = []
    for test, n in QUESTIONS.items():
        values = hundredths(cells[(cells.test == test) & ~cells.one_run].value)
        rounded = printable(n)
        forms = {"cut": printable(n, "cut")} | {f"mean of {runs} runs": printable(runs * n) for runs in (2, 3, 5)}
        for form, numbers in forms.items():
            row = {"test": test, "form": form, "cells": len(values), "fit": int(values.isin(numbers).sum())}
            rows.append(row | {"chance": len(numbers - rounded) / (STEPS + 1 - len(rounded))})
    table = pd.DataFrame(rows)
    return table.assign(expected=table.chance * table.cells)


def gains(cells: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Each cell's gain (points), its unpaired interval, p of the pooled z-test, Holm's p, and its `side` of the noise.

    side: "above" if the interval lies above 0, "below" or "within".  paired_below: a paired test at this level would
    call the gain significant if the two models disagreed on less than this share of the questions, n d^2 / z^2; it is
    left out where that is below |d|, since models that differ by d disagree on at least |d|.
    """
    n = cells.test.map(QUESTIONS)
    base, value = cells.base / 100, cells.value / 100
    limits = [
        np.array([stats.wilson(s * m, m, level) for s, m in zip(shares, n, strict=True)]) for shares in (base, value)
    ]
    (base_low, base_high), (value_low, value_high) = (ends.T for ends in limits)
    found = stats.unpaired_difference(base, base_low, base_high, value, value_low, value_high)
    difference, low, high = found
    pooled = (base + value) / 2
    p = 2 * norm.sf(difference.abs() / np.sqrt(2 * pooled * (1 - pooled) / n))
    side = np.select([low > 0, high < 0], ["above", "below"], "within")
    share = n * difference**2 / norm.ppf((1 + level) / 2) ** 2
    table = cells.assign(low=100 * low, high=100 * high, p=p, p_holm=stats.holm(p), side=side)
    return table.assign(paired_below=share.where(share >= difference.abs()).clip(upper=1))


def sides(table: pd.DataFrame, by: list[str], level: float = 0.95) -> pd.DataFrame:
    """`gains` counted: cells, mean gain, how many are positive, and how many exceed the noise on either side.

    chance: how many would lie above (and as many below) if nothing had an effect and the cells were independent.
    """
    sign, holm = np.sign(table.gain), table.p_holm <= 1 - level
    parts = {"above": table.side == "above", "within": table.side == "within", "below": table.side == "below"}
    parts = {"positive": sign > 0, "zero": sign == 0, "negative": sign < 0, **parts, "after Holm": holm}
    groups = table.assign(**parts).groupby(by, sort=False)
    counts = groups.agg(cells=("gain", "size"), mean_gain=("gain", "mean"), **{name: (name, "sum") for name in parts})
    return counts.assign(chance=(1 - level) / 2 * counts.cells).reset_index()


def paired(table: pd.DataFrame, shares: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2)) -> pd.DataFrame:
    """How many gains a paired test would call significant if the student disagreed with its base on so many questions.

    One row per method: cells, outside (of the unpaired noise), and a column per share of the questions.  A gain that is
    larger than the share could not be, and counts as significant.
    """
    outside = table.side != "within"
    columns = {f"{share:.0%}": (table.paired_below >= share) | (100 * share < table.gain.abs()) for share in shares}
    groups = table.assign(outside=outside, **columns).groupby("method", sort=False)
    return groups.agg(cells=("gain", "size"), **{name: (name, "sum") for name in ("outside", *columns)}).reset_index()


def readings(cells: pd.DataFrame) -> pd.DataFrame:
    """Every mean gain that "+x %" can mean: teachers, methods and tests × points or two kinds of relative gain.

    `mean relative` is the mean of the cells' relative gains, `ratio of means` the relative gain of the mean accuracy.
    """
    whose = {"qwen3-32b": TEACHERS[:1], "those of 4.1": TEACHERS, "all": sorted(cells.teacher.unique())}
    what = {method: [method] for method in ("rsft", "da", "pad")} | {"all": ["rsft", "da", "pad"]}
    tests = {test: [test] for test in QUESTIONS} | {"both": list(QUESTIONS)}
    rows = []
    for (who, a), (method, b), (test, c) in product(whose.items(), what.items(), tests.items()):
        part = cells[cells.teacher.isin(a) & cells.method.isin(b) & cells.test.isin(c)]
        forms = {"points": part.gain.mean(), "mean relative": part.relative.mean()}
        forms["ratio of means"] = 100 * (part.value.mean() / part.base.mean() - 1)
        rows += [(who, method, test, form, len(part), value) for form, value in forms.items()]
    return pd.DataFrame(rows, columns=["teachers", "method", "test", "form", "cells", "gain"])


def matching(table: pd.DataFrame, said: float) -> tuple[pd.DataFrame, float]:
    """The `readings` that give `said` at one decimal, and how many would by chance: a tenth of those within 0.5."""
    match = table[(table.gain - said).abs() < 0.05]
    return match, ((table.gain - said).abs() < 0.5).sum() / 10


def experiments(cells: pd.DataFrame) -> pd.DataFrame:
    """How many experiments there are, by what is counted: the product, and the number of such cells in the tables."""
    axes = ["teacher", "student", "method", "train"]
    counted = {
        "trainings, all teachers": (cells, axes),
        "trainings, the two teachers of 4.1": (cells[cells.teacher.isin(TEACHERS)], axes),
        "accuracies (two tests a training)": (cells, [*axes, "test"]),
        "accuracies of PAD": (cells[cells.method == "pad"], [*axes, "test"]),
        "accuracies of one teacher": (cells[cells.teacher == TEACHERS[0]], [*axes, "test"]),
    }
    rows = [(what, " × ".join(f"{part[a].nunique()} ({a})" for a in names), len(part[names].drop_duplicates()))
            for what, (part, names) in counted.items()]  # fmt: skip
    return pd.DataFrame(rows, columns=["counted", "product", "found"])


def repeats(cells: pd.DataFrame) -> pd.DataFrame:
    """Pairs of cells of one student and test that print the same number, and how many would by chance.

    same_k: pairs whose nearest number of right answers is the same.  expected: pairs that differ by 1 to NEAR right
    answers, over 2 NEAR, since a difference of 0 should be about as frequent as one of +1, -1, +2, ...
    """
    rows = []
    for (student, test), part in cells.groupby(["student", "test"], sort=False):
        printed, k = hundredths(part.value).to_numpy(), (part.value * QUESTIONS[test] / 100).round().to_numpy()
        i, j = np.triu_indices(len(part), 1)
        apart = np.abs(k[i] - k[j])
        row = (student, test, len(i), (printed[i] == printed[j]).sum(), (apart == 0).sum())
        rows.append((*row, ((apart > 0) & (apart <= NEAR)).sum() / (2 * NEAR)))
    return pd.DataFrame(rows, columns=["student", "test", "pairs", "same_printed", "same_k", "expected"])


def by_training_set(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of Tables 4, 5 and 8-13: one row per table row and test, one column per training set."""
    prm, ppo = tables["table04_prm_ablation"], tables["table05_ppo_vs_grpo"]
    sft, main = tables["table08_sft"], tables["table09_13_distillation"]
    number = main.table.str.removeprefix("table")
    named = [
        prm.assign(row="Table 4, PRM " + prm.prm + ", LLM " + prm.policy),
        ppo.assign(row="Table 5, " + ppo.algorithm.str.upper()),
        sft.assign(row="Table 8, SFT of " + sft.student),
        main.assign(row="Table " + number + ", " + main.method.str.upper() + " of " + main.teacher),
    ]
    rows = pd.concat(named)
    return rows[rows.train.isin(TRAINS)].pivot(index=["test", "row"], columns="train", values="value")


def same_by_chance(value: float, n: int) -> float:
    """An upper bound of the chance that two independent runs of equal accuracy print one number.

    The sum over k of b(k; n, p)^2, for large n 1 / (2 sqrt(pi n p (1 - p))).  value: in percent.
    """
    return 1 / (2 * sqrt(pi * n * value / 100 * (1 - value / 100)))


def repeated_rows(rows: pd.DataFrame, least: int = 2) -> pd.DataFrame:
    """Pairs of rows of one test in which at least `least` of the values agree, column by column.

    expected: how many pairs of all would agree in as many, at most, if all rows were independent runs of one accuracy:
    pairs × C(4, equal) × `same_by_chance` to the power of `equal`.
    """
    found = []
    for test, part in rows.groupby(level="test", sort=False):
        names, printed = list(part.index.get_level_values("row")), (100 * part.to_numpy()).round()
        for a, b in combinations(range(len(part)), 2):
            if (equal := int((printed[a] == printed[b]).sum())) >= least:
                q = same_by_chance(part.iloc[a].mean(), QUESTIONS[test])
                expected = comb(len(part), 2) * comb(part.shape[1], equal) * q**equal
                found.append((test, names[a], names[b], equal, part.shape[1], expected))
    columns = ["test", "row", "other", "equal", "of", "expected"]
    return pd.DataFrame(found, columns=columns).sort_values("equal", ascending=False, ignore_index=True)


@looks
def gains_figure(table: pd.DataFrame) -> Figure:
    """`gains` by method, one panel per test: a dot per cell, filled if its unpaired interval excludes 0."""
    methods = [name for name in ("rsft", "da", "pad") if name in set(table.method)]
    figure = Figure(figsize=(9.4, 0.9 + 0.75 * len(methods)), layout="constrained")
    for axes, (test, n) in zip(figure.subplots(1, len(QUESTIONS), sharey=True), QUESTIONS.items(), strict=True):
        axes.axvline(0, color="#777777", linewidth=1, zorder=1)
        for y, method in enumerate(methods):
            part = table[(table.test == test) & (table.method == method)].sort_values("gain")
            height = y + np.linspace(-0.3, 0.3, len(part))
            colour = shown()[method].colour
            axes.hlines(height, part.low, part.high, color=colour, linewidth=0.5, alpha=0.4, zorder=2)
            fill = [colour if side != "within" else "white" for side in part.side]
            axes.scatter(part.gain, height, s=12, c=fill, edgecolors=colour, linewidths=0.8, zorder=3)
        axes.set_yticks(range(len(methods)), [shown()[method].label for method in methods])
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_title(f"tested on {test}, n = {n:,}", fontweight="bold")
        axes.set_xlabel("gain over the base (points), unpaired interval")
    return figure
