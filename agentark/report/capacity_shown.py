"""The tables of `capacity` for reading: names instead of identifiers, shares in %, differences in points."""

from __future__ import annotations

from typing import Any

import pandas as pd

from agentark.cells.cell import NONE
from agentark.models.names import display_name

from .capacity import BACKBONE
from .show import interval, label


def _name(backbone: str) -> str:
    return "" if backbone == NONE else display_name(backbone)


def _share(value: float, low: float, high: float) -> str:
    """A share in % with its interval, without one if it has none; empty if it is unknown."""
    if pd.isna(value):
        return ""
    return f"{100 * value:.1f}" if pd.isna(low) else interval(value, low, high)


def knowledge(points: pd.DataFrame) -> pd.DataFrame:
    """`capacity.points` for reading: what each way to select knows, and the gain of its policy."""
    rows = []
    for r in points.to_dict("records"):
        row: dict[str, Any] = {
            "policy": display_name(r["student"]),
            "selected": label(r["method"]),
            "backbone": _name(r[BACKBONE]),
        }
        row["best of N on dev (%)"] = _share(r["exam"], r["exam_low"], r["exam_high"])
        row["n, dev"] = "" if pd.isna(r["exam_n"]) else int(r["exam_n"])
        row["usable"] = "" if pd.isna(r["usable"]) else "pass" if r["usable"] else "fail"
        row["right of the imitated (%)"] = _share(r["kept"], r["kept_low"], r["kept_high"])
        row |= {"n, training": int(r["kept_n"]), "of all samples (%)": f"{100 * r['all_samples']:.1f}"}
        row["gain (points)"] = interval(r["gain"], r["gain_low"], r["gain_high"], "+")
        rows.append(row)
    return pd.DataFrame(rows)


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """`capacity.judged` for reading: one row per pair of backbones, one column per policy and way to select."""
    text = [interval(r.difference, r.low, r.high, "+") for r in table.itertuples()]
    names = {column: table[column].map(display_name) for column in ("student", "smaller", "larger")}
    shown = table.assign(**names, method=table.method.map(label), text=text)
    rows, columns = ["differ_in", "smaller", "larger"], ["student", "method"]
    return shown.pivot_table(index=rows, columns=columns, values="text", aggfunc="first", sort=False)


def selections(compared: pd.DataFrame) -> pd.DataFrame:
    """`tables.comparisons` for reading, with the backbone and the smallest detectable difference of each."""
    rows = []
    for r in compared.to_dict("records"):
        row = {"policy": display_name(r["student"]), "method": label(r["method"]), "against": label(r["against"])}
        row |= {"backbone": _name(r[BACKBONE]), "tested on": r["test"], "seed": r["seed"], "n": r["n"]}
        rows.append(row | _difference(r))
    return pd.DataFrame(rows)


def backbones(pairs: pd.DataFrame) -> pd.DataFrame:
    """`capacity.pairs` for reading: each pair of backbones with what is compared and what they differ in."""
    rows = []
    for r in pairs.to_dict("records"):
        what = " minus ".join(map(label, r["what"].split(" - ")))
        row = {"policy": display_name(r["student"]), "tested on": r["test"], "compared": what}
        row |= {"smaller": display_name(r["smaller"]), "larger": display_name(r["larger"]), "differ in": r["differ_in"]}
        row |= {"seeds": r["seeds"], "n": r["n"]}
        row |= {f"{side} (%)": f"{100 * r[f'value_{side}']:.1f}" for side in ("smaller", "larger")}
        rows.append(row | _difference(r))
    return pd.DataFrame(rows)


def _difference(r: dict) -> dict:
    """The last columns of a table of comparisons."""
    shown = {"difference (points) [95 %]": interval(r["difference"], r["low"], r["high"], "+")}
    shown |= {"detectable": f"{100 * r['smallest_detectable']:.1f}", "p": f"{r['p']:.2g}"}
    return shown | {"Holm p": f"{r['p_holm']:.2g}", "verdict": r["verdict"]}
