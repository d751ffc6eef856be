"""The figures of a study: pure functions of tables, returning a matplotlib Figure.

No pyplot: nothing global is changed, nothing stays open, and any backend will do.  A method has one colour and one
marker in every figure; the colours are Okabe and Ito's and Tol's, which colour-blind readers can tell apart. Every cell
(one student, trained on one set, in one test) is drawn with its own interval.  A mean over cells is a line without an
interval: how much cells differ is seen from the cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from agentark.cells.cell import NONE
from agentark.mas.protocol import protocols
from agentark.models.names import display_name

from .methods import debates, shown
from .tables import MAIN, check, gains

OTHERS = (("#332288", "h"), ("#AA4499", "*"))  # methods that have no style of their own
LINES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
GREY = "#555555"
EACH_CELL = "each point: one student and training set, with its {:g} % interval; bar and number: the mean of the points"
STEPS = [1, 2, 5, 10]  # of tick labels
LOOK = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.labelsize": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#E6E6E6", "grid.linewidth": 0.8,
    "xtick.color": "#333333", "ytick.color": "#333333", "figure.dpi": 100, "xtick.major.size": 3,
    "ytick.major.size": 0, "legend.frameon": False, "pdf.fonttype": 42, "figure.facecolor": "white",
}  # fmt: skip
ROUNDS = ["round", "protocol", "task", "single_accuracy", "single_low", "single_high"]
ROUNDS += ["consensus_accuracy", "consensus_low", "consensus_high"]


def looks(draw):
    """Draw in our look, whatever the caller's rcParams are, and leave them as they were."""

    @wraps(draw)
    def inside(*args, **kwargs):
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(LOOK)
            return draw(*args, **kwargs)

    return inside


def _methods(present: Iterable[str]) -> dict[str, tuple]:
    """The style of each method present, in reading order."""
    present = set(present)
    known = {name: (m.label, m.colour, m.marker) for name, m in shown().items() if name in present}
    unknown = sorted(present - set(known))
    return known | {name: (name, *OTHERS[i % len(OTHERS)]) for i, name in enumerate(unknown)}


def _cells(axes, y: float, part: pd.DataFrame, columns: tuple, colour: str, marker: str, height: float = 0.72) -> None:
    """Every cell of `part` with its own interval, about height y, and the value of their mean (percent).

    No interval is drawn for the mean: it would have to contain the spread between cells, of which there are few.
    """
    values, lows, highs = (100 * part[c].to_numpy() for c in columns)
    heights = y + height * ((np.arange(len(part)) + 0.5) / len(part) - 0.5)
    thin = len(part) > 1
    axes.hlines(heights, lows, highs, color=colour, linewidth=1.0 if thin else 1.8, alpha=0.6 if thin else 1, zorder=3)
    look: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5, "color": colour, "zorder": 4}
    axes.plot(values, heights, linestyle="none", marker=marker, markersize=4.5 if thin else 7, **look)
    mean = values.mean()
    if thin:
        axes.vlines(mean, y - height / 2, y + height / 2, color=colour, linewidth=2, zorder=2)
    text = f"{mean:.1f}" if columns[0] == "accuracy" else f"{round(mean, 1) + 0.0:+.1f}".replace("-", "−")
    box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    place = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "zorder": 5, "bbox": box}
    axes.annotate(text, (highs.max(), y), fontsize=8, color=colour, **place)


