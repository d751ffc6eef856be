"""The tables: pure functions of per-item prediction rows.

A row is one answer: teacher, student, method, train, test, seed, item, template, held_out, sample (-1 greedy, 0.. sampled),
text, answer_strict, answer_flexible, gold, correct_strict, correct_flexible, score (the task's measure; where there is none,
correct_flexible), tokens_in, tokens_cached, tokens_out, finish, calls.  Where a coordinate means nothing it is "-" (base: teacher and train;
teacher_*: student and train).

The headline is the flexible extraction of the greedy answer; debates and majority votes have one row an item, sample 0.
A slice of a study gives a slice of a table: absent methods are absent rows, never errors.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from .. import stats

KEYS = ["teacher", "student", "method", "train", "test", "seed"]
MAIN = [*KEYS, "n", "accuracy", "ci_low", "ci_high"]
COMPARISONS = ["teacher", "student", "train", "test", "seed", "method", "against", "n", "difference", "low", "high", "p",
               "p_holm", "smallest_detectable", "verdict"]  # fmt: skip
METHODS = ("base", "base_majority", "sft", "continued", "rsft_single", "rsft", "da", "pad", "ppo", "pad_shuffled", "rlvr",
           "teacher_single", "teacher_majority", "teacher_debate")  # fmt: skip
UNTRAINED = ("base", "base_majority", "teacher_single", "teacher_majority", "teacher_debate")
ONE_SAMPLE = (
    "base_majority",
    "teacher_single",
    "teacher_majority",
    "teacher_debate",
)  # never greedy: sample 0 is the row

# What a method is held against, besides base and the teacher's debate, which every trained student meets.
CONTROLS = {
    "rsft": ("rsft_single", "continued", "base_majority"),
    "da": ("rsft_single", "continued", "base_majority", "rsft"),
    "pad": ("rsft_single", "continued", "base_majority", "rsft", "da", "pad_shuffled", "rlvr"),
    "ppo": ("pad",),
    "teacher_debate": ("teacher_majority", "teacher_single"),
}

# Training sets made out of a benchmark's own training problems count as its domain (DECISIONS 12).
DERIVED = {("metamathqa", "gsm8k"), ("mini_meta", "mini_gsm")}


def check(frame: pd.DataFrame, columns: list[str], what: str) -> None:
    """ValueError where `frame` is empty, lacks one of `columns`, or has a null among its coordinates or scores."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"{what} lack the columns {', '.join(missing)}")
    if frame.empty:
        raise ValueError(f"{what} are empty: there is nothing to report")
    for column in columns:
        if column not in ("answer_strict", "answer_flexible") and frame[column].isna().any():
            raise ValueError(f"{what} have a null in the column {column}")  # a group-by would drop such rows in silence


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in reading order: by test, student, then method as in METHODS (others after), then the rest."""
    rank = frame["method"].map(lambda m: METHODS.index(m) if m in METHODS else len(METHODS))
    by = ["test", "student", "_rank", "method", "teacher", "train", "seed"]
    return frame.assign(_rank=rank).sort_values(by, kind="stable", ignore_index=True).drop(columns="_rank")


def headline(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows that the main table counts, one an item and cell; ValueError where an item occurs twice in a cell."""
    check(predictions, [*KEYS, "item", "sample"], "predictions")
    wanted = predictions["method"].isin(ONE_SAMPLE).map({True: 0, False: -1})
    rows = predictions[predictions["sample"] == wanted]
    if rows.empty:
        raise ValueError(
            "predictions have no headline rows: no greedy answers (sample -1) and no sample 0 of a debate or a vote"
        )
    twice = rows[rows.duplicated([*KEYS, "item"])]
    if len(twice):
        raise ValueError(f"item {twice['item'].iloc[0]!r} occurs twice in {_cell(twice.iloc[0])}")
    return rows


def scores(rows: pd.DataFrame) -> pd.Series:
    """What each row is worth by its task's measure: right or wrong, as 0 or 1, but for open-ended answers, whose overlap is between."""
    correct = rows["correct_flexible"].astype(float)
    return rows["score"].astype(float).fillna(correct) if "score" in rows else correct


def _cell(row) -> str:
    return ", ".join(f"{key} {row[key]}" for key in KEYS)


