"""The audit of the paper's tables: rounding, noise, readings, repeated numbers, and the text beside the tables."""

from collections.abc import Callable
from math import exp

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from agentark import params, store
from agentark.graph import graph
from agentark.report import audit, audit_numbers, paper
from agentark.report.audit_numbers import QUESTIONS, TRAINS

Tables = dict[str, pd.DataFrame]
MAIN, BASE = "table09_13_distillation", "table09_13_baselines"


def tables() -> Tables:
    return {name: paper.table(name) for name in paper.names()}


def cells() -> pd.DataFrame:
    return audit_numbers.matrix(paper.table(MAIN), paper.table(BASE))


def small(values: list[float], base: list[float], test: str = "gsm8k", **columns) -> pd.DataFrame:
    """A few cells of one test, as `matrix` returns them."""
    about = {"table": "table9", "student": [f"s{n}" for n in range(len(values))], "teacher": "qwen3-32b"}
    frame = pd.DataFrame(about | {"method": "pad", "train": "math", "test": test, "value": values} | columns)
    return audit_numbers.matrix(frame, frame[["student", "test"]].assign(value=base))


# Rounding


def test_printable_by_hand():
    assert audit_numbers.printable(3) == {0, 3333, 6667, 10000}
    assert audit_numbers.printable(3, "cut") == {0, 3333, 6666, 10000}
    # 1/32 is 3.125 % and 3/32 is 9.375 %: ties, of which half to even rounds the first down and the second up.
    assert {313, 938} <= audit_numbers.printable(32, "half up") and 312 not in audit_numbers.printable(32, "half up")
    assert {312, 938} <= audit_numbers.printable(32, "half even") and 313 not in audit_numbers.printable(
        32, "half even"
    )
    assert {312, 937} <= audit_numbers.printable(32, "cut")


@pytest.mark.parametrize("n", [*QUESTIONS.values(), audit.TRUTHFULQA])
def test_odd_sizes_have_no_ties(n):
    numbers = audit_numbers.printable(n)
    assert numbers == audit_numbers.printable(n, "half even") and len(numbers) == n + 1
    assert numbers == {round(100 * k / n * 100) for k in range(n + 1)}


def test_consistent_tables_all_fit_and_random_numbers_fit_by_chance():
    rng = np.random.default_rng(0)
    for test, n in QUESTIONS.items():
        right = [round(100 * k / n, 2) for k in rng.integers(0, n, 180)]
        table = small(right, right, test)
        fits = audit_numbers.one_run(table).query(f"test == '{test}'").set_index("rule")
        assert fits.fit["half up"] == 180 and table.one_run.all()
        assert audit_numbers.no_one_run(table).cells.sum() == 0
        others = audit_numbers.other_sizes(table).loc[f"{test}, n = {n}"].drop("n")
        assert (others < 0.75 * 180).all()
        drawn = small(list(rng.integers(0, 10_001, 4000) / 100), [50.0] * 4000, test)
        fits = audit_numbers.one_run(drawn).query(f"test == '{test}'").set_index("rule")
        spread = np.sqrt(fits.expected * (1 - fits.chance))
        assert ((fits.fit - fits.expected).abs() < 4 * spread).all()


def test_means_of_runs_are_found():
    n = QUESTIONS["gsm8k"]
    halves = [round(100 * (k + 0.5) / n, 2) for k in range(600, 700)]  # means of two runs that differ by one answer
    table = small(halves, halves)
    left = audit_numbers.no_one_run(table).query("test == 'gsm8k'").set_index("form")
    assert left.cells["mean of 2 runs"] == left.fit["mean of 2 runs"] == 100
    assert left.fit["mean of 3 runs"] < 60


def test_the_papers_cells():
    fits = audit_numbers.one_run(cells()).groupby("rule")["no fit"].sum()
    assert fits["half up"] == fits["half even"] == 81 and fits["half up or cut"] == 65  # DECISIONS 34
    sizes = audit_numbers.other_sizes(cells())
    assert (sizes["n"] > 1.5 * sizes.drop(columns="n").max(axis=1)).all()
    printed = pd.read_csv(paper.FOLDER / f"{MAIN}.csv", dtype=str).value
    assert not printed[printed.str.len() == 5].str.endswith("0").any()  # trailing zeros were dropped


# Noise


