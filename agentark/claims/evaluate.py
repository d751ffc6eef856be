"""Verdicts on the claims: from the per-item rows of studies to one row for each comparison."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from agentark import stats, tasks
from agentark.cells.cell import NONE
from agentark.params import ParamsError
from agentark.report import tables
from agentark.report.methods import trained
from agentark.report.seeds import clusters

from .file import Claims, Comparison, Place
from .verdicts import verdict

SHARES = ("accuracy", "f1", "hotpot_f1", "rouge", "truth", "bertscore")  # in points of 100; all else in its own unit
COLUMNS = ["claim", "comparison", "primary", "study", "method", "against", "measure", "direction", "smallest", "seeds",
           "clusters", "debates", "difference", "low", "high", "p", "p_holm", "detectable", "verdict",
           "note"]  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What a study has to say: its per-item rows (`collect.predictions`) and its stats.level.

    debates: the debate from which the students of each training seed learnt, if there were several.
    """

    rows: pd.DataFrame
    level: float = 0.95
    debates: Mapping[int, Hashable] | None = None


def evaluate(claims: Claims, comparison: Comparison, study: Study) -> stats.Crossed:
    """The difference of a comparison, in the unit of its measure, over training seeds and clusters of test items.

    With `over: every` it is that of the cell that is worst for the claim; where that cell speaks against the claim, p
    is multiplied by the number of cells, of which it was chosen.
    Raises ParamsError if the study has no rows of a cell, or no such measure.
    """
    if comparison.over == "mean":
        weights = dict.fromkeys(comparison.cells, 1 / len(comparison.cells))
        weights |= dict.fromkeys(comparison.minus, -1 / max(1, len(comparison.minus)))
        return _crossed(claims, comparison, study, weights)
    found = [_crossed(claims, comparison, study, {cell: 1.0}) for cell in comparison.cells]
    sign = -1 if comparison.direction == "lower" else 1
    if comparison.direction == "equal":
        return max(found, key=lambda cell: max(-cell.low, cell.high))
    if comparison.direction == "not higher":
        return max(found, key=lambda cell: cell.high)
    worst = max(found, key=lambda cell: cell.p if sign * cell.difference > 0 else 2 - cell.p)
    return worst if sign * worst.difference > 0 else worst._replace(p=min(1.0, worst.p * len(found)))


def table(claims: Claims, studies: Mapping[str, Study]) -> pd.DataFrame:
    """The verdicts: COLUMNS, one row for each comparison, in the file's order.

    studies: by name; a comparison whose study is not among them, or lacks rows that it needs, waits.  p_holm: over the
    primary comparisons of the file, or else over the exploratory ones of the claim; one that waits counts with p = 1.
    detectable: the smallest difference that is found with a power of 80 % at the level of Holm's first step.  note:
    what the number rests on.
    """
    rows = []
    for claim, comparison in claims.comparisons():
        about = {"claim": claim.id, "comparison": comparison.id}
        about |= {name: getattr(comparison, name) for name in COLUMNS[2:9]} | {"study": comparison.study or ""}
        crossed, missing = None, comparison.waits_for or f"a run of {comparison.study}"
        if study := studies.get(comparison.study or ""):
            try:
                crossed = evaluate(claims, comparison, study)
            except ParamsError as error:  # a study that is not whole
                missing = f"rows: {error}"
        numbers = crossed._asdict() if crossed else {}
        rows.append({**about, **numbers, "found": crossed, "missing": missing})
    frame = pd.DataFrame(rows, columns=[*COLUMNS[:16], "found", "missing"])
    family = frame.claim.where(~frame.primary, "primary comparisons")
    frame["p_holm"] = frame.p.fillna(1.0).groupby(family).transform(stats.holm).where(frame.p.notna())
    counts = family.map(family.value_counts())
    changed = {change.comparison: change.date for change in claims.changes}  # the last of each
    decided = []
    for (_, comparison), row, count in zip(claims.comparisons(), frame.itertuples(), counts):
        notes = [] if comparison.primary else ["exploratory"]
        notes += [f"changed on {changed[comparison.id]}"] if comparison.id in changed else []
        if row.found is None:
            decided.append((np.nan, "waits", "; ".join([*notes, f"waits for {row.missing}"])))
            continue
        level = studies[row.study].level
        notes += ["one training seed: over test items only"] if row.found.seeds == 1 else []
        notes += ["rests on one debate"] if row.found.debates == 1 else []
        notes += [] if row.found.seeds >= comparison.seeds else [f"{row.found.seeds} of {comparison.seeds} seeds"]
        word = verdict(comparison, row.difference, row.low, row.high, row.p_holm, level)
        decided.append((row.found.detectable(1 - (1 - level) / count), word, "; ".join(notes)))
    frame["detectable"], frame["verdict"], frame["note"] = zip(*decided, strict=True)
    return frame[COLUMNS]


