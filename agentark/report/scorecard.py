"""The examination of a reward model in a form for reading: six criteria, each passed or failed."""

from __future__ import annotations

import pandas as pd

from agentark.models.names import display_name

USABLE = "deserves to be a reward"  # the measure that sums up all criteria
NAMES = {  # plain names of the measures in the tables of `evaluate.process`
    USABLE: "usable as a reward",
    "errors that lower the score": "corrupted steps scored lower",
    "drop at an error": "mean drop at a corrupted step",
}
TRACES = {"teacher": "the teacher's traces", "own": "the student's own"}


def readable(examined: pd.DataFrame) -> pd.DataFrame:
    """An examination with plain names: one row per network, task, traces and measure, with its criterion."""
    passed = examined.passed.map(lambda value: {"True": "pass", "False": "fail"}.get(str(value), ""))
    criterion = examined.good.fillna("").replace(r"all \d+ that decide", "all six criteria", regex=True)
    columns = {"network": examined.student.map(display_name), "trained on": examined.task}
    columns |= {"traces": examined.traces.map(TRACES), "measure": examined.measure.str.strip().replace(NAMES)}
    columns |= {"reward model": examined.prm.astype(float).round(3), "control": examined.control.astype(float).round(3)}
    return pd.DataFrame({**columns, "criterion": criterion, "passed": passed}).reset_index(drop=True)


def scorecard(examined: pd.DataFrame) -> pd.DataFrame:
    """The criteria as rows, the reward models as columns: the value, that of the control, pass or fail."""
    table = readable(examined)
    table = table[table.passed != ""]

    def text(row) -> str:
        if pd.isna(row["reward model"]):
            return row["passed"]
        return f"{row['reward model'] + 0.0:g} ({row['control'] + 0.0:g}) {row['passed']}"

    wide = table.assign(text=table.apply(text, axis=1)).pivot(
        index="measure", columns=["network", "trained on", "traces"], values="text"
    )
    return wide.loc[table.measure.drop_duplicates()]
