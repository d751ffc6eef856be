"""Scores along an axis of a study: values in order, changes from value to value, and comparisons at equal tokens."""

import json

import numpy as np
import pandas as pd
import pytest
from test_report import N, cell

from agentark import params, stats, store
from agentark.cells import Cell, Files
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Study
from agentark.report import scaling, scaling_shown, show

AXIS, SIZES = scaling.SIZE, (64, 256, 1024)
PLACE = {"teacher": "big", "student": "s", "train": "mini_gsm"}


def rows(base=0.4, **shares) -> pd.DataFrame:
    """Cells of one student; shares: by method a list per value of the axis, each with the accuracy of every seed."""
    parts = [cell("base", base, student="s").assign(**{AXIS: "-"})]
    for method, by_value in shares.items():
        for size, by_seed in zip(SIZES, by_value):
            for seed, share in enumerate(by_seed):
                parts.append(cell(method, share, **PLACE, seed=seed).assign(**{AXIS: str(size)}))
    return pd.concat(parts, ignore_index=True)


def tokens(**counts) -> pd.DataFrame:
    """What `trained_tokens` returns: by method the tokens at each value, with half as many examples."""
    about = PLACE | {"test": "mini_gsm", "protocol": "debate", "seed": 0}
    lines = [
        about | {"method": method, AXIS: size, "tokens": count, "examples": count / 2}
        for method, by_value in counts.items()
        for size, count in zip(SIZES, by_value)
    ]
    return pd.DataFrame(lines)


RISING = {"rsft": [[0.4, 0.4, 0.4], [0.5, 0.5, 0.5], [0.6, 0.7, 0.8]], "da": [[0.45] * 3, [0.55] * 3, [0.7] * 3]}


def test_scores_in_the_order_of_the_axis():
    table = scaling.along(rows(**RISING), AXIS)
    assert list(table.method) == ["base", *["rsft"] * 3, *["da"] * 3]
    assert list(table[AXIS]) == ["-", *["64", "256", "1024"] * 2]  # as numbers, although they are texts
    assert list(table.columns[-len(scaling.RESULTS) :]) == scaling.RESULTS and "seed" not in table
    last = table[(table.method == "rsft") & (table[AXIS] == "1024")].iloc[0]
    assert (last.seeds, last.n, last.least, last.most) == (3, N, 0.6, 0.8) and last.accuracy == pytest.approx(0.7)
    assert last.low < 0.6 and last.high > 0.8  # three seeds that differ by 10 points say little
    base = table.iloc[0]
    assert (base.low, base.high) == stats.wilson(16, N, 0.95) and base.seeds == 1


