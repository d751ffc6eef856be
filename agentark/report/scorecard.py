"""The examination of a reward model in a form for reading: six criteria, each passed or failed, and what it adds."""

from __future__ import annotations

import pandas as pd

from agentark.evaluate.criteria import ADDS, REWARD_MODEL, USABLE
from agentark.models.names import display_name

NAMES = {  # plain names of the measures in the tables of `evaluate.process`
    "errors that lower the score": "corrupted steps scored lower",
    "off-topic text below": "off-topic text scored lower",
    "drop at an error": "mean drop at a corrupted step",
}
TRACES = {"teacher": "the teacher's traces", "own": "the student's own"}
FORMER = {"deserves to be a reward": USABLE}  # measures of examinations before 2026-11-29


def current(examined: pd.DataFrame) -> pd.DataFrame:
    """Examinations with the columns of today; those of an earlier version had no intervals and one control."""
    if not len(examined) or "prm" not in examined:
        return examined
    old = examined.assign(measure=examined.measure.str.strip().replace(FORMER))
    names = [column for column in ("teacher", "student", "task", "seed", "traces", "measure") if column in old]
    parts = []
    for scorer, column in ((REWARD_MODEL, "prm"), ("shuffled labels", "control")):
        part = old[names].assign(scorer=scorer, value=old[column].astype(float), low=None, high=None, chance=None)
        parts.append(part.assign(n=None, required=None, passed=old.passed if scorer == REWARD_MODEL else None))
    return pd.concat(parts, ignore_index=True)


def readable(examined: pd.DataFrame) -> pd.DataFrame:
    """An examination with plain names: one row per network, task, traces, scorer and measure, with its criterion.

    A study that varies parameters of the reward models has a column for each of them.
    """
    table = current(examined)
    passed = table.passed.map(lambda value: {"True": "pass", "False": "fail"}.get(str(value), ""))
    columns = {"network": table.student.map(display_name), "trained on": table.task}
    columns |= {axis: table[axis] for axis in table if "." in axis}
    columns |= {"traces": table.traces.map(TRACES), "scorer": table.scorer, "measure": table.measure.replace(NAMES)}
    rounded = {name: table[name].astype(float).round(3) for name in ("value", "low", "high", "chance")}
    columns |= rounded | {"n": table.n.astype("Int64"), "above": table.required.astype(float).round(3)}
    return pd.DataFrame({**columns, "passed": passed}).reset_index(drop=True)


def scorecard(examined: pd.DataFrame) -> pd.DataFrame:
    """The criteria as rows, the reward models as columns: value, interval, chance level, pass or fail."""
    table = readable(examined)
    table = table[(table.scorer == REWARD_MODEL) & (table.passed != "") & ~table.measure.str.startswith(ADDS)]

    def text(row) -> str:
        if pd.isna(row["value"]):
            return row["passed"]
        interval = "" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]"
        chance = "" if pd.isna(row["chance"]) else f", chance {row['chance']:.2f}"
        return f"{row['value'] + 0.0:.2f}{interval}{chance}: {row['passed']}"

    return _wide(table.assign(text=table.apply(text, axis=1)))


def added(examined: pd.DataFrame) -> pd.DataFrame:
    """Best of N by the reward model minus best of N by each control, on the same problems, in points."""
    table = readable(examined)
    table = table[table.measure.str.startswith(ADDS)]
    values = [f"{100 * r.value:+.1f} [{100 * r.low:+.1f}, {100 * r.high:+.1f}]" for r in table.itertuples()]
    return _wide(table.assign(text=values, measure=table.measure.str.replace(ADDS, "minus", n=1)))


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    axes = [column for column in table if "." in column]
    wide = table.pivot(index="measure", columns=["network", "trained on", *axes, "traces"], values="text")
    return wide.loc[table.measure.drop_duplicates()]
