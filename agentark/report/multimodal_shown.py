"""The tables of `multimodal` for reading, and its figure: changes on text, and what is seen of pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from agentark.models.names import display_name

from .figures import GREY, caption, looks
from .methods import shown
from .show import interval, label

OTHER = "|"  # what is answered beside another picture
EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5}


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """`multimodal.gains` for reading: accuracies in %, differences in points."""
    rows = []
    for r in table.itertuples():
        accuracies = [f"{100 * value:.1f}" for value in (r.accuracy, r.against_accuracy, r.chance)]
        compared = (display_name(r.student), r.test, label(r.method), label(r.against), r.seeds, r.n, *accuracies)
        rows.append((*compared, *_found(r)))
    columns = ["network", "tested on", "method", "against", "seeds", "n", "accuracy (%)", "against (%)", "chance (%)"]
    return pd.DataFrame(rows, columns=[*columns, "difference (points) [95 %]", "detectable", "Holm p", "verdict"])


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """`multimodal.gaps` for reading: gains in points of the seeing and of the text-only student."""
    rows = []
    for r in table.itertuples():
        gained = (f"{100 * r.gain_seeing:+.1f}", f"{100 * r.gain_text_only:+.1f}")
        rows.append((r.test, label(r.method), r.seeds, r.n, *gained, *_found(r)))
    columns = ["tested on", "method", "seeds", "n", "seeing: gain", "text-only: gain"]
    return pd.DataFrame(rows, columns=[*columns, "seeing minus text-only [95 %]", "detectable", "Holm p", "verdict"])


def _found(r) -> tuple[str, str, str, str]:
    difference = interval(r.difference, r.low, r.high, "+")
    return difference, f"{100 * r.smallest_detectable:.1f}", f"{r.p_holm:.2g}", r.verdict


def sight(table: pd.DataFrame) -> pd.DataFrame:
    """`multimodal.sight` for reading: accuracies in %, differences in points."""
    rows = []
    for r in table.itertuples():
        row = {"network": display_name(r.student), "method": label(r.method), "question": r.kind, "n": r.n}
        row |= {"seeds": r.seeds, "chance (%)": f"{100 * r.chance:.1f}"}
        row |= {"own picture (%) [95 %]": interval(r.accuracy, r.acc_low, r.acc_high)}
        row |= {"another picture (%)": "" if pd.isna(r.exchanged) else f"{100 * r.exchanged:.1f}"}
        row |= {"own minus another [95 %]": _or_nothing(r.looked, r.looked_low, r.looked_high)}
        row |= {"change [95 %]": _or_nothing(r.change, r.change_low, r.change_high)}
        rows.append(row | {"sight": "" if pd.isna(r.sight) else r.sight})
    return pd.DataFrame(rows)


def _or_nothing(value: float, low: float, high: float) -> str:
    return "" if pd.isna(value) else interval(value, low, high, "+")


@looks
def figure(gained: pd.DataFrame, seen: pd.DataFrame, level: float = 0.95) -> Figure:
    """Left: the change of each student on each text test; right: right answers about pictures, before and after.

    gained: `multimodal.gains`, seen: `multimodal.sight`, both at `level`.  Raises ValueError without any change.
    """
    changes = gained[gained.against == "base"]
    if changes.empty:
        raise ValueError("no student was trained with two seeds: there is no change to draw")
    drawn = Figure(figsize=(9.6, 4.6), layout="constrained")
    left, right = drawn.subplots(1, 2)
    places = sorted(set(zip(changes.test, changes.student)))
    methods = [name for name in shown() if name in set(seen.method) | set(changes.method)]
    left.axvline(0, color=GREY, linewidth=1)
    trained = [name for name in methods if name in set(changes.method)]
    for r in changes.itertuples():
        y = places.index((r.test, r.student)) + _offset(trained, r.method)
        _point(left, y, r.method, r.difference, r.low, r.high)
    _rows(left, [f"{test}\n{display_name(student).split(',')[0]}" for test, student in places])
    left.set_xlabel("change on text (points)")
    kinds = list(dict.fromkeys(seen.kind))
    for r in seen.itertuples():
        y = kinds.index(r.kind) + _offset(methods, r.method)
        _point(right, y, r.method, r.accuracy, r.acc_low, r.acc_high)
        right.plot(100 * r.exchanged, y, OTHER, color=shown()[r.method].colour, markersize=5)
    for kind, chance in seen.groupby("kind", sort=False).chance.first().items():
        y = kinds.index(str(kind))
        right.vlines(100 * chance, y - 0.4, y + 0.4, color=GREY, linestyle=":", linewidth=1.2)
    _rows(right, kinds)
    right.set_xlabel("right answers about pictures (%)")
    look: dict[str, Any] = {"linestyle": "none", **EDGE}
    styles = [(shown()[name].marker, shown()[name].colour, label(name)) for name in methods]
    handles = [Line2D([], [], marker=marker, color=colour, label=name, **look) for marker, colour, name in styles]
    handles += [Line2D([], [], marker=OTHER, linestyle="none", color=GREY, label="beside another picture")]
    handles += [Line2D([], [], linestyle=":", color=GREY, label="chance")]
    drawn.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=8)
    caption(drawn, f"lines: {100 * level:g} % intervals over training seeds and test items")
    return drawn


def _offset(methods: list[str], method: str) -> float:
    """The height of a method among those that are drawn in one row."""
    return float(np.linspace(-0.3, 0.3, len(methods))[methods.index(method)]) if len(methods) > 1 else 0.0


def _point(axes, y: float, method: str, value: float, low: float, high: float) -> None:
    colour = shown()[method].colour
    axes.hlines(y, 100 * low, 100 * high, color=colour, linewidth=1.4, alpha=0.8)
    axes.plot(100 * value, y, marker=shown()[method].marker, color=colour, **EDGE, markersize=7)


def _rows(axes, names: list[str]) -> None:
    """Categories from top to bottom."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(axis="y", visible=False)