def test_chance_is_the_answer_to_the_next_problem():
    made = rows().assign(gold=[str(i // 2) for i in range(N)], answer_flexible=[str(i // 2) for i in range(N)])
    [table] = scaling.along(pd.concat([made, rows(**RISING)[N:]]), AXIS).head(1).itertuples()
    assert table.chance == 0.5  # each gold answer is that of two problems in a row


def test_values_and_a_study_without_the_axis():
    frame = pd.DataFrame({"debate.layout": ["shared", "-", "own_history"], "debate.agents": ["10", "5", "-"]})
    assert scaling.values(frame, "debate.layout") == ["own_history", "shared"]
    assert scaling.values(frame, "debate.agents") == ["5", "10"]
    with pytest.raises(ValueError, match="do not vary sizes.train: give it several values in study.axes"):
        scaling.along(rows().drop(columns=AXIS), AXIS)


def test_steps_by_hand():
    table = scaling.steps(rows(**RISING), AXIS)
    assert list(zip(table["from"], table["to"]))[:3] == [("64", "256"), ("256", "1024"), ("64", "1024")]
    rsft = table[table.method == "rsft"].set_index(["from", "to"])
    assert rsft.difference.tolist() == pytest.approx([0.1, 0.2, 0.3])
    first = np.zeros((3, N))
    first[:, 16:20] = 1  # the four items that 0.5 has right and 0.4 has not
    expected = stats.crossed(first)
    low, high, p = rsft.loc[("64", "256"), ["low", "high", "p"]]
    assert (low, high, p) == pytest.approx((expected.low, expected.high, expected.p))
    assert table.p_holm.tolist() == pytest.approx(stats.holm(table.p).tolist())
    assert (table.smallest_detectable > 0).all() and set(table.seeds) == {3} and set(table.n) == {N}
    assert set(table.verdict) <= {"better", "worse", "no difference detectable"}


def test_a_step_needs_both_values_and_only_the_seeds_of_both():
    ragged = scaling.steps(rows(rsft=[[0.4, 0.5], [0.5], [0.6, 0.7]]), AXIS)
    assert dict(zip(zip(ragged["from"], ragged["to"]), ragged.seeds)) == {
        ("64", "256"): 1,
        ("256", "1024"): 1,
        ("64", "1024"): 2,
    }
    alone = scaling.steps(rows(rsft=[[0.4, 0.5]]), AXIS)
    assert alone.empty and list(alone)[-len(scaling.COMPARED) :] == scaling.COMPARED


def test_equal_tokens_by_hand(capsys):
    """DA at 64 problems has 200 tokens, half way from 100 to 400 in the logarithm: R-SFT there has 0.45."""
    counts = tokens(rsft=[100, 400, 1600], da=[200, 400, 2000])
    table = scaling.at_equal_tokens(rows(**RISING), counts, AXIS, "da", "rsft").set_index(AXIS)
    assert list(table.index) == ["64", "256"] and table.tokens.tolist() == [200, 400]
    assert table.difference.tolist() == pytest.approx([0.45 - (0.4 + 0.5) / 2, 0.55 - 0.5])
    assert (table.loc["64", "below"], table.loc["64", "above"], table.loc["64", "against"]) == ("64", "256", "rsft")
    assert "da at sizes.train = 1024: rsft has no tokens on both sides; left out" in capsys.readouterr().out
    assert scaling.at_equal_tokens(rows(da=RISING["da"]), counts, AXIS, "da", "rsft").empty


def test_tokens_of_cells():
    table = scaling.with_tokens(scaling.along(rows(**RISING), AXIS), tokens(rsft=[100, 400, 1600]), AXIS)
    assert table[table.method == "rsft"].tokens.tolist() == [100, 400, 1600]
    assert table[table.method == "rsft"].examples.tolist() == [50, 200, 800]
    assert table[table.method != "rsft"].tokens.isna().all() and len(table) == 7


def test_tokens_are_read_from_the_logs_of_the_answers(tmp_path):
    files = Files(tmp_path, {AXIS: 1024})
    for size in (1024, 64):
        trained = Cell("zoo/big", "zoo/s", "rsft", "mini_gsm", "mini_gsm", "debate", 1, "test", ((AXIS, size),))
        answers, log = files.path(PREDICTIONS, trained), files.path(STUDENTS, trained) / "training.json"
        for path in (answers, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        answers.touch()
        store.manifest_path(answers).write_text(json.dumps({"about": {"model": trained.columns()}}))
        log.write_text(json.dumps({"completion_tokens": 10 * size, "examples": size}))
    base = files.path(PREDICTIONS, Cell(student="zoo/s", method="base", test="mini_gsm", split="test"))
    base.touch()
    store.manifest_path(base).write_text(json.dumps({"about": {"model": Cell(method="base").columns()}}))
    found = scaling.trained_tokens(files)
    assert dict(zip(found[AXIS], found.tokens)) == {64: 640, 1024: 10240} and set(found.seed) == {1}


def test_the_figures_and_tables_for_reading():
    table = scaling.along(rows(**RISING), AXIS)
    figure = scaling_shown.along(table, AXIS)
    [axes] = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["64", "256", "1024"]
    points = {tuple(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == 3}
    assert points == {tuple(100 * table[table.method == name].accuracy) for name in ("rsft", "da")}
    with_tokens = scaling.with_tokens(table, tokens(rsft=[100, 400, 1600], da=[200, 400, 2000]), AXIS)
    [axes] = scaling_shown.along(with_tokens, AXIS, tokens=True).axes
    assert list(axes.lines[-1].get_xdata()) == [200, 400, 2000]
    with pytest.raises(ValueError, match="nothing to draw"):
        scaling_shown.along(table[table[AXIS].isin(["-", "64"])], AXIS)
    shown = scaling_shown.scores(with_tokens, AXIS)
    assert shown["debated problems"].tolist()[1] == "64" and shown["tokens trained on"].tolist()[:2] == ["", "100"]
    assert shown["by seed (%)"].iloc[3] == "60.0 to 80.0" and shown["by seed (%)"].iloc[0] == ""
    steps = scaling_shown.differences(scaling.steps(rows(**RISING), AXIS))
    assert steps["difference (points) [95 %]"].iloc[0].startswith("+10.0 [") and steps.method.iloc[0] == show.label(
        "rsft"
    )


def test_only_a_study_that_varies_the_size_has_the_notebook():
    for name, expected in (("mini-quantity", ["11_data_scaling"]), ("mini-ood", [])):
        config, _ = params.load(store.ROOT / "params" / f"{name}.yaml")
        jobs = list(scaling.jobs(Study(config)))
        assert [job.notebook for job in jobs] == expected
        for job in jobs:
            names = {path.name for path in job.inputs}
            assert any("rsft.mini_gsm.sizes.train=64.s2" in name for name in names)  # the logs of every student
            assert {path.name for path in job.outputs} == {"data_scaling.csv", "data_scaling_differences.csv"}


def test_smaller_debates_are_taken_from_the_largest():
    from agentark.mas import jobs as generation

    config, _ = params.load(store.ROOT / "params" / "mini-quantity.yaml")
    by_name = {job.name: job for job in generation.jobs(Study(config))}
    largest = by_name["01_debate_generation-qwen3-32b-mini_gsm-train-debate"]
    assert largest.inputs == () and largest.params.sizes.train == 1024
    for size in (64, 256):
        job = by_name[f"{largest.name}-sizes.train={size}"]
        assert job.inputs == (largest.outputs[0],) and job.tokens(None) == {}
    assert by_name["01_debate_generation-qwen3-32b-mini_gsm-dev-shuffled"].inputs == ()