def _rows(axes, names: list[str]) -> None:
    """Categories from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=STEPS))


def _room(axes, share: float = 0.12) -> None:
    """Room at the right for the values; once for axes that share their x, when all is drawn."""
    left, right = axes.get_xlim()
    axes.set_xlim(left, right + share * (right - left))


def _grid(rows: int, columns: int, width: float, height: float, **kwargs) -> tuple[Figure, np.ndarray]:
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.5), layout=layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


@looks
def by_method(main: pd.DataFrame, level: float = 0.95) -> Figure:
    """Accuracy of each method, one panel per test, with each teacher's debate as a line (the paper's Fig. 2, right).

    Where a test's own task is a training set, students of other sets are drawn hollow and are not in the mean.

    main: what `tables.main_results` returns at `level`.  Raises ValueError if it is empty or lacks a column.
    """
    check(main, MAIN, "main results")
    students = main[main["student"] != "-"]
    teachers = main[main["method"].isin(debates())]
    styles, tests = _methods(students["method"]), sorted(main["test"].unique())
    figure, grid = _grid(1, len(tests), 4.2, _height(students, "method") * len(styles) + 1.3, sharey=True)
    for axes, test in zip(grid[0], tests, strict=True):
        here = students[students["test"] == test]
        others = (here["train"] != test) & (here["train"] != NONE) & (here["train"] == test).any()
        _hollow(axes, here[others], styles)
        _all_methods(axes, here[~others], styles, ("accuracy", "ci_low", "ci_high"))
        lines = teachers[teachers["test"] == test].groupby("teacher")["accuracy"].mean()
        for i, (teacher, accuracy) in enumerate(lines.items()):
            label = f"debate of {display_name(teacher)}: {100 * accuracy:.1f}"
            line = {"linewidth": 1.2, "linestyle": LINES[i % len(LINES)], "zorder": 1}
            axes.axvline(100 * accuracy, color="black", label=label, **line)
        if len(lines):
            place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0, "borderpad": 0.2}
            axes.legend(fontsize=8, labelspacing=0.25, **place)
        _rows(axes, [name for name, _, _ in styles.values()])
        _room(axes)
        axes.set_title(test, fontweight="bold")
        axes.set_xlabel("accuracy (%)")
    caption(figure, f"{EACH_CELL.format(100 * level)}; hollow: trained on another task, and not in the mean")
    return figure


def _hollow(axes, part: pd.DataFrame, styles: dict) -> None:
    """The cells of each method as hollow points, in the rows of `_all_methods`."""
    for y, (method, (_, colour, _)) in enumerate(styles.items()):
        cells = part[part["method"] == method]
        values, lows, highs = (100 * cells[c].to_numpy() for c in ("accuracy", "ci_low", "ci_high"))
        axes.hlines([y] * len(values), lows, highs, color=colour, linewidth=1.0, alpha=0.6, zorder=1)
        look: dict[str, Any] = {"marker": "o", "markersize": 4.5, "markerfacecolor": "white", "color": colour}
        axes.plot(values, [y] * len(values), linestyle="none", zorder=2, **look)


@looks
def in_and_out_of_domain(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> Figure:
    """Gain over base in and out of the training set's domain, one panel per test and side (the paper's Fig. 3a).

    With `paired` (from `tables.comparisons`) the intervals are paired ones; without it they are wider than necessary.
    A side for which a test has no student has no panel.
    """
    gained = gains(main, paired)
    if gained.empty:
        return _nothing()
    styles, panels = _methods(gained["method"]), []
    for test, part in gained.groupby("test"):
        panels += [(test, inside, part[part["in_domain"] == inside]) for inside in (True, False)]
    panels = [panel for panel in panels if len(panel[2])]
    columns = min(2, len(panels))
    height = _height(gained, "method", "test", "in_domain") * len(styles) + 1.0
    figure, grid = _grid(-(-len(panels) // columns), columns, 3.9, height, sharey=True)
    for axes, (test, inside, part) in zip(grid.flat, panels):
        axes.axvline(0, color="#777777", linewidth=1, zorder=1)
        _all_methods(axes, part, styles, ("difference", "low", "high"))
        _rows(axes, [name for name, _, _ in styles.values()])
        _room(axes)
        axes.set_title(f"{test}, trained {'in' if inside else 'out of'} domain", fontweight="bold")
        axes.set_xlabel("gain over base (percentage points)")
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    caption(figure, f"{EACH_CELL.format(95)} ({'unpaired' if paired is None else 'paired'})")
    return figure


@looks
def by_dataset_and_student(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> Figure:
    """Gain over base by training set (left) and by student (right), one row of panels per test (the paper's Fig. 3b).

    The column of a coordinate that has one value only is left out, if the other one has several.
    """
    gained = gains(main, paired)
    if gained.empty:
        return _nothing()
    gained = gained.assign(student=gained["student"].map(display_name))
    styles, tests = _methods(gained["method"]), sorted(gained["test"].unique())
    groupings = [by for by in ("train", "student") if gained[by].nunique() > 1] or ["train"]
    lines = max(gained.groupby(["test", by, "method"]).size().max() for by in groupings)
    most = max(gained[by].nunique() for by in groupings)
    height = most * (0.17 * max(1, 0.3 * lines) * len(styles) + 0.2) + 1.0
    figure, grid = _grid(len(tests), len(groupings), 3.9, height, sharex="row")
    for row, test in zip(grid, tests, strict=True):
        part = gained[gained["test"] == test]
        for axes, by in zip(row, groupings, strict=True):
            groups = sorted(part[by].unique())
            axes.axvline(0, color="#777777", linewidth=1, zorder=1)
            for y, group in enumerate(groups):
                if y:
                    axes.axhline(y - 0.5, color="#E6E6E6", linewidth=0.8, zorder=0)
                _all_methods(axes, part[part[by] == group], styles, ("difference", "low", "high"), y, 0.8 / len(styles))
            _rows(axes, groups)
            axes.set_title(f"{test}, by {'training set' if by == 'train' else by}", fontweight="bold")
            axes.set_xlabel("gain over base (percentage points)")
        _room(row[0])
    look: dict[str, Any] = {"markeredgecolor": "white", "markersize": 7, "linewidth": 1.8}
    handles = [Line2D([], [], color=c, marker=m, label=n, **look) for n, c, m in styles.values()]
    columns = len(handles) if len(handles) <= 3 * len(groupings) else (len(handles) + 1) // 2
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, fontsize=8.5)
    caption(figure, f"{EACH_CELL.format(95)} ({'unpaired' if paired is None else 'paired'})")
    return figure


def _all_methods(axes, part: pd.DataFrame, styles: dict, columns: tuple, y: float = 0, step: float = 1) -> None:
    """The cells of each method below one another, `step` apart: from y downwards, or around y if `step` is below 1."""
    top = y - step * (len(styles) - 1) / 2 if step < 1 else y
    for i, (method, (_, colour, marker)) in enumerate(styles.items()):
        cells = part[part["method"] == method]
        if len(cells):
            _cells(axes, top + i * step, cells, columns, colour, marker, 0.72 * step)


def _height(frame: pd.DataFrame, *by: str) -> float:
    """The height of a row in inches, so that the intervals of all its cells can be told apart."""
    tests = ["test"] if "test" not in by else []
    return max(0.36, 0.075 * frame.groupby([*by, *tests]).size().max()) if len(frame) else 0.36


def _nothing() -> Figure:
    figure, grid = _grid(1, 1, 3.9, 0.6)
    sentence = "no student was trained here: there is no gain over base"
    grid[0, 0].text(0.5, 0.5, sentence, transform=grid[0, 0].transAxes, ha="center", va="center", color=GREY)
    grid[0, 0].set_axis_off()
    return figure


def caption(figure: Figure, text: str) -> None:
    """Explain a figure in small letters below it, in lines that fit its width."""
    figure.supxlabel(fill(text, int(14 * figure.get_figwidth())), fontsize=8, color=GREY)


def _spread(values: list[float], gap: float) -> list[float]:
    """The values, moved apart to at least `gap`, in their order, each group about its own middle."""
    order = np.argsort(values, kind="stable")
    # each group is [sum of the starts, size]; neighbours that touch are pooled (isotonic regression)
    groups: list[list[float]] = []
    for rank, index in enumerate(order):
        groups.append([values[index] - rank * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, size = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + size]
    starts = np.repeat([total / size for total, size in groups], [int(size) for _, size in groups])
    moved = np.empty(len(values))
    moved[order] = starts + np.arange(len(values)) * gap
    return moved.tolist()


@looks
def debate_rounds(rounds: pd.DataFrame, level: float = 0.95) -> Figure:
    """Accuracy over the rounds of a debate, one panel per task: the consensus (solid) and its single agents (dashed).

    rounds: one row per round, protocol and task, with the columns of ROUNDS, accuracies and interval ends as fractions.
    """
    check(rounds, ROUNDS, "rounds")
    if rounds.duplicated(["round", "protocol", "task"]).any():
        raise ValueError("rounds have a row twice: the same round, protocol and task")
    names, tasks = sorted(rounds["protocol"].unique()), sorted(rounds["task"].unique())
    figure, grid = _grid(1, len(tasks), 3.9, 3.4)
    for axes, task in zip(grid[0], tasks, strict=True):
        here, ends = rounds[rounds["task"] == task].sort_values("round"), []
        for i, protocol in enumerate(names):
            declared = protocols().get(protocol)
            part, colour = here[here["protocol"] == protocol], declared.colour if declared else f"C{i}"
            for j, (kind, line, marker) in enumerate((("consensus", "-", "o"), ("single", "--", "s"))):
                if part.empty:
                    continue
                x = part["round"] + 0.035 * (2 * i + j - len(names) + 0.5)  # side by side, so that no bar hides another
                low, middle, high = (100 * part[f"{kind}_{c}"] for c in ("low", "accuracy", "high"))
                axes.vlines(x, low, high, color=colour, linewidth=1.4, alpha=0.7)
                look = {"marker": marker, "markersize": 5.5, "markeredgecolor": "white", "linewidth": 1.6}
                axes.plot(x, middle, line, color=colour, **look)
                name = declared.label if declared else protocol
                ends.append((middle.iloc[-1], f"{name}: {'consensus' if kind == 'consensus' else 'one agent'}", colour))
        axes.margins(y=0.08)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high)
        for (_, text, colour), y in zip(ends, _spread([end[0] for end in ends], 0.058 * (high - low)), strict=True):
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "annotation_clip": False}
            axes.annotate(text, (1, y), (6, 0), va="center", fontsize=8, color=colour, **place)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
        axes.set_xticks(sorted(here["round"].unique()))
        axes.set_title(task, fontweight="bold")
        axes.set_xlabel("debate round")
        axes.set_ylabel("accuracy (%)")
    caption(figure, f"bars: {100 * level:g} % interval; solid: consensus, dashed: mean of the single agents")
    return figure


@looks
def save(figure: Figure, path_without_suffix: str | Path) -> list[Path]:
    """Write .png (150 dpi) and .pdf, the same bytes for the same figure; returns both paths."""
    stem = Path(path_without_suffix)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf")]
    figure.savefig(paths[0], dpi=150, metadata={"Software": None})
    figure.savefig(paths[1], metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return paths