def test_an_interval_by_hand():
    z, n = 1.959963985, 1319
    limits = {}
    for p in (0.5, 0.6):
        middle, reach = (p + z * z / (2 * n)), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
        limits[p] = [(middle + sign * reach) / (1 + z * z / n) for sign in (-1, 1)]
    low = 0.1 - ((0.6 - limits[0.6][0]) ** 2 + (limits[0.5][1] - 0.5) ** 2) ** 0.5
    high = 0.1 + ((limits[0.6][1] - 0.6) ** 2 + (0.5 - limits[0.5][0]) ** 2) ** 0.5
    row = audit_numbers.gains(small([60.0, 50.08], [50.0, 50.0])).iloc[0]
    assert (row.low, row.high) == pytest.approx((100 * low, 100 * high)) and row.side == "above"
    assert row.paired_below == 1  # 1,319 × 0.01 / 3.84 exceeds all questions
    assert row.p_holm == pytest.approx(2 * row.p)


def test_a_table_without_effects_exceeds_nothing():
    base = [40.0, 60.0, 80.0]
    table = audit_numbers.gains(small(base, base))
    counts = audit_numbers.sides(table, ["method"]).iloc[0]
    assert (counts.within, counts.above, counts.below, counts.zero, counts["after Holm"]) == (3, 0, 0, 3, 0)
    assert counts.chance == pytest.approx(0.075) and table.paired_below.isna().sum() == 0
    assert audit_numbers.paired(table).loc[0, ["outside", "2%", "20%"]].tolist() == [0, 0, 0]


def test_a_paired_test_needs_few_disagreements():
    """2 points of 1,319 questions are significant if at most 1,319 × 0.0004 / 3.84 = 13.7 % of the answers differ."""
    table = audit_numbers.gains(small([52.0, 50.08], [50.0, 50.0]))
    assert table.paired_below[0] == pytest.approx(1319 * 0.0004 / 1.959964**2)
    assert pd.isna(table.paired_below[1])  # one question: no paired test finds that
    assert audit_numbers.paired(table).loc[0, ["2%", "5%", "10%", "20%"]].tolist() == [1, 1, 1, 0]


def test_the_papers_gains():
    counts = audit_numbers.sides(audit_numbers.gains(cells()), ["method"]).set_index("method").loc["pad"]
    assert (counts.cells, counts.within, counts.above, counts.below) == (120, 104, 16, 0)  # DECISIONS 34
    assert (counts.positive, counts.zero) == (119, 1)


# Readings


def test_readings_by_hand():
    """Gains of 5 points from 50 and of 0 from 100: 2.5 points, 5 % as a mean of 10 % and 0 %, 3.3 % of the mean."""
    table = audit_numbers.readings(small([55.0, 100.0], [50.0, 100.0]))
    found = table[(table.method == "pad") & (table.test == "both") & (table.teachers == "all")].set_index("form").gain
    assert found.to_dict() == pytest.approx({"points": 2.5, "mean relative": 5, "ratio of means": 100 * 5 / 150})
    match, expected = audit_numbers.matching(pd.DataFrame({"gain": [4.84, 4.86, 4.4, 5.4]}), 4.8)
    assert match.gain.tolist() == [4.84] and expected == pytest.approx(0.3)


def test_the_papers_gain():
    table = audit_numbers.readings(cells())
    match, expected = audit_numbers.matching(table, 4.8)
    assert len(table) == 3 * 4 * 3 * 3 and set(match.form) == {"mean relative", "ratio of means"} and expected == 0.9
    points = table[(table.form == "points") & (table.test == "both")].set_index(["method", "teachers"]).gain
    assert points["pad", "qwen3-32b"] == pytest.approx(2.49, abs=0.005)  # DECISIONS 31
    assert points["pad", "all"] == pytest.approx(1.36, abs=0.005) and points["all", "all"] == pytest.approx(
        1.28, abs=0.005
    )


def test_experiments():
    assert audit_numbers.experiments(cells()).found.tolist() == [180, 120, 360, 120, 120]  # DECISIONS 32


# Repeated numbers


def test_repeats_by_hand():
    """100, 100, 101 and 110 right answers: one pair is equal, two differ by one, the others by more than five."""
    values = [round(100 * k / QUESTIONS["gsm8k"], 2) for k in (100, 100, 101, 110)]
    row = audit_numbers.repeats(pd.DataFrame({"student": "s", "test": "gsm8k", "value": values})).iloc[0]
    assert (row.pairs, row.same_printed, row.same_k, row.expected) == (6, 1, 1, 0.2)