def _crossed(claims: Claims, comparison: Comparison, study: Study, weights: dict[str, float]) -> stats.Crossed:
    """The test over cells with these weights; seeds that one of the cells lacks are left out."""
    parts = {name: _differences(claims.cells[name], name, comparison, study.rows) for name in weights}
    seeds = sorted(set.intersection(*(set(part.index) for part in parts.values())))
    if not seeds:
        raise ParamsError(
            f"comparison {comparison.id}: its cells have no training seed in common: run the same in each"
        )
    joined = pd.concat({name: part.loc[seeds] for name, part in parts.items()}, axis=1)
    tests = [claims.cells[name].test for name, _ in joined.columns]
    items: dict[str, set[str]] = {test: set() for test in tests}
    for test, (_, item) in zip(tests, joined.columns):
        items[test].add(item)
    shared = {test: clusters(test, names) for test, names in items.items()}
    labels = [(test, shared[test][item]) for test, (_, item) in zip(tests, joined.columns)]
    debates = None if study.debates is None else [study.debates[seed] for seed in seeds]
    values = joined.to_numpy() * (100 if comparison.measure in SHARES else 1)
    sets = [name for name, _ in joined.columns]
    return stats.crossed(values, labels, debates=debates, sets=sets, weights=weights, level=study.level)


def _differences(place: Place, name: str, comparison: Comparison, rows: pd.DataFrame) -> pd.DataFrame:
    """The score of `method` minus that of `against`: one row per training seed, one column per item of a cell."""
    sides = ((comparison.method, comparison.axes), (comparison.against, comparison.against_axes))
    ours, theirs = (_matrix(place, name, comparison, method, axes, rows) for method, axes in sides)
    if not trained(comparison.against) and len(theirs) == 1:  # not trained: its one run serves all seeds
        theirs = theirs.iloc[[0] * len(ours)].set_axis(ours.index)
    elif not trained(comparison.method) and len(ours) == 1:
        ours = ours.iloc[[0] * len(theirs)].set_axis(theirs.index)
    seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
    if seeds.empty or items.empty:
        what = "training seed" if seeds.empty else "test problem"
        both = f"{comparison.method} and {comparison.against}"
        raise ParamsError(
            f"comparison {comparison.id}, cell {name}: {both} have no {what} in common: run both on the same"
        )
    return ours.loc[seeds, items] - theirs.loc[seeds, items]


def _matrix(
    place: Place, name: str, comparison: Comparison, method: str, axes: dict, rows: pd.DataFrame
) -> pd.DataFrame:
    """The scores of one method in a cell: one row per seed, one column per item that all seeds have."""
    where = f"comparison {comparison.id}, cell {name}: "
    cell = tables.cells_of(rows, method, place.model_dump())
    for path, value in axes.items():
        cell = cell[cell[path].astype(str).isin([str(value), NONE])] if path in cell else cell.iloc[:0]
    if cell.empty:
        what = f"{method} with {axes}" if axes else method
        advice = "run that cell, or change the claim and say so under changes"
        raise ParamsError(f"{where}the study has no rows of {what}: {advice}")
    cell = tables.headline(cell)
    varied = [column for column in cell if "." in column and cell[column].nunique() > 1]
    if varied:
        raise ParamsError(f"{where}{method} was run with several values of {', '.join(varied)}: name one in axes")
    scores = _scores(cell, comparison.measure, place.test)
    if scores is None:
        advice = "give rows with a column of that name, from the analysis that computes it"
        raise ParamsError(f"{where}its rows have no measure {comparison.measure!r}: {advice}")
    return cell.assign(score=scores).pivot(index="seed", columns="item", values="score").dropna(axis=1)


def _scores(cell: pd.DataFrame, measure: str, test: str) -> pd.Series | None:
    """The score of each row by a measure: a column of its name, or that of the task's own measure."""
    if measure in cell:
        return cell[measure].astype(float)
    if measure == "accuracy":
        return cell.correct_flexible.astype(float)
    return cell.score.astype(float) if "score" in cell and tasks.get(test).measure == measure else None
