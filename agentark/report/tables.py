"""The tables: pure functions of per-item prediction rows.

A row is one answer: teacher, student, method, train, test, protocol, seed, one column per axis of the study, item,
template, held_out, sample (-1 greedy, 0, 1, … sampled), text, answer_strict, answer_flexible, gold, correct_strict,
correct_flexible, score (by the task's measure, else correct_flexible), tokens_in, tokens_cached, tokens_out, finish,
calls.  A coordinate that does not apply is "-" (base: teacher and train; teacher_*: student and train).

The headline is the flexible extraction of the greedy answer; debates and votes have one row per item, sample 0.
A slice of a study gives a slice of a table: absent methods are absent rows, never errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pandas as pd

from agentark import stats, tasks
from agentark.cells import COORDINATES, fill_coordinates
from agentark.cells.cell import NONE

from .methods import debates, one_sample, shown, trained

KEYS = list(COORDINATES)
RESULTS = ["n", "accuracy", "ci_low", "ci_high"]
MAIN = [*KEYS, *RESULTS]
SHARES = ["decoding", "extraction", "half", *RESULTS, "unparsed", "truncated"]
COMPARED = ["n", "difference", "low", "high", "p", "p_holm", "smallest_detectable", "verdict"]
COMPARISONS = ["teacher", "student", "train", "test", "protocol", "seed", "method", "against", *COMPARED]


def keys(frame: pd.DataFrame) -> list[str]:
    """Return the columns that tell cells apart: the coordinates, and the axes of the study (dotted params paths)."""
    return [*KEYS, *(column for column in frame.columns if "." in column)]


def check(frame: pd.DataFrame, columns: list[str], what: str) -> None:
    """Raise ValueError if `frame` is empty, lacks one of `columns`, or has a null among its coordinates or scores."""
    if missing := [column for column in columns if column not in frame.columns]:
        raise ValueError(f"{what} lack the columns {', '.join(missing)}")
    if frame.empty:
        raise ValueError(f"{what} are empty: there is nothing to report")
    for column in columns:
        if column not in ("answer_strict", "answer_flexible") and frame[column].isna().any():
            raise ValueError(f"{what} have a null in the column {column}")  # a group-by would drop such rows in silence


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by test, student, method (in the order of `methods.shown`, others after) and the other coordinates."""
    ranks = {name: rank for rank, name in enumerate(shown())}
    rank = frame["method"].map(lambda name: ranks.get(name, len(ranks)))
    by = ["test", "student", "_rank", "method", "teacher", "train", "seed"]
    # as text: an axis has "-" in the cells that it does not concern
    rest = {f"_{c}": frame[c].astype(str) for c in keys(frame) if c not in by and c in frame}
    ranked = frame.assign(_rank=rank, **rest).sort_values([*by, *rest], kind="stable", ignore_index=True)
    return ranked.drop(columns=["_rank", *rest])


