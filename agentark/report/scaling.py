"""Scores along an axis of a study (4.3): at each of its values, from value to value, and at equal tokens.

Intervals and p are over training seeds and test items, which are crossed (`stats.crossed`); of one seed, over items
only.  The students of all seeds learn from one debate a value: what is found holds for these debates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from agentark import store, tasks
from agentark.cells import Files, slug
from agentark.cells.cell import NONE
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

SIZE = "sizes.train"
RESULTS = ["seeds", "n", "accuracy", "low", "high", "least", "most", "chance"]
COMPARED = ["seeds", "n", "difference", "low", "high", "p", "p_holm", "smallest_detectable", "verdict"]


def values(rows: pd.DataFrame, axis: str) -> list[str]:
    """The values of an axis in rows, without "-", in the order of numbers if they are some.

    Raises ValueError if the rows have no such axis.
    """
    if axis not in rows:
        raise ValueError(f"these rows do not vary {axis}: give it several values in study.axes")
    found = [value for value in rows[axis].astype(str).unique() if value != NONE]
    try:
        return sorted(found, key=float)
    except ValueError:
        return sorted(found)


def ordered(table: pd.DataFrame, axis: str) -> pd.DataFrame:
    """The rows of a table in the order of `tables.ordered`, each cell's in the order of the axis."""
    from . import tables

    rank = {value: number for number, value in enumerate([NONE, *values(table, axis)])}
    seeded = table if "seed" in table else table.assign(seed=0)
    first = tables.ordered(seeded.assign(**{axis: table[axis].astype(str).map(rank)}))
    by = [name for name in ("test", "student", "train", "protocol", "method", "teacher", "against") if name in first]
    place = first.groupby(by, sort=False).ngroup()
    first = first.assign(_place=place).sort_values(["_place", axis], kind="stable", ignore_index=True)
    names = {number: value for value, number in rank.items()}
    return first.assign(**{axis: first[axis].map(names)}).drop(columns="_place")[list(table.columns)]


def along(predictions: pd.DataFrame, axis: str, level: float = 0.95) -> pd.DataFrame:
    """The headline score of every cell at each value of `axis`: coordinates, the axis, then RESULTS.

    predictions: what `collect.predictions` returns.  accuracy: the mean over seeds and items, with its interval at
    `level` (of one seed Wilson's); least, most: the means of the lowest and of the highest seed; chance: the share of
    right answers if each problem is given the answer to the next one.  A cell that the axis does not concern has "-".
    Raises ValueError if the rows have no such axis.
    """
    import pandas as pd

    values(predictions, axis)
    cells = _cells(predictions, axis)
    return ordered(pd.DataFrame([place | {axis: value} | of_seeds(cell, level) for place, value, cell in cells]), axis)


def of_seeds(cell: pd.DataFrame, level: float) -> dict[str, Any]:
    """RESULTS of a cell over its training seeds, from its headline rows with their `score`; see `along`."""
    from agentark import stats

    from .seeds import clusters

    matrix, test = _matrix(cell), str(cell.test.iloc[0])
    means, seeds = matrix.mean(axis=1), len(matrix)
    if seeds == 1:
        ends = stats.mean_interval(matrix.iloc[0], level)
    else:
        shared = clusters(test, matrix.columns)
        found = stats.crossed(matrix.to_numpy(), [shared[item] for item in matrix.columns], level=level)
        ends = max(0.0, found.low), min(1.0, found.high)
    row = {"seeds": seeds, "n": matrix.shape[1], "accuracy": means.mean(), "low": ends[0], "high": ends[1]}
    return row | {"least": means.min(), "most": means.max(), "chance": _chance(cell, test)}


def steps(predictions: pd.DataFrame, axis: str, level: float = 0.95) -> pd.DataFrame:
    """What changes from each value of `axis` to the next, and from the first to the last: one row per cell and step.

    The same items and seeds at both values: coordinates, from, to, then COMPARED.  Holm's correction is over this
    table, and smallest_detectable at its first step.  It is empty if no cell has two values.
    """
    places: dict[tuple, tuple[dict[str, Any], dict[str, pd.DataFrame]]] = {}
    for place, value, cell in _cells(predictions, axis):
        if value != NONE:
            places.setdefault(tuple(place.values()), (place, {}))[1][value] = _matrix(cell)
    rows, scale = [], values(predictions, axis)
    for place, by_value in places.values():
        present = [value for value in scale if value in by_value]
        ends = [(present[0], present[-1])] if len(present) > 2 else []
        for before, after in [*pairwise(present), *ends]:
            found = _difference(place["test"], by_value[after], by_value[before], level)
            rows.append(place | {"from": before, "to": after} | found)
    return _tested(rows, ["from", "to"], level)


def trained_tokens(files: Files) -> pd.DataFrame:
    """The completion tokens that each student was trained on, all epochs counted: coordinates, axes, tokens, examples.

    Read from the training logs that belong to the answers of a study; a student without one is left out.
    """
    import pandas as pd

    rows = []
    for path in sorted((files.root / PREDICTIONS.folder).glob(f"*{PREDICTIONS.suffix}")):
        model = json.loads(store.manifest_path(path).read_text())["about"]["model"]
        names = [slug(model[name]) for name in PREDICTIONS.names]
        rest = path.name.removesuffix(PREDICTIONS.suffix).removeprefix(".".join(names))  # axes and seed
        name = ".".join(names[:-1]) + rest
        log = files.root / STUDENTS.folder / name / "training.json"
        if model["train"] != NONE and log.exists():
            found = json.loads(log.read_text())
            rows.append(model | {"tokens": found["completion_tokens"], "examples": found["examples"]})
    return pd.DataFrame(rows)


