"""The examination of reward models on dev problems, from which they did not learn: is one usable as a reward?

Beside each reward model stand its controls, with the same features and on the same traces: the one that learnt from
shuffled labels, the untrained one, and the plain likelihood of its backbone.  What it does not do better than all three
was not learnt from the labels (Eq. 7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import pandas as pd

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import pad, rewards
from agentark.distill.data import DistillError
from agentark.extract import steps as labels

from . import criteria, process, students
from .jobs import EXAMINATIONS

Models = dict[tuple[str, bool], Path]  # (student, whether its labels were shuffled) -> the folder of its reward model


def run(
    files: Files, config: params.Params, cell: Cell, names: list[str], models: Models, log: pd.DataFrame, n: int
) -> pd.DataFrame:
    """Examine the reward model of each student and write the results as CSV.

    log: the teacher's graded log of the dev problems; n: the dev problems that the student itself answers.  Returns one
    row per student, traces ("teacher" or "own"), scorer and measure, with the cell's teacher, student, task and seed,
    and the values of those of the study's axes on which reward models depend.
    """
    results = []
    for student in names:
        own = cell.but(student=student, split="dev")
        rollouts = process.as_log(students.rollouts(files, config, own, n))
        logs = {"teacher": log, "own": rollouts}
        table = examine(config, models[student, False], models[student, True], cell.train, logs)
        place = {"teacher": cell.teacher, "student": student, "task": cell.train, "seed": cell.seed}
        table = table.assign(**place, **dict(EXAMINATIONS.of(cell).axes))
        store.write_table(table, files.path(EXAMINATIONS, cell.but(student=student)))
        results.append(table)
    return pd.concat(results)


def examine(
    config: params.Params, model: Path, control: Path, task: str, logs: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Return `criteria.decide` of a reward model and its controls, with a first column `traces`.

    control: a reward model that learnt from shuffled labels.  logs: graded logs of dev problems, by who wrote them.
    The first half of their problems sets the threshold, the other half gives all measures.
    """
    scorers = {criteria.REWARD_MODEL: pad.scorer(model, task), "shuffled labels": pad.scorer(control, task)}
    scorers |= pad.untrained(model, task)
    tables = []
    for name, log in logs.items():
        problems = tasks.problems(task, "dev", log.problem.nunique())
        steps = labels.table(log, task, "dev", config.debate.wording)
        first_half = steps.problem.isin([p.id for p in problems[: len(problems) // 2]])
        dev, test, how, level = steps[first_half], steps[~first_half], aggregate(config), config.stats.level
        examined = {
            scorer: process.examine(score, dev, test, task, problems, how, level=level)
            for scorer, score in scorers.items()
        }
        decided = criteria.decide(examined, level)
        decided.insert(0, "traces", name)
        tables.append(decided)
    return pd.concat(tables, ignore_index=True)


def admit(files: Files, config: params.Params, cell: Cell) -> str:
    """Refuse a reward model that is not usable on the traces of its own student (DECISIONS 18b).

    Returns the result of the examination, for the manifest of the training: "passed", "failed: …" with the criteria, or
    "not examined" for a notebook that is run by itself.  Raises DistillError for a failure, unless `rl.admission` is
    "any".
    """
    path = files.path(EXAMINATIONS, cell)
    if not path.exists():
        return "not examined"
    table = pd.read_csv(path)
    reasons = "; ".join(criteria.failed(table[table.traces == "own"]))
    if reasons and config.rl.admission == "passed":
        raise DistillError(
            f"the reward model of {cell.student} on {cell.train} fails its examination ({path.name}): "
            f"{reasons}. Train a better one (notebook 06), or use it all the same by rl.admission: any"
        )
    return f"failed: {reasons}" if reasons else "passed"


def aggregate(config: params.Params) -> Callable[[Sequence[float]], float]:
    """Return the function that makes one reward of a trace's step scores (`rl.aggregation`)."""
    function = partial(rewards.aggregate, aggregation=config.rl.aggregation)
    return cast(Callable[[Sequence[float]], float], function)  # the examined traces have steps, hence a reward