def main_results(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """The main table: MAIN, a row a cell; accuracy as a fraction with Wilson's interval at `level`.

    Of an open-ended test `accuracy` is the mean of its measure (`scores`), and the interval is bootstrapped.
    """
    check(predictions, [*KEYS, "item", "sample", "correct_flexible"], "predictions")
    rows = headline(predictions)
    groups = rows.assign(score=scores(rows)).groupby(KEYS, sort=False)["score"]
    made = groups.agg(n="size", accuracy="mean").reset_index()
    made["ci_low"], made["ci_high"] = zip(*(stats.mean_interval(of, level) for _, of in groups), strict=True)
    return ordered(made)[MAIN]


def accuracies(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Every share of right answers (of an open-ended test: of exact ones): KEYS, decoding, extraction, half, n, accuracy, ci_low, ci_high,
    unparsed, truncated.

    decoding: "greedy" | "sampled" (all samples of an item; n counts answers, and the interval is widened to what
    they are worth together).  extraction: "strict" | "flexible".  half: "all", and, where a test has both,
    "seen templates" and "held-out templates".  The interval is Wilson's at `level`.  unparsed: no flexible answer; truncated: stopped by the length limit.
    """
    columns = [*KEYS, "item", "sample", "held_out", "answer_flexible", "correct_strict", "correct_flexible", "finish"]
    check(predictions, columns, "predictions")
    if predictions.duplicated([*KEYS, "item", "sample"]).any():
        raise ValueError("predictions have a row twice: the same cell, item and sample")
    decoded = predictions.assign(decoding=(predictions["sample"] < 0).map({True: "greedy", False: "sampled"}))
    rows = []
    for key, cell in decoded.groupby([*KEYS, "decoding"], sort=False):
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
    names = [*KEYS, "decoding", "extraction", "half", "n", "accuracy", "ci_low", "ci_high", "unparsed", "truncated"]
    return ordered(pd.DataFrame(rows, columns=names))


def opponents(key: dict, cells: list[dict]) -> list[dict]:
    """Which of `cells` (of one method) `key` is held against: the same test, and the same teacher, student and training set
    wherever both have one.  Of several seeds the same one, else the lowest: a base that was run once serves all seeds.
    """
    best: dict[tuple, tuple] = {}
    for cell in cells:
        where = tuple(cell[c] for c in ("teacher", "student", "train"))
        wanted = tuple(key[c] for c in ("teacher", "student", "train"))
        if cell["test"] != key["test"] or any(a != b and "-" not in (a, b) for a, b in zip(where, wanted, strict=True)):
            continue
        rank = (cell["seed"] != key["seed"], cell["seed"])
        if where not in best or rank < best[where][0]:
            best[where] = (rank, cell)
    return [cell for _, cell in best.values()]


def _pairs(cells: list[dict]) -> Iterator[tuple[dict, dict]]:
    """Every comparison that the report makes: a cell and the cell that it is held against."""
    of: dict[tuple, list[dict]] = {}
    for cell in cells:
        of.setdefault((cell["method"], cell["test"]), []).append(cell)
    for cell in cells:
        against = CONTROLS.get(cell["method"], ())
        if cell["method"] not in UNTRAINED:
            against = ("base", *against, "teacher_debate")
        for method in against:
            for other in opponents(cell, of.get((method, cell["test"]), [])):
                yield cell, other


def comparisons(predictions: pd.DataFrame, resamples: int = 10_000, alpha: float = 0.05) -> pd.DataFrame:
    """Each method against base, controls and its teacher's debate, on the same items: COMPARISONS, a row a pair.

    difference = accuracy of `method` minus that of `against` (headline rows, inner join on item), with the paired bootstrap's
    95 % interval.  p is McNemar's exact (of an open-ended test's scores: the paired t-test's), p_holm Holm's over this whole table.
    smallest_detectable is meant for the same table: at level 1 - alpha / rows, Holm's strictest step, with power 0.8.  ValueError where two cells have no item in
    common, or disagree about an item's gold answer.
    """
    check(predictions, [*KEYS, "item", "sample", "gold", "correct_flexible"], "predictions")
    counted = headline(predictions)
    scored = {
        key: part.set_index("item")[["gold", "score"]]
        for key, part in counted.assign(score=scores(counted)).groupby(KEYS, sort=False)
    }
    rows = []
    for cell, other in _pairs([dict(zip(KEYS, key, strict=True)) for key in scored]):
        joined = scored[tuple(cell.values())].join(scored[tuple(other.values())].add_suffix("_other"), how="inner")
        if joined.empty:
            raise ValueError(f"no item in common: {_cell(cell)} and {_cell(other)}")
        differ = joined[joined["gold"] != joined["gold_other"]]
        if len(differ):
            raise ValueError(
                f"item {differ.index[0]!r} has different gold answers in {_cell(cell)} and in {_cell(other)}"
            )
        ours, theirs = joined["score"].to_numpy(), joined["score_other"].to_numpy()
        difference, low, high = stats.paired_bootstrap(theirs, ours, resamples=resamples)
        row = cell | {
            "teacher": other["teacher"] if cell["teacher"] == "-" else cell["teacher"],
            "against": other["method"],
        }
        rows.append(row | {"n": len(joined), "difference": difference, "low": low, "high": high,
                           "p": stats.paired_p(theirs, ours), "pair": (theirs, ours)})  # fmt: skip
    if not rows:
        return pd.DataFrame(columns=COMPARISONS)
    table = pd.DataFrame(rows)
    table["p_holm"] = stats.holm(table["p"])
    level = 1 - alpha / len(table)
    table["smallest_detectable"] = [stats.smallest_detectable_of(*pair, level) for pair in table["pair"]]
    table["verdict"] = [stats.verdict(r.difference, r.low, r.high, r.p_holm, alpha) for r in table.itertuples()]
    return ordered(table)[COMPARISONS]


def matrix(main: pd.DataFrame) -> pd.DataFrame:
    """The main table in the form of the paper's Tables 8-13, in percent: a row for every teacher, test, student and method, a column a training set.

    The base, which has none, stands in each column; several seeds are averaged.
    """
    check(main, MAIN, "main results")
    trained = main[~main["method"].isin(UNTRAINED)]
    rows = []
    for (teacher, test, student), cells in trained.groupby(["teacher", "test", "student"], sort=False):
        base = main[(main["method"] == "base") & (main["student"] == student) & (main["test"] == test)][
            "accuracy"
        ].mean()
        at = {"teacher": teacher, "test": test, "student": student}
        rows.append(at | {"method": "base"} | {train: 100 * base for train in cells["train"].unique()})
        rows += [
            at | {"method": method} | (100 * part.groupby("train", sort=False)["accuracy"].mean()).to_dict()
            for method, part in cells.groupby("method", sort=False)
        ]
    return pd.DataFrame(rows).set_index(["teacher", "test", "student", "method"])


def inference_cost(predictions: pd.DataFrame) -> pd.DataFrame:
    """What an answer costs, over headline rows: method, test, n, and the means an item of calls and of tokens in, cached, out."""
    costs = ["calls", "tokens_in", "tokens_cached", "tokens_out"]
    check(predictions, [*KEYS, "item", "sample", *costs], "predictions")
    groups = headline(predictions).groupby(["method", "test"], sort=False)
    table = groups[costs].mean().assign(n=groups.size()).reset_index()
    return ordered(table.assign(teacher="", student="", train="", seed=0))[["method", "test", "n", *costs]]


def in_domain(train: str, test: str) -> bool:
    """Whether a test measures what was trained on: the same benchmark, or one that the training set derives from."""
    return train == test or (train, test) in DERIVED


def gains(main: pd.DataFrame, paired: pd.DataFrame | None = None) -> pd.DataFrame:
    """Each trained cell's gain over its base: KEYS, difference, low, high, in_domain.  Empty where there is no base.

    From `paired` (what `comparisons` returned) where it is given; else from the main table alone, whose unpaired intervals are
    wider than need be.
    """
    check(main, MAIN, "main results")
    columns = [*KEYS, "difference", "low", "high"]
    if paired is not None:
        found = paired[paired["against"] == "base"]
    else:
        cells, rows = main.to_dict("records"), []
        bases = [cell for cell in cells if cell["method"] == "base"]
        for cell in cells:
            for base in opponents(cell, bases) if cell["method"] not in UNTRAINED else []:
                sides = [side[c] for side in (base, cell) for c in ("accuracy", "ci_low", "ci_high")]
                difference, low, high = stats.unpaired_difference(*sides)
                rows.append(cell | {"difference": difference, "low": low, "high": high})
        found = pd.DataFrame(rows, columns=columns)
    known = [in_domain(train, test) for train, test in zip(found["train"], found["test"], strict=True)]
    return ordered(found[columns].assign(in_domain=pd.Series(known, index=found.index, dtype=bool)))


def compare(ours: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Two main tables side by side: KEYS, side ("both" | "only ours" | "only reference"), n, accuracy, ci_low, ci_high,
    reference_n, reference_accuracy, difference (ours minus reference), inside (does the reference lie in our interval?
    null where a side is absent).  ValueError where a table has a cell twice.
    """
    check(ours, MAIN, "our results")
    check(reference, MAIN, "reference results")
    for table, what in ((ours, "our results"), (reference, "reference results")):
        if table.duplicated(KEYS).any():
            raise ValueError(f"{what} have a cell twice: {_cell(table[table.duplicated(KEYS)].iloc[0])}")
    theirs = reference[[*KEYS, "n", "accuracy"]].rename(columns={"n": "reference_n", "accuracy": "reference_accuracy"})
    both = ours[MAIN].merge(theirs, on=KEYS, how="outer", indicator="side")
    both["side"] = (
        both["side"].astype(str).map({"both": "both", "left_only": "only ours", "right_only": "only reference"})
    )
    both["difference"] = both["accuracy"] - both["reference_accuracy"]
    inside = both["reference_accuracy"].between(both["ci_low"], both["ci_high"]).astype("boolean")
    both["inside"] = inside.where(both["side"] == "both", pd.NA)
    both[["n", "reference_n"]] = both[["n", "reference_n"]].astype("Int64")
    columns = [
        *KEYS,
        "side",
        "n",
        "accuracy",
        "ci_low",
        "ci_high",
        "reference_n",
        "reference_accuracy",
        "difference",
        "inside",
    ]
    return ordered(both)[columns]