def with_tokens(table: pd.DataFrame, tokens: pd.DataFrame, axis: str) -> pd.DataFrame:
    """`along` with the mean `tokens` and `examples` over the seeds (`trained_tokens`); NaN for what was not trained."""
    by = [name for name in ("teacher", "student", "method", "train", "test", "protocol", axis) if name in tokens]
    known = tokens.astype({axis: str}) if axis in tokens else tokens
    return table.merge(known.groupby(by)[["tokens", "examples"]].mean().reset_index(), on=by, how="left")


def at_equal_tokens(
    predictions: pd.DataFrame, tokens: pd.DataFrame, axis: str, method: str, against: str, level: float = 0.95
) -> pd.DataFrame:
    """`method` at each value of `axis` minus `against` at the same number of training tokens: one row per value.

    The scores of `against` are interpolated, item by item and seed by seed, between the two values of the axis whose
    tokens enclose those of `method`, linearly in log tokens: coordinates, against, the axis, tokens, below, above, then
    COMPARED.  Values whose tokens are not enclosed are left out, and printed.  Holm's correction is over this table.
    """
    import numpy as np

    table = with_tokens(along(predictions, axis, level), tokens, axis)
    cells: dict[tuple, dict[str, tuple[float, pd.DataFrame]]] = {}
    for place, value, cell in _cells(predictions, axis):
        if place["method"] in (method, against) and value != NONE:
            where = {name: place[name] for name in place if name != "method"}
            same = table[(table.method == place["method"]) & (table[axis] == value)]
            for name, coordinate in where.items():
                same = same[same[name] == coordinate]
            by_value = cells.setdefault((place["method"], *where.items()), {})
            by_value[value] = float(same.tokens.iloc[0]), _matrix(cell)
    rows, outside = [], []
    for (name, *items), ours in cells.items():
        theirs = sorted(cells.get((against, *items), {}).items(), key=lambda pair: pair[1][0])
        for value, (count, matrix) in ours.items() if name == method else ():
            enclosing = [pair for pair in pairwise(theirs) if pair[0][1][0] <= count <= pair[1][1][0]]
            if not enclosing:
                outside.append(value)
                continue
            (below, (few, lower)), (above, (many, upper)) = enclosing[0]
            share = np.log(count / few) / np.log(many / few)
            between = (1 - share) * lower + share * upper
            about = dict(items) | {"method": method, "against": against, axis: value, "tokens": count}
            found = _difference(about["test"], matrix, between, level)
            rows.append(about | {"below": below, "above": above} | found)
    if outside:
        print(f"{method} at {axis} = {', '.join(outside)}: {against} has no tokens on both sides; left out")
    compared = _tested(rows, ["against", axis, "tokens", "below", "above"], level)
    return ordered(compared, axis) if rows else compared


def _cells(predictions: pd.DataFrame, axis: str) -> Iterator[tuple[dict[str, Any], str, pd.DataFrame]]:
    """Each cell but for its seed: its coordinates without the axis, the value of the axis, its headline rows."""
    from . import tables

    rows = tables.headline(predictions)
    rows = rows.assign(score=tables.scores(rows), **{axis: rows[axis].astype(str)})
    by = [name for name in tables.keys(rows) if name not in ("seed", axis)]
    for key, cell in rows.groupby([*by, axis], sort=False):
        yield dict(zip(by, key, strict=False)), str(key[-1]), cell


def _matrix(cell: pd.DataFrame) -> pd.DataFrame:
    """Scores: one row per seed, one column per item that all seeds have."""
    return cell.pivot(index="seed", columns="item", values="score").astype(float).dropna(axis=1)


def _chance(cell: pd.DataFrame, test: str) -> float:
    """The share of right answers if each problem is given the same seed's answer to the next one."""
    equal, right = tasks.get(test).equal, []
    for _, rows in cell.groupby("seed"):
        answers = list(rows.answer_flexible)
        for gold, answer in zip(rows.gold, [*answers[1:], *answers[:1]]):
            right.append(isinstance(answer, str) and equal(gold, answer))
    return sum(right) / len(right)


def _difference(test: str, ours: pd.DataFrame, theirs: pd.DataFrame, level: float) -> dict[str, Any]:
    """`ours` minus `theirs` on the seeds and items that both have."""
    from agentark import stats

    from .seeds import clusters

    seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
    shared = clusters(test, ours.columns)
    values = (ours.loc[seeds, items] - theirs.loc[seeds, items]).to_numpy()
    found = stats.crossed(values, [shared[item] for item in items], level=level)
    return {"seeds": len(seeds), "n": len(items)} | found.columns()


def _tested(rows: Sequence[dict[str, Any]], about: list[str], level: float) -> pd.DataFrame:
    """The rows as a table, with Holm's correction over it, verdicts and smallest detectable differences."""
    import pandas as pd

    from agentark import stats

    from . import tables

    if not rows:
        return pd.DataFrame(columns=["teacher", "student", "train", "test", "protocol", "method", *about, *COMPARED])
    table = stats.decided(pd.DataFrame(rows), level)
    first = [name for name in tables.KEYS if name in table]
    others = [name for name in table if name not in (*first, *about, *COMPARED)]
    return table[[*first, *others, *about, *COMPARED]]


def jobs(study: Study) -> Iterator[Job]:
    """The analysis of the amount of data, if the study varies it."""
    if SIZE in study.base.study.axes:
        inputs = [*reports.graded(study, PREDICTIONS.folder), *reports.written(study, STUDENTS.folder)]
        names = ("data_scaling.csv", "data_scaling_differences.csv")
        files = {"inputs": inputs, "outputs": [study.files.root / name for name in names]}
        code = ["collect", "seeds", "scaling", "scaling_shown"]
        yield report_job(study, "11_data_scaling", code, reports.graders(study), sections=["stats"], **files)
