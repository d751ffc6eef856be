"""The figures: pure functions of tables, returning a matplotlib Figure.

No pyplot: nothing global is changed, nothing stays open, and any backend will do.  A method has one colour and one marker
in every figure; the colours are Okabe and Ito's and Tol's, which colour-blind readers can tell apart.
A mean over cells is drawn with the mean of the cells' interval ends: cells share their test items, so that averaging does not
make an interval narrower as it would for independent ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .tables import MAIN, METHODS, check, gains

STYLES = {  # method: (name, colour, marker)
    "base": ("base", "#777777", "o"),
    "base_majority": ("base, majority vote", "#222222", "s"),
    "sft": ("SFT on answers", "#E69F00", "^"),
    "continued": ("continued on gold", "#999933", "v"),
    "rsft_single": ("R-SFT, single agent", "#CC79A7", "P"),
    "rsft": ("R-SFT", "#0072B2", "D"),
    "da": ("DA", "#009E73", "X"),
    "pad": ("PAD", "#D55E00", "p"),
    "ppo": ("PAD by PPO", "#882255", "<"),
    "pad_shuffled": ("PAD, shuffled labels", "#56B4E9", ">"),
    "rlvr": ("GRPO on right answers", "#117733", "d"),
}
OTHERS = (("#332288", "h"), ("#AA4499", "*"))  # methods that have no style of their own
LINES = ("--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
PROTOCOLS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#222222")
GREY = "#555555"
STEPS = [1, 2, 5, 10]  # of tick labels
LOOK = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999", "axes.grid": True, "axes.axisbelow": True,
    "grid.color": "#E6E6E6", "grid.linewidth": 0.8, "xtick.color": "#333333", "ytick.color": "#333333", "figure.dpi": 100,
    "xtick.major.size": 3, "ytick.major.size": 0, "legend.frameon": False, "pdf.fonttype": 42, "figure.facecolor": "white",
}  # fmt: skip
ROUNDS = ["round", "protocol", "task", "single_accuracy", "single_low", "single_high", "consensus_accuracy", "consensus_low",
          "consensus_high"]  # fmt: skip


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
    known = [m for m in METHODS if m in present]
    unknown = sorted(present - set(METHODS))
    return {m: STYLES[m] for m in known} | {m: (m, *OTHERS[i % len(OTHERS)]) for i, m in enumerate(unknown)}


def _point(
    axes, y: float, part: pd.DataFrame, columns: tuple, colour: str, marker: str, size: float = 7, label: bool = True
):
    """The mean of `part` at height y with its interval and its value, and each cell as a faint dot under it (percent)."""
    mean, low, high = (100 * part[c].mean() for c in columns)
    axes.plot([low, high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=3)
    axes.plot(
        [mean],
        [y],
        marker=marker,
        color=colour,
        markersize=size,
        markeredgecolor="white",
        markeredgewidth=0.7,
        zorder=4,
    )
    if len(part) > 1:
        axes.plot(
            100 * part[columns[0]], np.full(len(part), y + 0.25), "|", color=colour, alpha=0.55, markersize=5, zorder=2
        )
    if label:
        text = f"{mean:.1f}" if columns[0] == "accuracy" else f"{round(mean, 1) + 0.0:+.1f}".replace("-", "−")
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        axes.annotate(
            text,
            (high, y),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=colour,
            bbox=box,
            zorder=5,
        )


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


def _empty(axes, sentence: str) -> None:
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_axis_off()  # clearing its ticks would clear those of the axes that it shares with


def _grid(rows: int, columns: int, width: float, height: float, **kwargs) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(width * columns + 1.6, height * rows + 0.5), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


@looks
def by_method(main: pd.DataFrame, level: float = 0.95) -> Figure:
    """Mean accuracy of each method, a panel a test, with each teacher's debate as a line (the paper's Fig. 2, right).

    main: what `tables.main_results` returns at `level`; ValueError where it is empty or lacks a column.
    """
    check(main, MAIN, "main results")
    students = main[~main["method"].str.startswith("teacher_")]
    debates = main[main["method"] == "teacher_debate"]
    styles, tests = _methods(students["method"]), sorted(main["test"].unique())
    figure, grid = _grid(1, len(tests), 4.2, 0.36 * len(styles) + 1.3, sharey=True)
    for axes, test in zip(grid[0], tests, strict=True):
        here = students[students["test"] == test]
        for y, (method, (_, colour, marker)) in enumerate(styles.items()):
            part = here[here["method"] == method]
            if len(part):
                _point(axes, y, part, ("accuracy", "ci_low", "ci_high"), colour, marker)
        lines = debates[debates["test"] == test].groupby("teacher")["accuracy"].mean()
        for i, (teacher, accuracy) in enumerate(lines.items()):
            label = f"debate of {teacher}: {100 * accuracy:.1f}"
            axes.axvline(
                100 * accuracy, color="black", linewidth=1.2, linestyle=LINES[i % len(LINES)], zorder=1, label=label
            )
        if len(lines):
            axes.legend(
                loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, borderpad=0.2, fontsize=8, labelspacing=0.25
            )
        _rows(axes, [name for name, _, _ in styles.values()])
        _room(axes)
        axes.set_title(test, fontweight="bold")
        axes.set_xlabel("accuracy (%)")
    figure.supxlabel(
        f"mean over cells with the cells' mean {100 * level:g} % interval; ticks below: each cell",
        fontsize=8,
        color=GREY,
    )
    return figure


@looks
def in_and_out_of_domain(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> Figure:
    """Gain over base in and out of the training set's domain, a row of panels a test (the paper's Fig. 3a).

    With `paired` (from `tables.comparisons`) the intervals are paired ones; without, they are wider than need be.
    """
    gained = gains(main, paired)
    styles, tests = _methods(gained["method"]), sorted(gained["test"].unique()) or ["-"]
    figure, grid = _grid(len(tests), 2, 3.9, 0.36 * max(3, len(styles)) + 1.0, sharex="row")
    for row, test in zip(grid, tests, strict=True):
        for axes, inside in zip(row, (True, False), strict=True):
            here = gained[(gained["test"] == test) & (gained["in_domain"] == inside)]
            axes.set_title(f"{test}, trained {'in' if inside else 'out of'} domain", fontweight="bold")
            if len(here):
                axes.axvline(0, color="#777777", linewidth=1, zorder=1)
            for y, (method, (_, colour, marker)) in enumerate(styles.items()):
                part = here[here["method"] == method]
                if len(part):
                    _point(axes, y, part, ("difference", "low", "high"), colour, marker)
            axes.set_xlabel("gain over base (percentage points)")
        sides, named = set(gained.loc[gained["test"] == test, "in_domain"]), False
        for axes, inside in zip(row, (True, False), strict=True):
            _rows(axes, [""] * len(styles) if named else [name for name, _, _ in styles.values()])
            if inside in sides:
                named = True  # the first panel that is drawn names the methods
            else:
                _empty(axes, "no such cell with a base")
        _room(row[0])
    kind = "unpaired" if paired is None else "paired"
    figure.supxlabel(
        f"mean over cells with the cells' mean 95 % interval ({kind}); ticks below: each cell", fontsize=8, color=GREY
    )
    return figure


@looks
def by_dataset_and_student(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> Figure:
    """Gain over base by training set (left) and by student (right), a row of panels a test (the paper's Fig. 3b)."""
    gained = gains(main, paired)
    styles, tests = _methods(gained["method"]), sorted(gained["test"].unique()) or ["-"]
    most = max(gained["train"].nunique(), gained["student"].nunique(), 1)
    figure, grid = _grid(len(tests), 2, 3.9, most * (0.17 * len(styles) + 0.2) + 1.0, sharex="row")
    for row, test in zip(grid, tests, strict=True):
        here = gained[gained["test"] == test]
        for axes, by, title in zip(row, ("train", "student"), ("by training set", "by student"), strict=True):
            groups = sorted(here[by].unique())
            axes.set_title(f"{test}, {title}", fontweight="bold")
            axes.set_xlabel("gain over base (percentage points)")
            if here.empty:
                _empty(axes, "no such cell with a base")
                continue
            axes.axvline(0, color="#777777", linewidth=1, zorder=1)
            for y, group in enumerate(groups):
                if y:
                    axes.axhline(y - 0.5, color="#E6E6E6", linewidth=0.8, zorder=0)
                for i, (method, (_, colour, marker)) in enumerate(styles.items()):
                    part = here[(here[by] == group) & (here["method"] == method)]
                    if len(part):
                        at = y + 0.8 * ((i + 0.5) / len(styles) - 0.5)
                        mean = (
                            part[["difference", "low", "high"]].mean().to_frame().T
                        )  # the mean only: too dense for each cell
                        _point(axes, at, mean, ("difference", "low", "high"), colour, marker, size=5.5, label=False)
        for axes, by in zip(row, ("train", "student"), strict=True):
            if not here.empty:
                _rows(axes, sorted(here[by].unique()))
    handles = [
        Line2D([], [], color=c, marker=m, markeredgecolor="white", markersize=7, linewidth=1.8, label=n)
        for n, c, m in styles.values()
    ]
    if handles:
        figure.legend(
            handles=handles,
            loc="outside upper left",
            ncols=len(handles) if len(handles) <= 6 else (len(handles) + 1) // 2,
            fontsize=8.5,
        )
    kind = "unpaired" if paired is None else "paired"
    figure.supxlabel(f"mean over cells with the cells' mean 95 % interval ({kind})", fontsize=8, color=GREY)
    return figure


def _spread(values: list[float], gap: float) -> list[float]:
    """The values, moved apart to at least `gap`, in their order, each group about its own middle."""
    order = np.argsort(values, kind="stable")
    groups: list[
        list[float]
    ] = []  # each [sum of wanted starts, size]: pool neighbours that touch (isotonic regression)
    for rank, at in enumerate(order):
        groups.append([values[at] - rank * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, size = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + size]
    starts = np.repeat([total / size for total, size in groups], [int(size) for _, size in groups])
    moved = np.empty(len(values))
    moved[order] = starts + np.arange(len(values)) * gap
    return moved.tolist()


@looks
def debate_rounds(rounds: pd.DataFrame) -> Figure:
    """Accuracy over the rounds of a debate, a panel a task: the consensus (solid) and its single agents (dashed).

    rounds: a row for every round, protocol and task, with the columns of ROUNDS, accuracies and interval ends as fractions.
    """
    check(rounds, ROUNDS, "rounds")
    if rounds.duplicated(["round", "protocol", "task"]).any():
        raise ValueError("rounds have a row twice: the same round, protocol and task")
    protocols, tasks = sorted(rounds["protocol"].unique()), sorted(rounds["task"].unique())
    figure, grid = _grid(1, len(tasks), 3.9, 3.4)
    for axes, task in zip(grid[0], tasks, strict=True):
        here, ends = rounds[rounds["task"] == task].sort_values("round"), []
        for i, protocol in enumerate(protocols):
            part, colour = here[here["protocol"] == protocol], PROTOCOLS[i % len(PROTOCOLS)]
            for j, (kind, line, marker) in enumerate((("consensus", "-", "o"), ("single", "--", "s"))):
                if part.empty:
                    continue
                x = part["round"] + 0.035 * (
                    2 * i + j - len(protocols) + 0.5
                )  # side by side, so that no bar hides another
                low, middle, high = (100 * part[f"{kind}_{c}"] for c in ("low", "accuracy", "high"))
                axes.vlines(x, low, high, color=colour, linewidth=1.4, alpha=0.7)
                axes.plot(
                    x, middle, line, color=colour, marker=marker, markersize=5.5, markeredgecolor="white", linewidth=1.6
                )
                ends.append(
                    (middle.iloc[-1], f"{protocol}: {'consensus' if kind == 'consensus' else 'single agent'}", colour)
                )
        axes.margins(y=0.08)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high)
        for (_, text, colour), y in zip(ends, _spread([end[0] for end in ends], 0.058 * (high - low)), strict=True):
            axes.annotate(text, (1, y), (6, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                          fontsize=8, color=colour, annotation_clip=False)  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=STEPS))
        axes.set_xticks(sorted(here["round"].unique()))
        axes.set_title(task, fontweight="bold")
        axes.set_xlabel("debate round")
        axes.set_ylabel("accuracy (%)")
    figure.supxlabel("bars: 95 % interval; solid: consensus, dashed: mean single agent", fontsize=8, color=GREY)
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


__all__ = ["STYLES", "by_dataset_and_student", "by_method", "debate_rounds", "in_and_out_of_domain", "save"]
