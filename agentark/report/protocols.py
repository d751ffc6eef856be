"""Protocols against each other (Sections 2, 3.2): as ways to answer, and as teachers of one student.

A protocol is compared with the vote of as many independent samples as it had completions, problem by problem; its
students with those of the debate, which learn from the same problems by the same method.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from agentark.graph.job import Job, Study, report_job
from agentark.mas.jobs import DEBATES
from agentark.mas.protocol import protocols

from .jobs import graded, graders

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

    from .collect import Logs

VOTE, DEBATE = "self_consistency", "debate"
FIRST = ["teacher", "task", "protocol"]  # with the axes of the study
WAYS = ["n", "accuracy", "ci_low", "ci_high", "completions", "tokens_out", "vote", "difference", "low", "high"]
WAYS += ["smallest_detectable", "p", "p_holm", "verdict"]
PAIRS = ["teacher", "student", "train", "test", "method", "protocol", "against"]  # with the axes
LEARNT = ["seeds", "n", "accuracy", "against_accuracy", "difference", "low", "high", "smallest_detectable"]
LEARNT += ["p", "p_holm", "verdict"]


def ways(found: Logs, level: float, resamples: int) -> pd.DataFrame:
    """Each protocol as a way to answer, against the vote of as many samples: one row per teacher, task and protocol.

    found: the graded logs of test problems (`collect.logs`).  Columns: teacher, task, axes, protocol, then WAYS:
    completions and tokens_out, generated per problem; vote, the accuracy of as many votes; difference, the protocol
    minus that vote on the same problems with its paired bootstrap interval; p is McNemar's exact, p_holm is over the
    table.  A teacher and task without independent samples has no row.
    """
    import pandas as pd

    from agentark import stats
    from agentark.evaluate import group

    rows = []
    logs = {(cell.teacher, cell.task, cell.axes, cell.protocol): log for cell, log in found}
    for (teacher, task, axes, name), log in logs.items():
        samples, protocol = logs.get((teacher, task, axes, VOTE)), protocols()[name]
        if samples is None or name == VOTE or not protocol.method:
            continue
        written = log[log.tokens_in != 0]
        completions = written.groupby("problem").size()
        given = group.debate if protocol.answers == "aggregator" else group.majority
        votes = group.majority(samples, task, {}, completions.to_dict())
        both = given(log, task, {}).merge(votes, on="item", suffixes=("", "_vote"), validate="one_to_one")
        ours, vote = both.correct_flexible.to_numpy(bool), both.correct_flexible_vote.to_numpy(bool)
        row = {"teacher": teacher, "task": task, **dict(axes), "protocol": name}
        row |= {"n": len(ours), "accuracy": ours.mean()}
        row |= dict(zip(("ci_low", "ci_high"), stats.wilson(int(ours.sum()), len(ours), level), strict=True))
        row |= {"completions": completions.mean(), "tokens_out": written.groupby("problem").tokens_out.sum().mean()}
        interval = stats.paired_bootstrap(vote, ours, resamples=resamples, level=level)
        row |= {"vote": vote.mean(), **dict(zip(("difference", "low", "high"), interval, strict=True))}
        row |= {"detectable": partial(stats.smallest_detectable_of, vote, ours)}
        rows.append(row | {"p": stats.mcnemar_exact(vote, ours)})
    return _decided(pd.DataFrame(rows, columns=None if rows else FIRST + WAYS), WAYS, level)


def students(predictions: pd.DataFrame, level: float) -> pd.DataFrame:
    """Students of each protocol against the untrained student and against those of the debate, by the same method.

    predictions: all per-item rows of a study (`rows.parquet`).  Columns: teacher, student, train, test, axes, method,
    protocol, against ("base", or the other protocol), then LEARNT: greedy accuracies over `seeds` training seeds and n
    problems, whose difference is tested by `stats.crossed`.  Holm's correction is over the table.
    """
    import pandas as pd

    from agentark import stats

    from .methods import trained
    from .seeds import clusters, matrix
    from .tables import keys

    rows, greedy = [], predictions[predictions["sample"] == -1]
    taught = greedy[greedy.method.map(trained)]
    by = [column for column in keys(greedy) if column not in ("protocol", "seed")]
    for values, cell in taught.groupby(by, sort=False):
        where = dict(zip(by, values, strict=True))
        sides = {str(name): matrix(part) for name, part in cell.groupby("protocol")}
        untrained = greedy[
            (greedy.method == "base") & (greedy.student == where["student"]) & (greedy.test == where["test"])
        ]
        shared = clusters(where["test"], cell.item)
        for name, ours in sides.items():
            base = matrix(untrained).iloc[[0] * len(ours)].set_axis(ours.index) if len(untrained) else None
            for against, theirs in {"base": base, DEBATE: sides.get(DEBATE)}.items():
                if theirs is None or name == against:
                    continue
                seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
                a, b = (side.loc[seeds, items].to_numpy() for side in (ours, theirs))
                found = stats.crossed(a - b, [shared[item] for item in items], level=level)
                row = where | {"protocol": name, "against": against, "seeds": len(seeds), "n": len(items)}
                row |= {"accuracy": a.mean(), "against_accuracy": b.mean()}
                rows.append(row | found.columns())
    return _decided(pd.DataFrame(rows, columns=None if rows else PAIRS + LEARNT), LEARNT, level)


def _decided(table: pd.DataFrame, last: list[str], level: float) -> pd.DataFrame:
    """A table of comparisons with Holm's correction over it and a verdict; `last` are its last columns."""
    from agentark import stats

    if table.empty:
        return table
    table = stats.decided(table, level)
    return table[[*(c for c in table if c not in last), *last]]


def jobs(study: Study) -> Iterator[Job]:
    """The comparison of protocols, if the study has several."""
    if len(study.base.study.protocols) > 1:
        root = study.files.root
        files = {"inputs": [root / "main_results.csv", *graded(study, DEBATES.folder)]}
        files |= {"outputs": [root / "protocols.csv", root / "protocol_students.csv"]}
        yield report_job(study, "19_protocols", ["collect", "protocols"], graders(study), sections=["stats"], **files)
