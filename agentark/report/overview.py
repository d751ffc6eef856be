"""Figures of many comparisons at once: a heat map of differences, and the accuracies of single seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from agentark.models.names import display_name

from .figures import caption, looks
from .methods import shown
from .show import label

NO_DIFFERENCE = "no difference detectable"
NAMES = {"gflop": "GFLOP", "device_seconds": "seconds"}  # of costs, on an axis


@looks
def heat_map(paired: pd.DataFrame, against: str = "base") -> Figure | None:
    """The differences to `against` in points: one row per student and method, one column per training and test set.

    A star marks a difference that is significant after Holm's correction over the whole table `paired`.  None if no
    student is compared with it, as in a study that trains none.
    """
    rows = paired[(paired.against == against) & (paired.student != "-")]
    if rows.empty:
        return None
    columns = list(rows[["train", "test"]].drop_duplicates().sort_values(["test", "train"]).itertuples(index=False))
    order = {name: rank for rank, name in enumerate(shown())}
    lines = sorted(set(zip(rows.student, rows.method)), key=lambda line: (line[0], order.get(line[1], len(order))))
    cells = {(r.student, r.method, r.train, r.test): r for r in rows.itertuples()}
    grid = [[cells.get((*line, *column)) for column in columns] for line in lines]
    values = np.array([[np.nan if cell is None else 100 * cell.difference for cell in row] for row in grid])
    figure = Figure(figsize=(2.9 + 1.3 * len(columns), 1.0 + 0.28 * len(lines)), layout="constrained")
    axes = figure.subplots()
    limit = max(1.0, np.nanmax(np.abs(values)))
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    for y, row in enumerate(grid):
        for x, cell in enumerate(row):
            if cell is not None:
                star = "" if cell.verdict == NO_DIFFERENCE else " *"
                colour = "white" if abs(values[y, x]) > 0.6 * limit else "#222222"
                axes.text(x, y, f"{values[y, x]:+.1f}{star}".replace("-", "−"), ha="center", va="center", color=colour)
    axes.set_yticks(range(len(lines)), [f"{display_name(student)}: {label(method)}" for student, method in lines])
    axes.set_xticks(range(len(columns)), [f"{train}\n→ {test}" for train, test in columns], fontsize=8)
    axes.grid(visible=False)
    axes.set_title(f"difference to {label(against)} (points); * after Holm", fontweight="bold")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure


@looks
def accuracy_and_cost(table: pd.DataFrame, cost: str = "tokens", level: float = 0.95) -> Figure:
    """Accuracy against the mean cost of an answer, on a logarithmic axis; one panel per test, one point per cell.

    table: what `cost.per_right_answer` returns at `level`; cost: one of its costs.
    """
    rows = table[table.cost == cost]
    tests = sorted(rows.test.unique())
    figure = Figure(figsize=(2.6 + 3.4 * len(tests), 3.6), layout="constrained")
    handles: dict = {}
    for axes, test in zip(figure.subplots(1, len(tests), squeeze=False, sharey=True)[0], tests):
        for r in rows[rows.test == test].itertuples():
            look = {"color": shown()[r.method].colour, "zorder": 3} if r.method in shown() else {"color": "#332288"}
            marker = shown()[r.method].marker if r.method in shown() else "h"
            axes.vlines(r.per_answer, 100 * r.ci_low, 100 * r.ci_high, linewidth=1.4, **look)
            dot = {"linestyle": "none", "markersize": 7, "markeredgecolor": "white", "markeredgewidth": 0.5}
            [handles[label(r.method)]] = axes.plot(r.per_answer, 100 * r.accuracy, marker=marker, **dot, **look)
        axes.set_xscale("log")
        axes.set_title(test, fontweight="bold")
        axes.set_xlabel(f"{NAMES.get(cost, cost)} of an answer")
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    caption(figure, f"line: {100 * level:g} % interval of the accuracy; upper left is better")
    return figure


@looks
def over_seeds(table: pd.DataFrame, level: float = 0.95) -> Figure:
    """The difference of each seed to the base as a dot, with the interval over seeds and items; one panel per task.

    table: what `seeds.over_seeds` returns at `level`, of which greedy answers to tests on the training set are drawn.
    """
    rows = table[(table.against == "base") & (table.train == table.test) & (table.decoding == "greedy")]
    tasks = sorted(rows.train.unique())
    methods = [name for name in shown() if name in set(rows.method)]
    figure = Figure(figsize=(1.8 + 3.9 * len(tasks), 1.0 + 0.42 * len(methods)), layout="constrained")
    for axes, task in zip(figure.subplots(1, len(tasks), squeeze=False, sharey=True)[0], tasks):
        axes.axvline(0, color="#777777", linewidth=1, zorder=1)
        for row in rows[rows.train == task].itertuples():
            y, colour = methods.index(row.method), shown()[row.method].colour
            axes.hlines(y, 100 * row.low, 100 * row.high, color=colour, linewidth=1.6, zorder=2)
            axes.plot(100 * row.difference, y, "|", color=colour, markersize=12, markeredgewidth=2, zorder=3)
            dots = 100 * (np.array(row.accuracies) - np.array(row.against_accuracies))
            axes.plot(dots, np.full(len(dots), y - 0.22), "o", color=colour, zorder=4)
        axes.set_yticks(range(len(methods)), [label(name) for name in methods])
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_title(f"trained and tested on {task}", fontweight="bold")
        axes.set_xlabel("difference to base (percentage points)")
    caption(figure, f"dots: seeds; bar: their mean; line: {100 * level:g} % interval over seeds and test problems")
    return figure