def headline(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the main table, one per item and cell.  Raises ValueError for an item twice in a cell."""
    check(predictions, [*KEYS, "item", "sample"], "predictions")
    rows = predictions[predictions["sample"] == predictions["method"].map(lambda name: 0 if one_sample(name) else -1)]
    if rows.empty:
        reason = "no greedy answers (sample -1) and no sample 0 of a debate or a vote"
        raise ValueError(f"predictions have no headline rows: {reason}")
    twice = rows[rows.duplicated([*keys(rows), "item"])]
    if len(twice):
        raise ValueError(f"item {twice['item'].iloc[0]!r} occurs twice in {_cell(twice.iloc[0])}")
    return rows


def scores(rows: pd.DataFrame) -> pd.Series:
    """Return the score of each row by its task's measure: 0 or 1, or between them for open-ended answers."""
    correct = rows["correct_flexible"].astype(float)
    return rows["score"].astype(float).fillna(correct) if "score" in rows else correct


def _cell(row) -> str:
    return ", ".join(f"{key} {row[key]}" for key in KEYS)


def main_results(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the main table: MAIN, one row per cell; accuracy as a fraction with Wilson's interval at `level`.

    For an open-ended test `accuracy` is the mean of its `scores`, and the interval is bootstrapped.
    """
    check(predictions, [*KEYS, "item", "sample", "correct_flexible"], "predictions")
    rows = headline(predictions)
    groups = rows.assign(score=scores(rows)).groupby(keys(rows), sort=False)["score"]
    table = groups.agg(n="size", accuracy="mean").reset_index()
    intervals = [stats.mean_interval(values, level) for _, values in groups]
    table["ci_low"], table["ci_high"] = zip(*intervals, strict=True)
    return ordered(table)[[*keys(table), *RESULTS]]


def accuracies(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return all shares of right answers (of exact ones in an open-ended test): KEYS and SHARES.

    decoding: "greedy" or "sampled" (all samples; n counts answers, and the interval allows for their dependence).
    extraction: "strict" or "flexible".  half: "all" and, if a test has both, "seen templates" and "held-out templates".
    The interval is Wilson's at `level`.  unparsed: no flexible answer; truncated: stopped by the length limit.
    """
    columns = [*KEYS, "item", "sample", "held_out", "answer_flexible", "correct_strict", "correct_flexible", "finish"]
    check(predictions, columns, "predictions")
    if predictions.duplicated([*keys(predictions), "item", "sample"]).any():
        raise ValueError("predictions have a row twice: the same cell, item and sample")
    decoded = predictions.assign(decoding=(predictions["sample"] < 0).map({True: "greedy", False: "sampled"}))
    rows = []
    for key, cell in decoded.groupby([*keys(predictions), "decoding"], sort=False):
        held_out = cell["held_out"].astype(bool)
        halves = {"all": cell}
        if held_out.any() and not held_out.all():
            halves |= {"seen templates": cell[~held_out], "held-out templates": cell[held_out]}
        for half, part in halves.items():
            for extraction in ("strict", "flexible"):
                correct = part[f"correct_{extraction}"].to_numpy(dtype=float)
                n, accuracy = stats.effective_size(correct, part["item"]), correct.mean()
                low, high = stats.wilson(min(n, accuracy * n), n, level)
                unparsed, truncated = part["answer_flexible"].isna().mean(), (part["finish"] == "length").mean()
                rows.append((*key, extraction, half, len(part), accuracy, low, high, unparsed, truncated))
    return ordered(pd.DataFrame(rows, columns=[*keys(predictions), *SHARES]))


def opponents(key: dict, cells: list[dict]) -> list[dict]:
    """Return those of `cells` (of one method) with which `key` is compared.

    They share the test and, wherever both have one, teacher, student, training set, protocol and axis values.
    Of several seeds the same one is used, else the lowest: a base that was evaluated once serves all seeds.
    """
    best: dict[tuple, tuple] = {}
    for cell in cells:
        shared = [c for c in cell if c in ("teacher", "student", "train", "protocol") or "." in c]
        place = tuple(cell[c] for c in shared)
        if cell["test"] != key["test"] or any(cell[c] != key[c] and NONE not in (cell[c], key[c]) for c in shared):
            continue
        rank = (cell["seed"] != key["seed"], cell["seed"])
        if place not in best or rank < best[place][0]:
            best[place] = (rank, cell)
    return [cell for _, cell in best.values()]


def pairs(cells: list[dict]) -> Iterator[tuple[dict, dict]]:
    """Yield every comparison of the report: a cell and the cell with which it is compared."""
    by_method: dict[tuple, list[dict]] = {}
    for cell in cells:
        by_method.setdefault((cell["method"], cell["test"]), []).append(cell)
    for cell in cells:
        name = cell["method"]
        against = shown()[name].controls if name in shown() else ()
        if trained(name):
            against = ("base", *against, *debates())
        for method in against:
            for other in opponents(cell, by_method.get((method, cell["test"]), [])):
                yield cell, other


def comparisons(predictions: pd.DataFrame, resamples: int = 10_000, alpha: float = 0.05) -> pd.DataFrame:
    """Compare each method with base, controls and teachers' debates on the same items: COMPARISONS, one row per pair.

    difference: accuracy of `method` minus that of `against` (headline rows), with the paired bootstrap's interval at
    level 1 - alpha.  p: McNemar's exact test, or the paired t-test for an open-ended test's scores; p_holm: Holm's
    correction over this table.  smallest_detectable: at level 1 - alpha / rows, Holm's strictest step, with power 0.8.
    Raises ValueError if two cells have no item in common, or disagree about an item's gold answer.
    """
    check(predictions, [*KEYS, "item", "sample", "gold", "correct_flexible"], "predictions")
    counted = headline(predictions)
    groups = counted.assign(score=scores(counted)).groupby(keys(counted), sort=False)
    scored = {key: part.set_index("item")[["gold", "score"]] for key, part in groups}
    rows = []
    for cell, other in pairs([dict(zip(keys(counted), key, strict=True)) for key in scored]):
        joined = scored[tuple(cell.values())].join(scored[tuple(other.values())].add_suffix("_other"), how="inner")
        if joined.empty:
            raise ValueError(f"no item in common: {_cell(cell)} and {_cell(other)}")
        differ = joined[joined["gold"] != joined["gold_other"]]
        if len(differ):
            where = f"{_cell(cell)} and in {_cell(other)}"
            raise ValueError(f"item {differ.index[0]!r} has different gold answers in {where}")
        ours, theirs = joined["score"].to_numpy(), joined["score_other"].to_numpy()
        difference, low, high = stats.paired_bootstrap(theirs, ours, resamples=resamples, level=1 - alpha)
        teacher = other["teacher"] if cell["teacher"] == "-" else cell["teacher"]
        row = cell | {"teacher": teacher, "against": other["method"], "n": len(joined)}
        row |= {"difference": difference, "low": low, "high": high, "p": stats.paired_p(theirs, ours)}
        rows.append(row | {"detectable": partial(stats.smallest_detectable_of, theirs, ours)})
    if not rows:
        return pd.DataFrame(columns=COMPARISONS)
    table = stats.decided(pd.DataFrame(rows), 1 - alpha)
    return ordered(table)[[*COMPARISONS[:8], *(c for c in table.columns if "." in c), *COMPARED]]


def findings(comparisons: pd.DataFrame) -> list[str]:
    """Return a sentence per trained cell on its comparison with the untrained student, if there are at most four."""
    rows = comparisons[(comparisons.against == "base") & comparisons.method.map(trained)]
    axes = [column for column in rows if "." in column]
    sentences = [
        f"{r.student} after {shown()[r.method].label} on {r.train}"
        + "".join(f", {axis} = {r[axis]}" for axis in axes)
        + f": {100 * r.difference:+.1f} points on {r.test} "
        f"[{100 * r.low:.1f}, {100 * r.high:.1f}] against itself before training (n = {r.n}): {r.verdict}."
        for _, r in rows.iterrows()
    ]
    return sentences if len(sentences) <= 4 else []


def matrix(main: pd.DataFrame) -> pd.DataFrame:
    """Return the main table in the form of the paper's Tables 8-13, in percent.

    There is one row per teacher, test, student and method (and per protocol and axis value if there are several), and
    one column per training set; the accuracy of the base, which has none, is in each.  Several seeds are averaged.
    It is empty if no student was trained.
    """
    check(main, MAIN, "main results")
    students = main[main["method"].map(trained)]
    several = ["protocol"] if students["protocol"].nunique() > 1 else []
    by = ["teacher", "test", "student", *several, *(column for column in main.columns if "." in column)]
    rows = []
    for values, cells in students.groupby(by, sort=False):
        row = dict(zip(by, values, strict=True))
        base = cells_of(main, "base", {**row, "teacher": NONE, "protocol": NONE})["accuracy"].mean()
        rows.append(row | {"method": "base"} | dict.fromkeys(cells["train"].unique(), 100 * base))
        for method, part in cells.groupby("method", sort=False):
            means = 100 * part.groupby("train", sort=False)["accuracy"].mean()
            rows.append(row | {"method": method} | means.to_dict())
    return pd.DataFrame(rows, columns=None if rows else [*by, "method"]).set_index([*by, "method"])


def cells_of(rows: pd.DataFrame, method: str, place: dict) -> pd.DataFrame:
    """Return the rows of a method with the coordinates `place`, or "-" if they concern no axis of the study."""
    same = rows["method"] == method
    for column, value in place.items():
        same &= rows[column].isin([value, NONE])
    return rows[same]


def inference_cost(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the mean cost of headline answers: method, test, n, calls, tokens_in, tokens_cached and tokens_out."""
    costs = ["calls", "tokens_in", "tokens_cached", "tokens_out"]
    check(predictions, [*KEYS, "item", "sample", *costs], "predictions")
    groups = headline(predictions).groupby(["method", "test"], sort=False)
    table = groups[costs].mean().assign(n=groups.size()).reset_index()
    return ordered(table.assign(teacher="", student="", train="", protocol="", seed=0))[["method", "test", "n", *costs]]


def gains(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return each trained cell's gain over its base: KEYS, difference, low, high, in_domain.  Empty without a base.

    It is that of `paired` (see `comparisons`) if given, else of the main table, whose unpaired intervals are wider.
    """
    check(main, MAIN, "main results")
    columns = [*keys(main), "difference", "low", "high"]
    if paired is not None:
        gained = paired[paired["against"] == "base"]
    else:
        cells, rows = main.to_dict("records"), []
        bases = [cell for cell in cells if cell["method"] == "base"]
        for cell in cells:
            for base in opponents(cell, bases) if trained(cell["method"]) else []:
                sides = [side[c] for side in (base, cell) for c in ("accuracy", "ci_low", "ci_high")]
                difference, low, high = stats.unpaired_difference(*sides)
                rows.append(cell | {"difference": difference, "low": low, "high": high})
        gained = pd.DataFrame(rows, columns=columns)
    in_domain = [tasks.in_domain(train, test) for train, test in zip(gained["train"], gained["test"], strict=True)]
    return ordered(gained[columns].assign(in_domain=pd.Series(in_domain, index=gained.index, dtype=bool)))


def compare(ours: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return two main tables side by side: KEYS, side ("both", "only ours" or "only reference"), RESULTS, reference_n,
    reference_accuracy, difference (ours minus reference) and inside (whether the reference is in our interval; null if
    a side is missing).  Raises ValueError if a table has a cell twice.
    """
    axes = [c for c in {*ours.columns, *reference.columns} if "." in c]
    ours, reference = (fill_coordinates(t, axes).astype(dict.fromkeys(axes, str)) for t in (ours, reference))
    check(ours, MAIN, "our results")
    check(reference, MAIN, "reference results")
    by = keys(ours)
    for table, what in ((ours, "our results"), (reference, "reference results")):
        if table.duplicated(by).any():
            raise ValueError(f"{what} have a cell twice: {_cell(table[table.duplicated(by)].iloc[0])}")
    theirs = reference[[*by, "n", "accuracy"]].rename(columns={"n": "reference_n", "accuracy": "reference_accuracy"})
    both = ours[[*by, *RESULTS]].merge(theirs, on=by, how="outer", indicator="side")
    sides = {"both": "both", "left_only": "only ours", "right_only": "only reference"}
    both["side"] = both["side"].astype(str).map(sides)
    both["difference"] = both["accuracy"] - both["reference_accuracy"]
    inside = both["reference_accuracy"].between(both["ci_low"], both["ci_high"]).astype("boolean")
    both["inside"] = inside.where(both["side"] == "both")
    both[["n", "reference_n"]] = both[["n", "reference_n"]].astype("Int64")
    columns = ["side", *RESULTS, "reference_n", "reference_accuracy", "difference", "inside"]
    return ordered(both)[[*by, *columns]]
