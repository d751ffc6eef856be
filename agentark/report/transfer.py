"""The figure of transfer and forgetting: what changes on other tests against what is gained on the training task."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agentark.models.names import display_name

from .figures import GREY, caption, looks
from .methods import shown
from .show import label
from .tables import keys

MARKERS = "osD^vP*X"  # of tests
BESIDE = 0.5  # points by which the tests of one training are drawn apart


@looks
def transfer(cells: pd.DataFrame, level: float = 0.95) -> Figure:
    """The change of each test's own measure against that on the training task, one panel per student, in points.

    cells: what `ood.table` returns at `level`.  Right of 0 the training task has gained; above 0 something has been
    transferred, below it forgotten.  Raises ValueError if no student was tested on its training task and on another.
    """
    changed = cells[cells.headline & cells.difference.notna()]
    place = [c for c in keys(changed) if c != "test"]
    ends = ["difference", "diff_low", "diff_high"]
    own = changed[changed.in_domain][[*place, *ends]]
    points = changed[~changed.in_domain].merge(own, on=place, suffixes=("", "_own"))
    if points.empty:
        raise ValueError("no student was tested on its training task and on another one: there is nothing to draw")
    students, tests = list(dict.fromkeys(cells.student)), sorted(points.test.unique())
    figure = Figure(figsize=(2.2 + 3.3 * len(students), 3.8), layout="constrained")
    for axes, student in zip(figure.subplots(1, len(students), squeeze=False, sharex=True, sharey=True)[0], students):
        axes.axhline(0, color=GREY, linewidth=1)
        axes.axvline(0, color=GREY, linewidth=1)
        for r in points[points.student == student].to_dict("records"):
            x, left, right, y, low, high = (100 * r[c] for c in (*(f"{c}_own" for c in ends), *ends))
            x += BESIDE * (tests.index(r["test"]) - (len(tests) - 1) / 2)
            colour = shown()[r["method"]].colour if r["method"] in shown() else GREY
            axes.hlines(y, left, right, color=colour, linewidth=0.8, alpha=0.5)
            axes.vlines(x, low, high, color=colour, linewidth=1.4, alpha=0.8)
            axes.plot(x, y, MARKERS[tests.index(r["test"]) % len(MARKERS)], color=colour, markeredgecolor="white")
        axes.set_title(display_name(student), fontweight="bold")
        axes.set_xlabel("change on the training task (points)")
    figure.axes[0].set_ylabel("change on another test (points)")
    look: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "white"}
    names = [name for name in shown() if name in set(points.method)]
    handles = [Line2D([], [], marker="s", color=shown()[n].colour, label=label(n), **look) for n in names]
    handles += [
        Line2D([], [], marker=MARKERS[i % len(MARKERS)], color=GREY, label=t, **look) for i, t in enumerate(tests)
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=8)
    lines = f"lines: {100 * level:g} % intervals of the paired differences to the untrained student"
    caption(figure, f"{lines}; the tests of one training are drawn side by side")
    return figure
