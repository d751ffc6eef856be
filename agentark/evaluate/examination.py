"""The examination of reward models on dev problems, from which they did not learn: is one usable as a reward?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import pandas as pd

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import pad, rewards
from agentark.extract import steps as labels

from . import process, students
from .jobs import EXAMINATIONS

Models = dict[tuple[str, bool], Path]  # (student, whether its labels were shuffled) -> the folder of its reward model
COLUMNS = ["traces", "measure", "prm", "control", "good", "passed"]


def run(
    files: Files, config: params.Params, cell: Cell, names: list[str], models: Models, log: pd.DataFrame, n: int
) -> pd.DataFrame:
    """Examine the reward model of each student and write the results as CSV.

    log: the teacher's graded log of the dev problems; n: the dev problems that the student itself answers.  Returns one
    row per student, traces ("teacher" or "own") and measure, with the cell's teacher, student, task and seed.
    """
    results = []
    for student in names:
        own = cell.but(student=student, split="dev")
        rollouts = process.as_log(students.rollouts(files, config, own, n))
        logs = {"teacher": log, "own": rollouts}
        table = examine(config, models[student, False], models[student, True], cell.train, logs)
        table = table.assign(teacher=cell.teacher, student=student, task=cell.train, seed=cell.seed)
        store.write_table(table, files.path(EXAMINATIONS, cell.but(student=student)))
        results.append(table)
    return pd.concat(results)


def examine(
    config: params.Params, model: Path, control: Path, task: str, logs: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return `process.verdict` of a reward model and of its control on shuffled labels: COLUMNS.

    logs: graded logs of dev problems, by who wrote them.  The first half of their problems sets the threshold, the
    other half gives all measures.
    """
    tables = []
    for name, log in logs.items():
        problems = tasks.problems(task, "dev", log.problem.nunique())
        steps = labels.table(log, task, "dev", config.debate.wording)
        first_half = steps.problem.isin([p.id for p in problems[: len(problems) // 2]])
        dev, test, how = steps[first_half], steps[~first_half], aggregate(config)
        scorers = [pad.scorer(folder, task) for folder in (model, control)]
        measures = [process.examine(scorer, dev, test, task, problems, how) for scorer in scorers]
        tables.append(process.verdict(*measures).reset_index().assign(traces=name))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def aggregate(config: params.Params) -> Callable[[Sequence[float]], float]:
    """Return the function that makes one reward of a trace's step scores (`rl.aggregation`)."""
    function = partial(rewards.aggregate, aggregation=config.rl.aggregation)
    return cast(Callable[[Sequence[float]], float], function)  # the examined traces have steps, hence a reward