def test_independent_runs_repeat_as_often_as_expected():
    rng = np.random.default_rng(0)
    k = rng.binomial(1319, 0.5, 1000)
    row = audit_numbers.repeats(
        pd.DataFrame({"student": "s", "test": "gsm8k", "value": (100 * k / 1319).round(2)})
    ).iloc[0]
    assert row.same_k == pytest.approx(row.expected, rel=0.1) and row.same_printed == row.same_k


@pytest.mark.parametrize(("p", "n"), [(0.5, 1319), (0.88, 1319), (0.3, 4183)])
def test_the_chance_of_one_number(p, n):
    exact = (binom.pmf(np.arange(n + 1), n, p) ** 2).sum()
    assert audit_numbers.same_by_chance(100 * p, n) == pytest.approx(exact, rel=0.01)


def test_repeated_rows():
    index = pd.MultiIndex.from_tuples([("gsm8k", name) for name in "abc"], names=["test", "row"])
    rows = pd.DataFrame([[50.0, 51.0, 52.0, 53.0], [50.0, 51.0, 52.0, 60.0], [61.0, 62.0, 63.0, 64.0]], index, TRAINS)
    found = audit_numbers.repeated_rows(rows)
    assert found[["row", "other", "equal", "of"]].to_numpy().tolist() == [["a", "b", 3, 4]]
    assert found.expected[0] == pytest.approx(3 * 4 * audit_numbers.same_by_chance(51.5, 1319) ** 3)
    assert audit_numbers.repeated_rows(rows.iloc[1:]).empty


def test_the_papers_repeated_rows():
    found = audit_numbers.repeated_rows(audit_numbers.by_training_set(tables()), least=4)
    assert set(zip(found.row, found.other, strict=True)) == {
        ("Table 11, PAD of gemma3-27b-it", "Table 5, PPO"),  # DECISIONS 36
        ("Table 13, PAD of qwen3-32b", "Table 4, PRM 0.6B, LLM 0.6B"),
    }


# The text beside the tables


@pytest.fixture(scope="module")
def statements() -> pd.DataFrame:
    return audit.statements(tables())


def changed(name: str, where: str, value) -> Callable[[Tables], None]:
    """A change of one table: `value`, or value(old values), in the rows of a query."""

    def change(given: Tables) -> None:
        rows = given[name].query(where).index
        column = "trajectories" if "table03" in name else "hours" if "table06" in name else "value"
        assert len(rows)
        given[name].loc[rows, column] = value(given[name].loc[rows, column]) if callable(value) else value

    return change


def nearest(given: Tables) -> None:
    """Each cell becomes the nearest number that one run can give."""
    for test, n in QUESTIONS.items():
        changed(MAIN, f"test == '{test}'", lambda v, n=n: ((v * n / 100).round() * 100 / n).round(2))(given)


def two_teachers(given: Tables) -> None:
    given[MAIN] = given[MAIN].query("teacher != 'qwen3-8b'").reset_index(drop=True)


def transposed(given: Tables) -> None:
    """The two sets that are both trained and tested on change places."""
    both = given[MAIN].train.isin(QUESTIONS)
    given[MAIN].loc[both, ["train", "test"]] = given[MAIN].loc[both, ["test", "train"]].to_numpy()


def size_of_the_prm(given: Tables) -> None:
    """The PRM's size adds 60 points, and the policy's nothing."""
    for size, value in (("0.6B", 20.0), ("8B", 80.0)):
        changed("table04_prm_ablation", f"prm == '{size}'", value)(given)


def as_pad(given: Tables) -> None:
    """Table 4 has the values of PAD where its PRM and its policy have one size."""
    main = given[MAIN].query("teacher == 'qwen3-32b' and method == 'pad'")
    for size, student in (("0.6B", "qwen3-0.6b"), ("8B", "qwen3-8b")):
        for row in main[main.student == student].itertuples():
            where = f"prm == policy == '{size}' and test == '{row.test}' and train == '{row.train}'"
            changed("table04_prm_ablation", where, row.value)(given)


def swapped_algorithms(given: Tables) -> None:
    given["table05_ppo_vs_grpo"]["algorithm"] = given["table05_ppo_vs_grpo"].algorithm.map(
        {"ppo": "grpo", "grpo": "ppo"}
    )


