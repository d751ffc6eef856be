"""The figure of reward models on several backbones: what each way to select knows against what its policy gains."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agentark.cells.cell import NONE
from agentark.models.names import display_name

from .capacity import BACKBONE, LIKELIHOOD
from .figures import GREY, caption, looks
from .methods import shown
from .show import label

MARKERS = "osD^vPX"  # of backbones
NO_BACKBONE = "p"
ROWS = {  # x axes: the columns of a value and of its interval
    "right among the best of N dev samples (%)": ("exam", "exam_low", "exam_high"),
    "right among the kept training samples (%)": ("kept", "kept_low", "kept_high"),
}


def _look(method: str) -> dict[str, Any]:
    """How a method's points are drawn: hollow if nothing was trained on steps but a network scores all the same."""
    colour = shown()[method].colour
    look: dict[str, Any] = {"color": colour, "markersize": 8}
    return look | ({"markerfacecolor": "white"} if method == LIKELIHOOD else {"markeredgecolor": "white"})


@looks
def exam_and_gain(points: pd.DataFrame, level: float = 0.95) -> Figure:
    """The gain over the untrained policy against the examination, one column of panels per policy, in % and points.

    points: what `capacity.points` returns at `level`.  Above: the examination's best of N on the policy's own samples
    of dev problems; below: the samples that were imitated.  Raises ValueError if there is no point.
    """
    if points.empty:
        raise ValueError("no policy was trained on samples that a reward model has chosen: there is nothing to draw")
    policies = list(dict.fromkeys(points.student))
    backbones = [name for name in dict.fromkeys(points[BACKBONE]) if name != NONE]
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(backbones)} | {NONE: NO_BACKBONE}
    figure = Figure(figsize=(3.0 + 3.3 * len(policies), 6.4), layout="constrained")
    grid = figure.subplots(len(ROWS), len(policies), squeeze=False, sharey=True)
    for line, (name, columns) in zip(grid, ROWS.items()):
        for axes, policy in zip(line, policies):
            axes.axhline(0, color=GREY, linewidth=1)
            for r in points[points.student == policy].to_dict("records"):
                x, left, right = (100 * r[column] for column in columns)
                y, low, high = (100 * r[column] for column in ("gain", "gain_low", "gain_high"))
                colour = shown()[r["method"]].colour
                if pd.notna(left):
                    axes.hlines(y, left, right, color=colour, linewidth=0.8, alpha=0.5)
                axes.vlines(x, low, high, color=colour, linewidth=1.4, alpha=0.8)
                axes.plot(x, y, markers[r[BACKBONE]], **_look(r["method"]))
            axes.set_xlabel(name)
    for axes, policy in zip(grid[0], policies):
        axes.set_title(f"policy:\n{display_name(policy)}", fontweight="bold")
    for axes in grid[:, 0]:
        axes.set_ylabel("gain over the untrained policy (points)")
    methods = [name for name in shown() if name in set(points.method)]
    handles = [Line2D([], [], linestyle="none", marker="s", label=label(name), **_look(name)) for name in methods]
    grey: dict[str, Any] = {"linestyle": "none", "color": GREY, "markersize": 8}
    handles += [Line2D([], [], marker=markers[name], label=display_name(name), **grey) for name in backbones]
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    lines = f"lines: {100 * level:g} % intervals; of the gain, of paired differences to the untrained policy"
    caption(figure, f"{lines}; n of the examination is that of its dev problems")
    return figure
