"""Open-ended answers by several measures, each with a floor and a ceiling, and the runs of their notebooks.

The greedy answers of students are read from the rows of the evaluation, and scored by the references of their problems.
Floor: each problem is given the answer to the next problem of its test, so that only the form and the common words of
an answer count.  Ceiling: the gold answer.  Between the two a measure can see a gain and a loss.  What a test's task
declares decides which of the two notebooks it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from agentark import tasks
from agentark.cells import Files
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

Measure = Callable[[str | None, tasks.Problem, tasks.Task], dict[str, float]]
FLOOR, CEILING = "floor ", "ceiling "  # what the columns of the controls begin with
SCORES = ["measure", "n", "score", "low", "high", "floor", "floor_low", "floor_high", "ceiling"]
CHANGES = ["difference", "diff_low", "diff_high", "p", "p_holm", "smallest_detectable", "verdict"]


def truthful(test: str) -> bool:
    """Whether a test asks for the truth: by its measure, or as the copy of TruthfulQA without incorrect answers."""
    task = tasks.get(test)
    return task.measure == "truth" or "truthfulqa" in task.family


def reading(test: str) -> bool:
    """Whether a test wants short answers or summaries, which are scored by their overlap with references."""
    return tasks.get(test).measure not in ("accuracy", "truth") and not truthful(test)


def answers(files: Files) -> pd.DataFrame:
    """Return `collect.predictions` of a study without its teachers; empty, with a sentence, if it has none."""
    import pandas as pd

    from . import collect, tables

    if any((files.root / "predictions").glob("*.parquet")):
        return collect.predictions(files, [])
    print(f"there are no answers of {files.root.parent.name}/{files.root.name}: its tables are empty")
    return pd.DataFrame(columns=[*tables.KEYS, "item", "sample", "answer_flexible", "correct_flexible", "gold"])


def scored(predictions: pd.DataFrame, tests: list[str], measure: Measure) -> pd.DataFrame:
    """Return the greedy answers of students, before and after training, to `tests`, with the scores of `measure`.

    predictions: what `collect.predictions` returns.  Each score m, between 0 and 1, has a column m, and its controls
    have "floor m" and "ceiling m".  A score that a test does not have is NaN.
    """
    import pandas as pd

    from . import tables
    from .methods import trained

    if predictions.empty:
        return predictions
    rows = tables.headline(predictions)
    rows = rows[rows.test.isin(tests) & ((rows.method == "base") | rows.method.map(trained))]
    parts = []
    for test, part in rows.groupby("test", sort=False):
        task = tasks.get(str(test))
        problems = {p.id: p for p in tasks.problems(str(test), "test", part.item.nunique())}
        for _, cell in part.groupby(tables.keys(rows), sort=False):
            asked = [problems[item] for item in cell.item]
            scores = [
                pd.DataFrame([measure(a, p, task) for a, p in zip(said, asked)], index=cell.index).add_prefix(prefix)
                for prefix, said in texts(cell, asked).items()
            ]
            parts.append(cell.join(scores))
    return pd.concat(parts) if parts else rows


def texts(cell: pd.DataFrame, asked: list[tasks.Problem]) -> dict[str, list[str | None]]:
    """Return the answers of one cell, those of the next problem and the gold ones, by what their columns begin with."""
    given = [answer if isinstance(answer, str) else None for answer in cell.answer_flexible]
    return {"": given, FLOOR: [*given[1:], *given[:1]], CEILING: [problem.answer for problem in asked]}


def measured(rows: pd.DataFrame, names: list[str], level: float, resamples: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the cells of `scored` rows by the measures `names`, and their paired comparisons (`tables.comparisons`).

    Cells: the coordinates, SCORES and CHANGES; intervals are at `level`.  difference: the score minus that of the
    untrained student on the same items; NaN for itself.  Holm's correction is over all comparisons by one measure.
    """
    import pandas as pd

    from . import tables

    by, cells, pairs = tables.keys(rows), [], []
    for name in names:
        have = rows[rows[name].notna()] if name in rows else rows[:0]
        if have.empty:
            continue
        score = tables.main_results(have.assign(score=have[name]), level)
        score = score.set_axis([*score.columns[:-3], "score", "low", "high"], axis=1)
        floor = tables.main_results(have.assign(score=have[FLOOR + name]), level).drop(columns="n")
        floor = floor.set_axis([*floor.columns[:-3], "floor", "floor_low", "floor_high"], axis=1)
        ceiling = have.groupby(by)[CEILING + name].mean().rename("ceiling").reset_index()
        paired = tables.comparisons(have.assign(score=have[name]), resamples, 1 - level).assign(measure=name)
        change = paired[paired.against == "base"].rename(columns={"low": "diff_low", "high": "diff_high"})
        cell = score.merge(floor, on=by).merge(ceiling, on=by).merge(change[[*by, *CHANGES]], on=by, how="left")
        cells.append(cell.assign(measure=name))
        pairs.append(paired)
    table = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame(columns=[*by, *SCORES, *CHANGES])
    return table[[*by, *SCORES, *CHANGES]], pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame()


def jobs(study: Study) -> Iterator[Job]:
    """Transfer to reading tasks, and truthfulness: each if the study has such a test."""
    root, tests = study.files.root, study.base.study.test_tasks
    common = {"inputs": reports.graded(study, "predictions"), "sections": ["stats"]}
    code, graders = ["collect", "open_ended"], reports.graders(study)
    if any(map(reading, tests)):
        outputs = [root / "ood.csv"]
        yield report_job(study, "14_ood", [*code, "ood", "transfer"], graders, outputs=outputs, **common)
    if any(map(truthful, tests)):
        outputs = [root / "truthfulqa.csv"]
        yield report_job(study, "15_truthfulqa", [*code, "truth"], graders, outputs=outputs, **common)
