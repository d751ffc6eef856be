"""Scores along an axis of a study for reading: the figure with a band over seeds, and tables in percent and points."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from agentark.cells.cell import NONE
from agentark.models.names import display_name

from .figures import GREY, caption, looks
from .methods import shown, trained
from .scaling import values
from .show import interval, label, network

NAMES = {"sizes.train": "debated problems", "debate.agents": "agents"}  # of axes


@looks
def along(table: pd.DataFrame, axis: str, level: float = 0.95, tokens: bool = False) -> Figure:
    """The score of each method against an axis, or against its `tokens`; one panel per student and test.

    table: what `scaling.along` returns at `level`, with tokens what `scaling.with_tokens` makes of it.  Band: from the
    lowest to the highest seed; bars: intervals.  The untrained student is a grey line with its interval, chance a
    dotted one.  Raises ValueError if nothing was trained at two values of the axis.
    """
    lines = table[table.method.map(trained) & (table[axis] != NONE)]
    if len(values(table, axis)) < 2 or lines.empty:
        raise ValueError(f"nothing to draw: no student was trained at two values of {axis}")
    panels = list(lines[["student", "test"]].drop_duplicates().itertuples(index=False))
    figure = Figure(figsize=(2.2 + 4.2 * len(panels), 3.9), layout="constrained")
    handles: dict[str, Any] = {}
    for axes, (student, test) in zip(figure.subplots(1, len(panels), squeeze=False, sharey=True)[0], panels):
        here = lines[(lines.student == student) & (lines.test == test)]
        base = table[(table.method == "base") & (table.student == student) & (table.test == test)]
        for r in base.head(1).itertuples():
            handles[label("base")] = axes.axhline(100 * r.accuracy, color=GREY, linewidth=1.2, zorder=1)
            axes.axhspan(100 * r.low, 100 * r.high, color=GREY, alpha=0.12, linewidth=0, zorder=0)
        handles["chance"] = axes.axhline(100 * here.chance.mean(), color=GREY, linewidth=1, linestyle=":", zorder=1)
        methods = [name for name in shown() if name in set(here.method)]
        for number, method in enumerate(methods):
            part, look = here[here.method == method], shown()[method]
            apart = 1.0 if tokens else 1.03 ** (number - (len(methods) - 1) / 2)  # so that no bar hides another
            x = (part.tokens if tokens else part[axis].astype(float) * apart).to_numpy()
            least, low, middle, high, most = (100 * part[c] for c in ("least", "low", "accuracy", "high", "most"))
            axes.fill_between(x, least, most, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
            axes.vlines(x, low, high, color=look.colour, linewidth=1.2, alpha=0.8, zorder=3)
            point: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.5}
            [handles[look.label]] = axes.plot(x, middle, marker=look.marker, color=look.colour, zorder=4, **point)
        axes.set_xscale("log")
        if not tokens:
            ticks = [float(value) for value in values(table, axis)]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        axes.set_title(fill(f"{display_name(student)}, {test}", 46), fontweight="bold")
        axes.set_xlabel("completion tokens trained on, all epochs" if tokens else NAMES.get(axis, axis))
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    spread = f"band: lowest to highest of {lines.seeds.max()} seeds; " if lines.seeds.max() > 1 else ""
    caption(figure, f"{spread}bars: {100 * level:g} % interval; grey: the untrained student with its interval")
    return figure


def scores(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """`scaling.along` for reading: names, scores in % with their 95 % interval, the range of the seeds, chance."""
    rows = []
    for row, r in zip(table.to_dict("records"), table.itertuples()):
        about = {
            "network": network(r),
            "method": label(r.method),
            "tested on": r.test,
            NAMES.get(axis, axis): row[axis],
        }
        about |= {"seeds": r.seeds, "n": r.n, "accuracy (%) [95 %]": interval(r.accuracy, r.low, r.high)}
        about |= {"by seed (%)": f"{100 * r.least:.1f} to {100 * r.most:.1f}" if r.seeds > 1 else ""}
        about |= {"chance (%)": f"{100 * r.chance:.1f}"}
        if "tokens" in table:
            about |= {"examples": _count(r.examples), "tokens trained on": _count(r.tokens)}
        rows.append(about)
    return pd.DataFrame(rows)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """`scaling.steps`, `scaling.at_equal_tokens` or `seeds.over_seeds` for reading: differences in points."""
    rows = []
    for row, r in zip(table.to_dict("records"), table.itertuples()):
        about = {"network": network(r), "method": label(r.method)}
        about |= {"against": label(row["against"])} if "against" in row else {}
        axes = {NAMES.get(name, name): value for name, value in row.items() if "." in name}
        about |= axes | {name: row[name] for name in ("from", "to", "below", "above") if name in row}
        about |= {"seeds": r.seeds, "n": r.n, "difference (points) [95 %]": interval(r.difference, r.low, r.high, "+")}
        about |= {"p": f"{r.p:.2g}", "Holm p": f"{r.p_holm:.2g}"}
        if "smallest_detectable" in row:
            about["detectable"] = f"{100 * r.smallest_detectable:.1f}"
        rows.append(about | {"verdict": r.verdict})
    return pd.DataFrame(rows)


def _count(value: float) -> str:
    """A mean count as text; empty for what was not trained."""
    return "" if pd.isna(value) else f"{value:,.0f}"
