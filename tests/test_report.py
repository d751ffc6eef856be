"""Tables and figures from a small made-up study, and the paper's own numbers."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

from agentark import stats, tasks
from agentark.evaluate import group
from agentark.grade import grading, overlap
from agentark.models.names import display_name
from agentark.report import collect, figures, paper, tables

N = 40
KEYS = ["teacher", "student", "train", "test", "method", "against"]  # of a comparison


def cell(method, share, teacher="-", student="-", train="-", test="mini_gsm", seed=0, sample=-1, first=0, n=N):
    """Rows of one cell: `share` of the items is right, from item number `first` on; a fifth of the right has no answer
    line.
    """
    right = np.arange(n) < round(share * n)
    return pd.DataFrame({
        "teacher": teacher, "student": student, "method": method, "train": train, "test": test,
        "protocol": "-" if train == "-" else "debate", "seed": seed,
        "item": [f"{test}-{first + i}" for i in range(n)], "template": "t", "held_out": [i % 2 == 0 for i in range(n)],
        "sample": sample, "text": "…", "answer_strict": [None if i % 5 == 0 else "1" for i in range(n)],
        "answer_flexible": [None if i == n - 1 else "1" for i in range(n)], "gold": [str(first + i) for i in range(n)],
        "correct_strict": right & (np.arange(n) % 5 != 0), "correct_flexible": right, "tokens_in": 100, "tokens_cached": 20,
        "tokens_out": 50, "finish": ["length" if i < 4 else "stop" for i in range(n)], "calls": 15 if method == "teacher_debate" else 1,
    })  # fmt: skip


def study(
    methods=("sft", "gold_rsft", "rsft_single", "rsft", "da"),
    students=("llama", "qwen"),
    tests=("mini_gsm", "mini_med"),
) -> pd.DataFrame:
    shares = {"sft": 0.3, "gold_rsft": 0.5, "rsft_single": 0.55, "rsft": 0.7, "da": 0.75, "pad": 0.8}
    parts = []
    for test in tests:
        for method, share in (("teacher_single", 0.7), ("teacher_majority", 0.8), ("teacher_debate", 0.9)):
            parts.append(cell(method, share, teacher="big", test=test, sample=0))
        for student in students:
            parts += [
                cell("base", 0.4, student=student, test=test),
                cell("base_majority", 0.5, student=student, test=test, sample=0),
            ]
            for method, train in itertools.product(methods, ("mini_gsm", "mini_med")):
                parts.append(cell(method, shares.get(method, 0.6), "big", student, train, test))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def predictions():
    return study()


@pytest.fixture(scope="module")
def main(predictions):
    return tables.main_results(predictions)


def test_main_results(main):
    assert list(main.columns) == tables.MAIN
    assert len(main) == 2 * (3 + 2 * (2 + 5 * 2))
    row = main[
        (main["method"] == "rsft")
        & (main["student"] == "llama")
        & (main["test"] == "mini_gsm")
        & (main["train"] == "mini_gsm")
    ].iloc[0]
    assert (row["n"], row["accuracy"]) == (40, 0.7)
    assert (row["ci_low"], row["ci_high"]) == stats.wilson(28, 40)


def test_an_open_ended_test_is_counted_by_its_score():
    base, rsft = cell("base", 0.0, student="a"), cell("rsft", 0.0, "big", "a", "mini_gsm")
    both = pd.concat([base.assign(score=[0.0, 0.2] * 20), rsft.assign(score=[0.3, 0.5, 0.4, 0.4] * 10)])
    main = tables.main_results(both).set_index("method")
    assert (
        main.accuracy.to_dict() == pytest.approx({"base": 0.1, "rsft": 0.4})
        and (main.ci_low < main.accuracy).all()
        and (main.ci_high < 0.6).all()
    )
    row = tables.comparisons(both).iloc[0]
    assert row["difference"] == pytest.approx(0.3) and row["verdict"] == "better" and row["p"] < 1e-6
    # the rows of a table without scores: right or wrong
    assert tables.main_results(both.assign(score=None)).accuracy.tolist() == [0.0, 0.0]


def test_a_debates_free_answers_have_the_score_of_their_task():
    problems = tasks.problems("mini_truthful", "test", 3)
    texts = [f"Answer: {problems[0].references[0]}", f"Answer: {problems[1].incorrect[0]}", "We do not know"]
    about = {"round": 1, "tokens_in": 9, "tokens_cached": 0, "tokens_out": 9, "finish": "stop", "template": "t"}
    log = pd.DataFrame(
        [
            {"problem": p.id, "text": text, "agent": agent, "gold": p.answer, "held_out": False, **about}
            for p, text in zip(problems, texts, strict=True)
            for agent in (1, 0)
        ]
    )
    graded = log.join(grading.grade(log, "mini_truthful", "test"))
    scores = group.debate(graded, "mini_truthful", {"method": "teacher_debate"}).score.tolist()
    assert scores == [overlap.score(problems[0].references[0], problems[0], "truth"), 0.0, 0.0] and scores[0] == 1.0
    # rows that have a score keep it
    sampled = cell("base", 0.0, student="s", test="mini_truthful", n=3, sample=0).assign(
        item=[p.id for p in problems], answer_flexible="a", score=[0.5, 0.0, 0.25]
    )
    assert group.base_majority(sampled, "mini_truthful", {}).score.tolist() == [0.5, 0.0, 0.25]


@pytest.mark.parametrize("function", [tables.main_results, tables.accuracies])
def test_intervals_are_of_the_level_that_is_given(predictions, function):
    for level in (0.5, 0.99):
        row = (
            function(predictions, level)
            .query("method == 'rsft' and student == 'llama' and test == 'mini_gsm' and train == 'mini_gsm'")
            .iloc[-1]
        )
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(
            stats.wilson(row["accuracy"] * row["n"], row["n"], level)
        )
    pd.testing.assert_frame_equal(function(predictions), function(predictions, 0.95))


def test_paired_intervals_are_of_the_level_that_is_given(predictions):
    wide, narrow = (tables.comparisons(predictions, 500, alpha).set_index(KEYS) for alpha in (0.01, 0.5))
    differ = wide.high > wide.low
    assert differ.any() and ((wide.high - wide.low) > (narrow.high - narrow.low))[differ].all()


def test_by_method_says_the_level(predictions):
    drawn = figures.by_method(tables.main_results(predictions, 0.9), 0.9)
    assert "its 90 % interval" in drawn._supxlabel.get_text()
    assert "its 95 % interval" in figures.by_method(tables.main_results(predictions))._supxlabel.get_text()


def test_by_method_draws_students_of_another_task_hollow(predictions):
    main = tables.main_results(predictions)
    main = main[main["method"].isin(["base", "rsft"]) & (main["test"] == "mini_gsm")]
    others = main[~main["train"].isin(["-", "mini_gsm"])]

    def hollow(rows) -> list[float]:
        lines = figures.by_method(rows).axes[0].get_lines()
        return sorted(x for line in lines if line.get_markerfacecolor() == "white" for x in line.get_xdata())

    assert len(others) and hollow(main) == pytest.approx(sorted(100 * others["accuracy"]))
    assert hollow(main[main["train"] != "mini_gsm"]) == []  # no student was trained on the test's own task


def test_main_results_take_the_greedy_answer_only(predictions):
    sampled = predictions.query("method == 'rsft'").assign(sample=0, correct_flexible=False)
    more = pd.concat([predictions, sampled], ignore_index=True)
    pd.testing.assert_frame_equal(tables.main_results(more), tables.main_results(predictions))
    with pytest.raises(ValueError, match="no headline rows"):
        tables.main_results(sampled)


def test_accuracies(predictions):
    rows = tables.accuracies(predictions).query(
        "method == 'rsft' and student == 'llama' and test == 'mini_gsm' and train == 'mini_gsm'"
    )
    by = rows.set_index(["extraction", "half"])
    assert len(rows) == 6 and set(rows["decoding"]) == {"greedy"}
    assert by.loc[("flexible", "all"), ["n", "accuracy"]].tolist() == [40, 0.7]
    assert by.loc[("strict", "all"), "accuracy"] == 22 / 40  # 6 of the 28 right ones have no answer line
    assert by.loc[("flexible", "held-out templates"), "n"] == 20
    assert by.loc[("flexible", "all"), ["unparsed", "truncated"]].tolist() == [1 / 40, 0.1]


def test_accuracies_have_no_halves_where_a_test_has_none():
    assert set(tables.accuracies(cell("base", 0.4, student="a").assign(held_out=False))["half"]) == {"all"}


def test_samples_of_an_item_are_not_independent():
    one = cell("base", 0.4, student="a", sample=0)
    row = (
        tables.accuracies(pd.concat([one.assign(sample=s) for s in range(5)]))
        .query("extraction == 'flexible' and half == 'all'")
        .iloc[0]
    )
    assert row["n"] == 200 and row["decoding"] == "sampled"
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(stats.wilson(16, 40))  # five copies are worth one


def test_comparisons(predictions):
    table = tables.comparisons(predictions, resamples=500)
    assert list(table.columns) == tables.COMPARISONS
    pairs = table.query("student == 'llama' and train == 'mini_gsm' and test == 'mini_gsm'").set_index(
        ["method", "against"]
    )
    assert set(pairs.loc["da"].index) == {"base", "rsft", "rsft_single", "gold_rsft", "base_majority", "teacher_debate"}
    assert set(pairs.loc["sft"].index) == {"base", "teacher_debate"}
    row = pairs.loc[("da", "base")]  # 14 items won, none lost, of 40
    assert row["difference"] == pytest.approx(0.35) and row["n"] == 40
    assert row["p"] == pytest.approx(2 / 2**14) and row["verdict"] == "better"
    gap = pairs.loc[("sft", "teacher_debate")]
    assert gap["difference"] == pytest.approx(-0.6) and gap["verdict"] == "worse" and gap["teacher"] == "big"
    assert pairs.loc[("da", "rsft"), "verdict"] == "no difference detectable"  # 2 against 0
    debate = table[table["method"] == "teacher_debate"]
    assert set(debate["against"]) == {"teacher_majority", "teacher_single"} and set(debate["student"]) == {"-"}
    assert table["p_holm"].to_numpy() == pytest.approx(stats.holm(table["p"]))
    assert not ((table["verdict"] != "no difference detectable") & (table["p_holm"] > 0.05)).any()
    assert (table["smallest_detectable"] > 0).all()


def test_comparisons_are_paired_on_the_items_in_common():
    parts = [cell("base", 0.5, student="a"), cell("rsft", 1.0, "big", "a", "mini_gsm", first=30)]
    row = tables.comparisons(pd.concat(parts)).iloc[0]
    assert row["n"] == 10 and row["difference"] == 1.0  # items 30 to 39, which the base has all wrong


def test_comparisons_take_the_seed_that_there_is():
    parts = [cell("base", 0.5, student="a"), cell("base", 0.25, student="a", seed=2)]
    parts += [cell("rsft", 0.5, "big", "a", "mini_gsm", seed=s) for s in (1, 2)]
    table = tables.comparisons(pd.concat(parts)).set_index("seed")
    assert table.loc[1, "difference"] == 0 and table.loc[2, "difference"] == 0.25


def test_comparisons_keep_teachers_apart():
    parts = [cell("teacher_debate", s, t, sample=0) for t, s in (("big", 0.9), ("huge", 1.0))]
    parts += [cell("rsft", 0.5, t, "a", "mini_gsm") for t in ("big", "huge")]
    assert tables.comparisons(pd.concat(parts)).set_index("teacher")["difference"].to_dict() == pytest.approx(
        {"big": -0.4, "huge": -0.5}
    )


def test_comparisons_keep_protocols_and_axis_values_apart():
    def trained(method, share, protocol, agents):
        return cell(method, share, "big", "a", "mini_gsm").assign(protocol=protocol, **{"debate.agents": agents})

    cells = [("debate", 3, 0.5, 0.6), ("debate", 5, 0.5, 0.8), ("shuffled", 5, 0.4, 0.9)]
    parts = [cell("base", 0.1, student="a").assign(**{"debate.agents": "-"})]
    for protocol, agents, rsft, da in cells:
        parts += [trained("rsft", rsft, protocol, agents), trained("da", da, protocol, agents)]
    table = tables.comparisons(pd.concat(parts))
    against = {
        name: part.set_index(["protocol", "debate.agents"]).difference.to_dict()
        for name, part in table[table["method"] == "da"].groupby("against")
    }
    assert against["rsft"] == pytest.approx({(p, agents): da - rsft for p, agents, rsft, da in cells})
    assert against["base"] == pytest.approx({(p, agents): da - 0.1 for p, agents, _, da in cells})


def test_findings_are_sentences_of_few_cells_only(predictions):
    parts = [cell("base", 0.2, student="a"), cell("rsft", 0.9, "big", "a", "mini_gsm")]
    (sentence,) = tables.findings(tables.comparisons(pd.concat(parts)))
    assert sentence.startswith("a after R-SFT on mini_gsm: +70.0 points on mini_gsm [")
    assert sentence.endswith("] against itself before training (n = 40): better.")
    assert tables.findings(tables.comparisons(predictions, resamples=100)) == []


def test_comparisons_refuse_what_is_not_the_same_item():
    base, rsft = cell("base", 0.5, student="a"), cell("rsft", 0.5, "big", "a", "mini_gsm")
    with pytest.raises(ValueError, match="item 'mini_gsm-0' has different gold answers"):
        tables.comparisons(pd.concat([base, rsft.assign(gold="7")]))
    with pytest.raises(ValueError, match="no item in common"):
        tables.comparisons(pd.concat([base, cell("rsft", 0.5, "big", "a", "mini_gsm", first=100)]))
    with pytest.raises(ValueError, match="occurs twice"):
        tables.comparisons(pd.concat([base, base]))


def test_a_slice_without_opponents_has_an_empty_table():
    table = tables.comparisons(cell("base", 0.5, student="a"))
    assert list(table.columns) == tables.COMPARISONS and table.empty


def test_inference_cost(predictions):
    table = tables.inference_cost(predictions).set_index(["method", "test"])
    assert table.loc[("teacher_debate", "mini_gsm")].tolist() == [40, 15, 100, 20, 50]
    assert table.loc[("rsft", "mini_med"), ["n", "calls"]].tolist() == [160, 1]


def test_gains(main, predictions):
    alone = tables.gains(main)
    paired = tables.gains(main, tables.comparisons(predictions, resamples=500))
    assert len(alone) == len(paired) == 2 * 2 * 5 * 2
    assert alone["difference"].to_numpy() == pytest.approx(paired["difference"].to_numpy())
    assert ((alone["high"] - alone["low"]) > (paired["high"] - paired["low"])).all()
    assert (
        alone.query("in_domain")["train"].eq(alone.query("in_domain")["test"]).all() and alone["in_domain"].sum() == 20
    )
    assert tasks.in_domain("metamathqa", "gsm8k") and not tasks.in_domain("math", "gsm8k")
    assert tables.gains(main[main["method"] != "base"]).empty


def test_compare(main):
    reference = main.iloc[1:].copy()
    reference.loc[reference.index[0], "accuracy"] = 0.0
    reference = pd.concat([reference, main.iloc[[0]].assign(seed=9)])
    table = tables.compare(main, reference)
    assert len(table) == len(main) + 1
    assert table["side"].value_counts().to_dict() == {"both": len(main) - 1, "only ours": 1, "only reference": 1}
    both = table[table["side"] == "both"]
    assert (~both["inside"].astype(bool)).sum() == 1 and both.loc[~both["inside"].astype(bool), "difference"].item() > 0
    assert table.loc[table["side"] != "both", "inside"].isna().all()
    with pytest.raises(ValueError, match="our results have a cell twice"):
        tables.compare(pd.concat([main, main]), main)


def test_compare_survives_a_csv(main, tmp_path):
    main.to_csv(tmp_path / "main.csv", index=False)
    table = tables.compare(main, pd.read_csv(tmp_path / "main.csv"))
    assert table["inside"].all() and table["difference"].abs().max() < 1e-12


@pytest.mark.parametrize(
    "function", [tables.main_results, tables.accuracies, tables.comparisons, tables.inference_cost]
)
def test_tables_refuse(function, predictions):
    with pytest.raises(ValueError, match="empty"):
        function(predictions.iloc[:0])
    with pytest.raises(ValueError, match="lack the columns method, seed"):
        function(predictions.drop(columns=["method", "seed"]))
    with pytest.raises(ValueError, match="null in the column student"):
        function(predictions.assign(student=None))


DRAW = [figures.by_method, figures.in_and_out_of_domain, figures.by_dataset_and_student]


@pytest.fixture(scope="module")
def rounds():
    rows = itertools.product((1, 2, 3), ("adversarial", "debate"), ("mini_gsm", "mini_med"))
    table = pd.DataFrame(rows, columns=["round", "protocol", "task"])
    table["single_accuracy"], table["consensus_accuracy"] = 0.6 + 0.05 * table["round"], 0.7 + 0.05 * table["round"]
    for kind in ("single", "consensus"):
        table[f"{kind}_low"], table[f"{kind}_high"] = table[f"{kind}_accuracy"] - 0.05, table[f"{kind}_accuracy"] + 0.05
    return table


@pytest.mark.parametrize("draw", DRAW)
def test_figures_draw_slices(draw, main):
    for part in (main, main[main["method"] == "base"], main[main["method"].isin(["base", "rsft"])], main[main["method"] == "teacher_debate"],
                 main[main["train"].isin(["-", "mini_gsm"]) & (main["test"] == "mini_gsm")].replace("da", "da+ppo")):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = draw(part)
            if len(part) < 20:  # laying out is the slow part
                figure.draw_without_rendering()
    with pytest.raises(ValueError, match="empty"):
        draw(main.iloc[:0])
    with pytest.raises(ValueError, match="lack the columns accuracy"):
        draw(main.drop(columns="accuracy"))


def test_no_panel_is_empty(main):
    """Trained on one benchmark only: the other one has no student in its domain, and so no such panel."""
    figure = figures.in_and_out_of_domain(main[main["train"].isin(["-", "mini_med"])])
    assert [axes.get_title("left") for axes in figure.axes] == [
        "mini_gsm, trained out of domain",
        "mini_med, trained in domain",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][0] == "SFT on answers"


def test_a_column_that_repeats_the_other_one_is_left_out(main):
    titles = [axes.get_title("left") for axes in figures.by_dataset_and_student(main).axes]
    assert titles == [
        "mini_gsm, by training set",
        "mini_gsm, by student",
        "mini_med, by training set",
        "mini_med, by student",
    ]
    one = main[main["student"].isin(["-", "llama"])]
    titles = [axes.get_title("left") for axes in figures.by_dataset_and_student(one).axes]
    assert titles == ["mini_gsm, by training set", "mini_med, by training set"]


def test_each_cell_has_its_own_interval(main):
    """Two students and two training sets: four intervals of R-SFT, as wide as in the table; none of their mean."""
    axes = figures.by_method(main).axes[0]
    rows = main[(main["method"] == "rsft") & (main["test"] == "mini_gsm")]
    place = list(figures._methods(main[main["student"] != "-"]["method"])).index("rsft")
    drawn = [s for lines in axes.collections for s in lines.get_segments() if abs(s[0][1] - s[1][1]) < 1e-9]
    drawn = [(s[0][0], s[1][0]) for s in drawn if place - 0.5 < s[0][1] < place + 0.5]
    assert np.allclose(sorted(drawn), 100 * rows[["ci_low", "ci_high"]].sort_values(["ci_low", "ci_high"]).to_numpy())


def test_by_method_shows_the_means(main):
    axes = figures.by_method(main).axes[0]
    assert axes.get_xlabel() == "accuracy (%)" and axes.get_title("left") == "mini_gsm"
    assert [label.get_text() for label in axes.get_yticklabels()][0] == "base"
    assert {"40.0", "70.0", "75.0"} <= {text.get_text() for text in axes.texts}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["debate of big: 90.0"]


def test_debate_rounds(rounds):
    assert len(figures.debate_rounds(rounds).axes) == 2
    with pytest.raises(ValueError, match="lack the columns single_low"):
        figures.debate_rounds(rounds.drop(columns="single_low"))
    with pytest.raises(ValueError, match="empty"):
        figures.debate_rounds(rounds.iloc[:0])
    with pytest.raises(ValueError, match="twice"):
        figures.debate_rounds(pd.concat([rounds, rounds]))


def test_saved_figures_are_the_same_bytes_and_nothing_stays_open(rounds, tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    first = figures.save(figures.debate_rounds(rounds), tmp_path / "new" / "a.b")
    second = figures.save(figures.debate_rounds(rounds), tmp_path / "c")
    assert [path.name for path in first] == ["a.b.png", "a.b.pdf"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert dict(matplotlib.rcParams) == before


def test_labels_are_spread():
    assert figures._spread([1.0, 5.0], 1) == [1, 5]
    assert figures._spread([2.0, 1.9, 9.0], 1) == pytest.approx([2.45, 1.45, 9])
    assert figures._spread([], 1) == []


def test_paper_averages_by_hand():
    means = paper.main().set_index(["method", "test"])
    assert set(means["source"]) == {"paper"}
    assert means.loc[("base", "gsm8k"), "accuracy"] == pytest.approx((88.17 + 75.28 + 51.1 + 69.14 + 41.93) / 500)
    assert means.loc[("base", "medmcqa"), "accuracy"] == pytest.approx((59.65 + 56.9 + 49.29 + 42.34 + 32.2) / 500)
    sft = (63.61 + 73.31 + 65.78 + 75.36) + (81.35 + 88.17 + 87.41 + 87.87) + (56.56 + 48.52 + 36.39 + 50.04)
    sft += (59.59 + 70.66 + 66.34 + 67.32) + (37.91 + 44.35 + 21.38 + 31.31)
    assert means.loc[("sft", "gsm8k"), "accuracy"] == pytest.approx(sft / 2000)
    raw = paper.table("table09_13_distillation")
    for method, test in itertools.product(("rsft", "da", "pad"), ("gsm8k", "medmcqa")):
        values = [r.value for r in raw.itertuples() if (r.teacher, r.method, r.test) == ("qwen3-32b", method, test)]
        assert len(values) == means.loc[(method, test), "cells"] == 20
        assert means.loc[(method, test), "accuracy"] == pytest.approx(sum(values) / 2000)
    assert means.loc["pad", "gain"].mean() == pytest.approx(0.0249, abs=5e-5)  # DECISIONS 31: 2.49 points


def test_paper_tables():
    assert len(paper.names()) == 10 and len(paper.cells()) == 10 + 40 + 120
    with pytest.raises(ValueError, match="no table 'table99'; choose one of table01"):
        paper.table("table99")
    with pytest.raises(ValueError, match="no teacher 'gpt'; choose one of gemma3-27b-it"):
        paper.main("gpt")


def test_the_matrix_has_the_papers_form():
    table = tables.matrix(tables.main_results(study(methods=("rsft", "da"))))
    assert list(table.columns) == ["mini_gsm", "mini_med"] and table.index.names == [
        "teacher",
        "test",
        "student",
        "method",
    ]
    assert list(table.loc[("big", "mini_gsm", "llama")].index) == ["base", "rsft", "da"]
    assert (
        table.loc[("big", "mini_med", "qwen", "base")].tolist() == [40.0, 40.0]
        and table.loc[("big", "mini_med", "qwen", "rsft"), "mini_gsm"] == 70.0
    )
    assert len(table) == 2 * 2 * 3
    untrained = tables.main_results(study(methods=()))
    assert tables.matrix(untrained[untrained.train == "-"]).empty  # a study may train nobody


def test_the_matrix_keeps_protocols_and_axis_values_apart():
    axes = {"debate.agents": "-"}
    parts = [cell("base", 0.4, student="a").assign(**axes)]
    for protocol, agents, share in (("debate", 3, 0.5), ("debate", 5, 0.7), ("shuffled", 5, 0.6)):
        rows = cell("rsft", share, "big", "a", "mini_gsm")
        parts.append(rows.assign(protocol=protocol, **{"debate.agents": agents}))
    table = tables.matrix(tables.main_results(pd.concat(parts)))["mini_gsm"]
    assert table.xs("rsft", level="method").droplevel([0, 1, 2]).to_dict() == pytest.approx(
        {("debate", 3): 50, ("debate", 5): 70, ("shuffled", 5): 60}
    )
    assert table.xs("base", level="method").tolist() == [40.0] * 3


def test_a_figure_of_rounds_tells_axis_values_and_teachers_apart():
    rounds = pd.DataFrame(
        [
            {
                "teacher": "zoo/qwen3-32b",
                "task": "mini_gsm",
                "split": "dev",
                "protocol": "debate",
                "debate.agents": agents,
            }
            | {"round": k, "single_accuracy": 0.5, "single_low": 0.4, "single_high": 0.6}
            | {"consensus_accuracy": 0.6, "consensus_low": 0.5, "consensus_high": 0.7}
            for agents in (3, 5)
            for k in (1, 2)
        ]
    )
    named = collect.of_teachers(rounds)
    assert set(named.protocol) == {"debate, debate.agents = 3", "debate, debate.agents = 5"}
    texts = [text.get_text() for text in figures.debate_rounds(named).axes[0].texts]
    assert any("debate.agents = 3" in text for text in texts) and any("debate.agents = 5" in text for text in texts)
    assert set(collect.of_teachers(rounds[rounds["debate.agents"] == 5]).protocol) == {"debate"}
    two = pd.concat([rounds.assign(teacher=t) for t in ("zoo/qwen3-32b", "zoo/qwen3-8b")])
    assert f"debate of {display_name('zoo/qwen3-8b')}, debate.agents = 5" in set(collect.of_teachers(two).protocol)


def test_axis_values_survive_a_table_on_disk(tmp_path):
    cells = [
        {"method": "rsft", "train": "mini_gsm", "teacher": "t", "protocol": "debate", "debate.agents": a} for a in "35"
    ]
    base = {"method": "base", "train": "-", "teacher": "-", "protocol": "-", "debate.agents": "-"}
    rows = pd.DataFrame(
        [
            {
                **cell,
                "student": "s",
                "test": "mini_gsm",
                "seed": 0,
                "item": i,
                "sample": -1,
                "correct_flexible": i % 2 == 0,
            }
            for cell in (base, *cells)
            for i in range(10)
        ]
    )
    main = tables.main_results(rows)
    for written in (main, main[main.method == "rsft"]):  # with and without a "-", pandas reads other types
        written.to_csv(tmp_path / "main.csv", index=False)
        both = tables.compare(written, pd.read_csv(tmp_path / "main.csv"))
        assert set(both.side) == {"both"} and (both.difference == 0).all()
