"""The table of `alternatives` for reading, and its figure: accuracy against what a training took."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from .figures import GREY, caption, looks
from .methods import shown
from .show import interval, label


def table(gained: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """One row per study and method, the cheapest first: what its training took, its accuracy, and both differences.

    gained: `alternatives.gains`, cost: `alternatives.costs` of all studies.  In % and points, with 95 % intervals and
    the smallest difference that could have been found (power 80 %).
    """
    rows = []
    for r in _joined(gained, cost).itertuples():
        row = {"study": r.study, "method": label(r.method), "seeds": r.seeds, "n": r.n}
        row |= {"tokens trained": f"{r.tokens / 1000:,.0f} k"}
        row |= {
            "core-minutes": f"{'≤ ' if r.at_most else ''}{r.core_minutes:.2f}",
            "accuracy (%)": f"{100 * r.accuracy:.1f}",
        }
        for against in ("base", "rsft"):
            same = (gained.student == r.student) & (gained.study == r.study) & (gained.method == r.method)
            found = gained[same & (gained.test == r.test) & (gained.against == against)]
            names = [f"minus {label(against)} [95 %]", f"detectable ({against})", f"Holm p ({against})"]
            values = [("", "", "")] if found.empty else [
                (interval(f.difference, f.low, f.high, "+"), f"{100 * f.smallest_detectable:.1f}", f"{f.p_holm:.2g}")
                for f in found.itertuples()
            ]  # fmt: skip
            row |= dict(zip(names, values[0], strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def differences(gained: pd.DataFrame) -> pd.DataFrame:
    """`alternatives.gains` for reading: every comparison, with its test and its verdict."""
    rows = []
    for r in gained.itertuples():
        accuracies = (f"{100 * r.accuracy:.1f}", f"{100 * r.against_accuracy:.1f}")
        tested = (interval(r.difference, r.low, r.high, "+"), f"{100 * r.smallest_detectable:.1f}", f"{r.p:.2g}")
        compared = (r.study, label(r.method), label(r.against), r.seeds, r.n)
        rows.append((*compared, *accuracies, *tested, f"{r.p_holm:.2g}", r.verdict))
    columns = ["study", "method", "against", "seeds", "n", "accuracy (%)", "against (%)", "difference (points) [95 %]"]
    return pd.DataFrame(rows, columns=[*columns, "detectable", "p", "Holm p", "verdict"])


def _joined(gained: pd.DataFrame, cost: pd.DataFrame) -> pd.DataFrame:
    """The gains over the base with their costs, the cheapest first."""
    over = gained[gained.against == "base"]
    return over.merge(cost, on=["student", "train", "study", "method"]).sort_values("core_minutes", kind="stable")


@looks
def figure(gained: pd.DataFrame, cost: pd.DataFrame, level: float = 0.95) -> Figure | None:
    """The gain over the untrained student against core-minutes (left) and tokens (right), both on logarithmic axes.

    The arguments are those of `table`, gained at `level`.  None if nothing was gained or measured.
    """
    rows = _joined(gained, cost)
    if rows.empty:
        return None
    first, handles = cost.study.iloc[0], {}
    drawn = Figure(figsize=(9.4, 3.9), layout="constrained")
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, (column, name) in zip(
        panels, (("core_minutes", "core-minutes of training"), ("tokens", "tokens trained on"))
    ):
        axes.axhline(0, color=GREY, linewidth=1, zorder=1)
        for r in rows.itertuples():
            x, look = getattr(r, column), shown()[r.method]
            axes.vlines(x, 100 * r.low, 100 * r.high, color=look.colour, linewidth=1.4, zorder=2)
            face = look.colour if r.study == first else "white"
            dot = {
                "linestyle": "none",
                "marker": look.marker,
                "color": look.colour,
                "markerfacecolor": face,
                "markersize": 8,
                "markeredgewidth": 0.8,
                "zorder": 3,
            }
            text = label(r.method) + ("" if r.study == first else f" ({r.study})")
            [handles[text]] = axes.plot(x, 100 * r.difference, **dot)
        axes.set(xscale="log", xlabel=name)
        axes.xaxis.set_minor_formatter(NullFormatter())  # a decade has no room for the numbers between
    panels[0].set_ylabel("difference to base (points)")
    drawn.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=8)
    caption(
        drawn,
        f"line: {100 * level:g} % interval over seeds and test problems; hollow: another study; upper left is better",
    )
    return drawn
