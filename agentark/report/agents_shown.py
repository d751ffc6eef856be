"""The number of agents for reading: the figure of debates beside votes, that of both layouts' tokens, and tables."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from agentark.mas import prompts
from agentark.mas.protocol import protocols

from . import show
from .agents import AXIS
from .figures import GREY, caption, looks
from .protocols import DEBATE, VOTE

COLOURS = dict(zip(prompts.LAYOUTS, ("#0072B2", "#D55E00"), strict=True))
POINT: dict[str, Any] = {"markersize": 6.5, "markeredgecolor": "white", "markeredgewidth": 0.5}


@looks
def answers(ways: pd.DataFrame, votes: pd.DataFrame, level: float = 0.95) -> Figure:
    """Debates and votes of one teacher and task: against the number of agents, and against completions a problem.

    ways, votes: what `protocols.ways` and `agents.votes` return at `level`.  Raises ValueError if there is no debate.
    """
    debates = ways[ways.protocol == DEBATE]
    if debates.empty:
        raise ValueError("there is no debate beside a vote of as many samples: nothing to draw")
    figure = Figure(figsize=(9.2, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    look = {name: (protocols()[name].label, protocols()[name].colour) for name in (DEBATE, VOTE)}
    for axes, column in ((left, AXIS), (right, "completions")):
        part = debates.assign(x=debates[column].astype(float)).sort_values("x")
        axes.vlines(part.x, 100 * part.ci_low, 100 * part.ci_high, color=look[DEBATE][1], linewidth=1.2)
        axes.plot(part.x, 100 * part.accuracy, marker="o", color=look[DEBATE][1], label=look[DEBATE][0], **POINT)
    left.plot(part.sort_values(AXIS)[AXIS].astype(float), 100 * part.sort_values(AXIS).vote, marker="s",
              linestyle="--", color=look[VOTE][1], label=look[VOTE][0], **POINT)  # fmt: skip
    right.fill_between(votes.samples, 100 * votes.low, 100 * votes.high, color=look[VOTE][1], alpha=0.12, linewidth=0)
    right.plot(votes.samples, 100 * votes.accuracy, marker="s", linestyle="--", color=look[VOTE][1], **POINT)
    if (votes.samples == 1).any():
        alone = 100 * votes[votes.samples == 1].accuracy.iloc[0]
        for axes in (left, right):
            axes.axhline(alone, color=GREY, linewidth=1.2, zorder=1, label="one sample")
    _scale(left, debates[AXIS], "agents")
    _scale(right, votes.samples, "completions a problem")
    left.set_ylabel("accuracy (%)")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    percent = f"{100 * level:g} %"
    caption(figure, f"left: each vote has as many samples as the debate generated; bars and band: {percent} intervals")
    return figure


@looks
def tokens(table: pd.DataFrame) -> Figure:
    """The prompt tokens of a second round against the number of agents, in both layouts: read, and computed.

    table: what `agents.tokens` returns for one teacher and task.
    """
    figure = Figure(figsize=(5.6, 3.7), layout="constrained")
    axes = figure.subplots()
    for layout, part in table.groupby("layout", sort=False):
        x, colour = part[AXIS].astype(float), COLOURS[str(layout)]
        axes.plot(x, part["read"], linestyle=":", marker="o", color=colour, label=f"{layout}: all", **POINT)
        axes.plot(x, part.computed, marker="o", color=colour, label=f"{layout}: without shared prefixes", **POINT)
    axes.set_yscale("log")
    _scale(axes, table[AXIS], "agents")
    axes.set_ylabel("prompt tokens a problem, second round")
    axes.legend(fontsize=8)
    return figure


def _scale(axes: Axes, values: pd.Series, label: str) -> None:
    """A logarithmic axis with a tick at each value."""
    ticks = sorted(set(values.astype(float)))
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel(label)


def ways(table: pd.DataFrame) -> pd.DataFrame:
    """`protocols.ways` for reading, with the number of agents."""
    table = table.assign(**{AXIS: table[AXIS].astype(int)}).sort_values(["teacher", "task", AXIS], ignore_index=True)
    shown = show.protocols(table).drop(columns="protocol")
    shown.insert(2, "agents", table[AXIS])
    return shown


def votes(table: pd.DataFrame) -> pd.DataFrame:
    """`agents.votes` for reading: accuracies in % with their interval."""
    names = {"samples": table.samples, "n": table.n}
    accuracies = [show.interval(r.accuracy, r.low, r.high) for r in table.itertuples()]
    return pd.DataFrame(names | {"accuracy (%) [95 %]": accuracies, "tokens": table.tokens_out.round().astype(int)})


def prompt_tokens(table: pd.DataFrame) -> pd.DataFrame:
    """`agents.tokens` for reading."""
    rows = []
    for r in table.rename(columns={AXIS: "agents"}).itertuples():
        row = {"agents": r.agents, "layout": r.layout, "problems": r.problems, "prompt tokens": f"{r.read:,.0f}"}
        row |= {"without shared prefixes [95 %]": f"{r.computed:,.0f} [{r.low:,.0f}, {r.high:,.0f}]"}
        logged = "" if pd.isna(r.as_logged) else f"{r.as_logged:.0f} of {r.revised}"
        rows.append(row | {"as in the log": logged})
    return pd.DataFrame(rows)