PAD_BEST = changed("table01_reasoning_quality", "method == 'pad' and metric not in ['avg_nll', 'perplexity']", 5.0)
RSFT_PERPLEXITY = changed(
    "table01_reasoning_quality", "method == 'rsft' and metric == 'perplexity'", round(exp(0.4092), 4)
)
NO_SHARES = changed("table02_truthfulqa", "value > 0", lambda v: (v * 817).round() / 817 + 0.0006)
FILTERED = changed("table03_dataset_statistics", "teacher == 'qwen3-8b'", lambda v: v - 400)
PAD_FIRST = changed("table07_two_step", "method == 'pad+da' and second_stage_data == 'base'", [69.83, 42.46])
SMALLER = changed("table08_sft", "student == 'gemma-7b' and test == 'medmcqa' and train == 'medmcqa'", 49.29 + 6.8)
LARGE_PAD = changed(MAIN, "method == 'pad'", lambda v: v + 8)


@pytest.mark.parametrize(
    ("words", "before", "change", "after"),
    [
        ("accuracy on the test dataset", "in part", nearest, "agrees"),
        ("120 experiments in total", "in part", two_teachers, "agrees"),
        ("rows are training datasets", "differs", transposed, "agrees"),
        ("PAD consistently yields", "in part", LARGE_PAD, "agrees"),
        ("significantly improves", "in part", LARGE_PAD, "agrees"),
        ("RSFT and DA sometimes", "agrees", changed(MAIN, "method in ['rsft', 'da']", 1.0), "differs"),
        ("MetaMathQA improves most", "agrees", changed(MAIN, "train == 'medmcqa'", 99.0), "differs"),
        ("1.7B and 0.6B consistently", "in part", changed(MAIN, "student == 'qwen3-8b'", 1.0), "agrees"),
        ("cross-family gains", "in part", changed(MAIN, "student.str.startswith('qwen')", 1.0), "agrees"),
        ("PAD achieves the highest scores across all dim", "in part", PAD_BEST, "agrees"),
        ("perplexity is exp", "in part", RSFT_PERPLEXITY, "agrees"),
        ("BLEU and ROUGE", "differs", NO_SHARES, "agrees"),
        ("a larger PRM yields gains", "in part", size_of_the_prm, "agrees"),
        ("PRM capacity matters", "differs", size_of_the_prm, "agrees"),
        ("PPO is marginally higher", "agrees", swapped_algorithms, "differs"),
        ("GRPO achieves higher", "differs", swapped_algorithms, "agrees"),
        ("PAD is trained with GRPO", "differs", swapped_algorithms, "agrees"),
        ("the PRM starts from the student", "in part", as_pad, "agrees"),
        ("T counts correct trajectories", "differs", FILTERED, "agrees"),
        ("PAD is PRM training and GRPO", "agrees", changed("table06_training_cost", "method == 'prm'", 9), "differs"),
        ("PAD+DA stacks DA", "differs", PAD_FIRST, "agrees"),
        ("+6.8 for Gemma-7B", "in part", SMALLER, "agrees"),
        ("the original model scores", "agrees", changed(BASE, "student == 'gemma-7b'", 1.0), "in part"),
    ],
)
def test_a_verdict_follows_the_tables(statements, words, before, change, after):
    """As the paper prints them, and changed so that they are consistent (or, if they are, so that they are not)."""
    assert statements[statements.paper.str.startswith(words)].verdict.iloc[0] == before
    given = tables()
    change(given)
    found = audit.statements(given)
    assert found[found.paper.str.startswith(words)].verdict.iloc[0] == after


def test_every_statement_has_its_formula_and_a_known_verdict(statements):
    found = statements
    assert list(found.columns) == ["where", "paper", "table", "formula", "recomputed", "chance", "verdict"]
    assert (found[["where", "paper", "table", "formula", "recomputed"]] != "").all().all()
    assert set(found.verdict) == {"agrees", "in part", "differs", "no table"}
    assert not found.duplicated(["table", "paper", "formula"]).any()


def test_averages_are_rounded_half_up(statements):
    """49.705 prints as 49.71 in Table 5; half to even would be 49.70."""
    found = statements.set_index("where")
    assert found.recomputed["Table 5"] == "4 of 4" and found.recomputed["Table 4"] == "8 of 8"


def test_the_job_reads_the_papers_tables_only():
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]
    [job] = [job for job in graph.all_jobs(config, 0) if job.notebook == "20_audit"]
    assert {path.stem for path in job.inputs} == set(paper.names()) and not job.models
    assert [path.name for path in job.outputs] == ["paper_audit.csv"]
