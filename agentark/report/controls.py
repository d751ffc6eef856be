"""Imitation beside its controls, over several training seeds (3.3, 4.2): what each method gains, and over what.

The comparisons are `seeds.over_seeds`: every method against the untrained student and against the controls that it
declares, with the same number of traces, the same tokens, traces of single agents, gold solutions, or no selection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentark.cells import Files
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports
from . import scaling

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

UNSELECTED = {"teacher_sample", "unfiltered"}  # a study that has both asks for what selection is worth
PLACE = ["teacher", "student", "train", "test", "protocol", "method"]
HALVES = {"seen": False, "unseen": True}  # columns of `means`, and whether their templates were held out


def means(predictions: pd.DataFrame, files: Files, level: float) -> pd.DataFrame:
    """The greedy accuracy of each method over its seeds: PLACE, `scaling.RESULTS`, seen, unseen, tokens, examples.

    predictions: what `collect.predictions` returns.  seen, unseen: the accuracy on templates that training data have
    and on those that they lack (NaN if a test has none).  tokens, examples: those that a student was trained on, all
    epochs counted; NaN for what was not trained.
    """
    import pandas as pd

    from . import tables

    rows = tables.headline(predictions)
    rows = rows.assign(score=tables.scores(rows))
    lines = []
    for key, cell in rows.groupby(PLACE, sort=False):
        halves = {name: cell.score[cell.held_out == held].mean() for name, held in HALVES.items()}
        lines.append(dict(zip(PLACE, key, strict=True)) | scaling.of_seeds(cell, level) | halves)
    table = tables.ordered(pd.DataFrame(lines).assign(seed=0)).drop(columns="seed")
    known = scaling.trained_tokens(files)
    if known.empty:
        return table.assign(tokens=float("nan"), examples=float("nan"))
    return table.merge(known.groupby(PLACE)[["tokens", "examples"]].mean().reset_index(), on=PLACE, how="left")


def shown(table: pd.DataFrame, train: str) -> pd.DataFrame:
    """`means` for reading: what was trained on one set, on both tests, in %; beside it what was not trained."""
    from . import show

    rows = []
    own = table[(table.train == train) | ((table.train == "-") & (table.test == train))]
    for r in own[own.test == train].itertuples():
        other = own[(own.method == r.method) & (own.student == r.student) & (own.test != train)]
        count = "" if r.tokens != r.tokens else f"{r.tokens / 1e6:.2f}"
        row = {"student": show.network(r), "method": show.label(r.method), "seeds": r.seeds, "n": r.n}
        row |= {"accuracy (%) [95 %]": show.interval(r.accuracy, r.low, r.high)}
        row |= {"lowest, highest seed": f"{100 * r.least:.1f}, {100 * r.most:.1f}"}
        row |= {name: f"{100 * getattr(r, name):.1f}" for name in HALVES}
        row |= {f"on {test}": f"{100 * accuracy:.1f}" for test, accuracy in zip(other.test, other.accuracy)}
        rows.append(row | {"Mtokens": count})
    return _table(rows)


def _table(rows: list[dict]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows).fillna("")


def jobs(study: Study) -> Iterator[Job]:
    """The controls of a study that has those without selection, over several seeds."""
    about = study.base.study
    if set(about.methods) >= UNSELECTED and len(about.seeds) > 1:
        inputs = [*reports.graded(study, PREDICTIONS.folder), *reports.written(study, STUDENTS.folder)]
        files = {"inputs": inputs, "outputs": [study.files.root / name for name in ("controls.csv", "over_seeds.csv")]}
        code = ["collect", "seeds", "scaling", "controls"]
        yield report_job(study, "22_controls", code, reports.graders(study), sections=["stats"], **files)
