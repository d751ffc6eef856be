"""The costs of a study, counted by hand: by stage, per right answer, to the break-even, and beside the plan."""

import json
import math

import pandas as pd
import pytest
from test_report import cell

from agentark import params, plan, stats, store
from agentark.cells import Files
from agentark.plan import tables as plan_tables
from agentark.report import cost, overview, paper, show

MACHINE = {"machine": "a processor, 2 cores, 24 GiB, no GPU", "peak_memory_mb": 100}
BILLIONS = {"big": 0.002, "s": 0.001}


def write(root, path, about, seconds, rows=None, training=None, **more):
    """An artifact with its manifest; rows: those of a table, training: the training.json of a folder."""
    artifact = root / path
    artifact.parent.mkdir(parents=True, exist_ok=True)
    if rows is not None:
        pd.DataFrame(rows).to_parquet(artifact)
    if training is not None:
        artifact.mkdir()
        (artifact / "training.json").write_text(json.dumps(training))
    manifest = {"about": about, "seconds": seconds, **MACHINE, **more}
    store.manifest_path(artifact).write_text(json.dumps(manifest))


def reply(problem, number, agent, read, cached, out):
    place = {"teacher": "big", "task": "mini_gsm", "protocol": "debate", "seed": 0, "problem": problem, "text": "…"}
    return {**place, "round": number, "agent": agent, "tokens_in": read, "tokens_cached": cached, "tokens_out": out}


# Two agents; the first problem has a second round, and the aggregator repeats an answer at no cost.
LOG = [
    reply("a", 1, 1, 10, 0, 4),
    reply("a", 1, 2, 10, 10, 6),
    reply("a", 2, 1, 30, 20, 20),
    reply("a", 2, 2, 30, 30, 30),
]
LOG += [reply("a", 2, 0, 0, 0, 0), reply("b", 1, 1, 10, 0, 5), reply("b", 1, 2, 10, 10, 5), reply("b", 1, 0, 0, 0, 0)]


@pytest.fixture
def files(tmp_path) -> Files:
    debate = {"stage": "debate", "teacher": "big", "task": "mini_gsm", "protocol": "debate", "seed": 0, "n": 2}
    log = pd.DataFrame(LOG)
    write(
        tmp_path, "debates/train.parquet", {**debate, "split": "train"}, 30.0, log.assign(split="train"), chunks_found=3
    )
    test = {**debate, "split": "test", "engine": {"tensor_parallel": 2, "data_parallel": 2}}
    write(tmp_path, "debates/test.parquet", test, 10.0, log.assign(split="test"), peak_memory_mb=300)
    extract = {"stage": "extract", "teacher": "big", "task": "mini_gsm", "split": "train"}
    write(tmp_path, "traces/t.parquet", extract, 2.0, [{"problem": "a", "tokens_out": 5}])
    write(tmp_path, "traces/t_counts.csv", extract, 2.0)
    student = {"stage": "distill", "method": "rsft", "student": "s", "teacher": "big", "train": "mini_gsm", "seed": 0}
    write(tmp_path, "students/rsft", student, 8.0, training={"tokens": 500, "completion_tokens": 90})
    pad = {**student, "stage": "rl", "method": "pad"}
    write(tmp_path, "students/pad", pad, 40.0, training={"completion_tokens": 70, "completions": 7})
    prm = {"stage": "prm", "base": "s", "task": "mini_gsm", "split": "train", "seed": 0}
    for shuffled in (False, True):
        about = {**prm, "prm": {"shuffled_labels": shuffled}}
        write(tmp_path, f"prms/{shuffled}", about, 20.0, training={"tokens": 200})
    answered = [
        {"teacher": "big", "student": "s", "method": method, "train": "mini_gsm", "test": "mini_gsm", "seed": 0,
         "item": item, "tokens_in": 10, "tokens_cached": 0, "tokens_out": out}
        for method in ("rsft", "pad") for item, out in (("a", 3), ("b", 1))
    ]  # fmt: skip
    for method in ("rsft", "pad"):
        about = {"stage": "evaluate", "split": "test", "task": "mini_gsm", "seed": 0, "n": 2}
        rows = [row for row in answered if row["method"] == method]
        write(tmp_path, f"predictions/{method}.parquet", about, 0.4, rows)
    return Files(tmp_path)


def test_artifacts_and_stages(files):
    found = cost.artifacts(files).set_index(["stage", "method", "split"])
    assert len(found) == 9  # a summary in CSV is no artifact of its own
    train, test = found.loc["debate", "debate", "train"], found.loc["debate", "debate", "test"]
    assert (train.completions, train.problems, train.resumed) == (6, 2, 1)
    assert (train.tokens_in, train.tokens_cached, train.tokens_out, train.tokens_revised) == (100, 70, 70, 50)
    assert train.device_seconds == 30 and test.device_seconds == 40 and test.resumed == 0  # 10 s of 2 × 2 devices
    pad, rsft = found.loc["rl", "pad", "train"], found.loc["distill", "rsft", "train"]
    assert (pad.completions, pad.tokens_out) == (7, 70) and math.isnan(pad.tokens_trained)
    assert (
        rsft.tokens_trained == 500 and math.isnan(rsft.tokens_out) and rsft.student == "s" and rsft.task == "mini_gsm"
    )
    assert {"prm", "prm, shuffled labels"} <= set(found.loc["prm"].index.get_level_values("method"))
    assert found.loc["evaluate", "rsft", "test"].task == "mini_gsm" and set(found.device) == {"core"}
    stages = cost.by_stage(found.reset_index()).set_index(["stage", "method", "split"])
    assert (
        stages.loc["debate", "debate", "test"].tokens_read == 30
        and stages.loc["debate", "debate", "test"].share == 40 / 160.8
    )
    assert stages.index[0] == ("debate", "debate", "test") and stages.share.sum() == pytest.approx(1)
    assert stages.loc["debate", "debate", "test"].peak_memory_mb == 300 and stages.resumed.sum() == 1


def test_the_seconds_of_gpus_and_of_servers(tmp_path):
    about = {"stage": "evaluate", "split": "test", "task": "t"}
    write(tmp_path, "predictions/a", {**about, "engine": {"name": "openai"}}, 1.0, machine="x, NVIDIA H200")
    write(
        tmp_path,
        "predictions/b",
        {**about, "engine": {"name": "vllm", "data_parallel": 8}},
        1.0,
        machine="x, NVIDIA H200",
    )
    found = cost.artifacts(Files(tmp_path))
    assert found.device.tolist() == ["server", "GPU"] and found.device_seconds.tolist() == [1, 8]


def predictions() -> pd.DataFrame:
    """A debate (13 of 20 right) and two students on 40 items (R-SFT 8, PAD 20 right), 20 of them shared."""
    parts = [cell("teacher_debate", 0.65, teacher="big", sample=0, n=20)]
    parts += [cell(method, share, "big", "s", "mini_gsm") for method, share in (("rsft", 0.2), ("pad", 0.5))]
    return pd.concat([*parts, cell("pad", 1.0, "big", "s", "mini_med")], ignore_index=True)  # learnt another task


def test_what_a_right_answer_costs(files):
    rows = cost.answers(predictions(), cost.artifacts(files), BILLIONS.get)
    assert set(zip(rows.method, rows.train)) == {("teacher_debate", "-"), ("rsft", "mini_gsm"), ("pad", "mini_gsm")}
    table = cost.per_right_answer(rows).set_index(["method", "cost"])
    # 130 tokens an answer (100 read, 20 of them cached, 50 generated); 40 answers, 8 of them right
    rsft = table.loc["rsft", "tokens"]
    assert (rsft.n, rsft.accuracy, rsft.per_answer) == (40, 0.2, 130) and rsft.per_right == pytest.approx(650)
    assert (rsft.ci_low, rsft.ci_high) == stats.wilson(8, 40)
    # equal costs: the logarithm varies as that of the share alone, whose deviation is sqrt(40/39 · (1-p)/(p · 40))
    reach = 1.959964 * math.sqrt(0.8 / 0.2 / 39)
    assert (rsft.low, rsft.high) == pytest.approx((650 * math.exp(-reach), 650 * math.exp(reach)), rel=1e-5)
    assert table.loc["teacher_debate", "calls"].per_right == pytest.approx(15 / 0.65)
    assert table.loc["rsft", "gflop"].per_answer == pytest.approx(2 * 0.001 * 130)
    assert table.loc["teacher_debate", "gflop"].per_answer == pytest.approx(2 * 0.002 * 130)
    # 0.4 s for 4 generated tokens: 0.1 s each; of the debate 40 device-seconds for 70
    assert table.loc["rsft", "device_seconds"].per_answer == pytest.approx(50 * 0.1)
    assert table.loc["teacher_debate", "device_seconds"].per_answer == pytest.approx(50 * 40 / 70)
    # on the 20 shared items PAD is right on all, the debate on 13; equal tokens
    pad = table.loc["pad", "tokens"]
    assert pad.shared == 20 and pad.of_debate == pytest.approx(13 / 20) and pad.of_low < 0.65 < pad.of_high
    assert table.loc["teacher_debate", "tokens"][["of_debate", "of_low", "of_high"]].tolist() == [1, 1, 1]


def test_no_right_answer_has_no_interval(files):
    rows = pd.concat([cell("rsft", 0.0, "big", "s", "mini_gsm"), cell("base", 0.5, student="s")], ignore_index=True)
    table = cost.per_right_answer(cost.answers(rows, cost.artifacts(files), BILLIONS.get)).set_index(["method", "cost"])
    rsft, base = table.loc["rsft", "tokens"], table.loc["base", "device_seconds"]
    assert math.isinf(rsft.per_right) and math.isnan(rsft.low) and rsft.shared == 0 and math.isnan(rsft.of_debate)
    assert math.isnan(base.per_answer) and math.isnan(base.per_right)  # no artifact of the base


def test_students_of_several_protocols_and_axes_are_kept_apart():
    values = [("debate", 3), ("single", 3), ("debate", 5)]
    parts = [
        cell("rsft", 0.5, "big", "s", "mini_gsm").assign(protocol=p, **{"debate.agents": str(n)}) for p, n in values
    ]
    parts.append(cell("teacher_debate", 0.5, teacher="big", sample=0).assign(**{"debate.agents": "5"}))
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(**dict.fromkeys(cost.COSTS, 1.0) | {"device_seconds": [1.0] * 120 + [2.0] * 40})
    table = cost.per_right_answer(rows)
    seconds = table[table.cost == "device_seconds"].set_index(["method", "protocol", "debate.agents"])
    assert seconds.n.tolist() == [40] * 4 and len(seconds) == 4
    assert seconds.loc["rsft", "debate", "5"].of_debate == 0.5 and math.isnan(
        seconds.loc["rsft", "debate", "3"].of_debate
    )
    assert len(show.costs(table)) == 4


def test_break_even(files):
    found = cost.artifacts(files)
    table = cost.per_right_answer(cost.answers(predictions(), found, BILLIONS.get))
    even = cost.break_even(found, table).set_index("method")
    saved = 50 * 40 / 70 - 5
    assert even.loc["rsft"].generation_s == 32 and even.loc["rsft"].training_s == 8
    assert even.loc["rsft"].answers == pytest.approx(40 / saved)
    assert even.loc["pad"].training_s == 60 and even.loc["pad"].answers == pytest.approx(
        92 / saved
    )  # with its reward model
    dear = table.assign(per_answer=table.per_answer.where(table.method != "rsft", 1e9))
    assert math.isinf(cost.break_even(found, dear).set_index("method").loc["rsft"].answers)


def test_the_form_of_table_3(files):
    [row] = cost.trajectories(cost.artifacts(files)).to_dict("records")
    assert (row["questions"], row["completions"], row["completions_per_question"]) == (2, 6, 3)
    assert row["tokens_out_per_question"] == 35 and row["device_seconds_per_question"] == 15


def test_the_form_of_table_6():
    rows = [("rsft", 0, 60, 100, 5), ("rsft", 1, 30, 100, 5), ("da", 0, 90, 150, 7), ("da", 1, 60, 200, 9), ("da", 2, 1, 1, 1),
            ("pad", 0, 240, None, 20), ("prm", 0, 120, 50, 30)]  # fmt: skip
    columns = ["method", "seed", "seconds", "tokens", "peak_memory_mb"]
    table = cost.against_rsft(pd.DataFrame(rows, columns=columns).assign(student="s", task="t")).set_index("method")
    da = table.loc["da"]
    assert (da.n, da.pairs, da.ratio, da.least, da.most) == (3, 2, 1.75, 1.5, 2.0)
    assert da.tokens_ratio == 1.75 and da.peak_memory_mb == 9
    assert (table.loc["grpo"].ratio, table.loc["prm"].ratio, table.loc["pad"].ratio) == (4, 2, 6)
    assert table.loc["pad"].peak_memory_mb == 30 and table.loc["pad"].minutes == 6
    theirs = paper.table("table06_training_cost").set_index("method")
    assert set(theirs.index) <= set(table.index)


def test_a_study_without_rows_has_empty_tables(tmp_path, capsys):
    found, stages, table = cost.tables(Files(tmp_path / "none"), BILLIONS.get)
    assert found.empty and stages.empty and table.empty and "no answers under none" in capsys.readouterr().out
    for empty in (
        cost.break_even(found, table),
        cost.trajectories(found),
        cost.against_rsft(pd.DataFrame()),
        show.costs(table),
    ):
        assert empty.empty


def test_what_is_shown(files):
    table = cost.per_right_answer(cost.answers(predictions(), cost.artifacts(files), BILLIONS.get))
    shown = show.costs(table).set_index("method")
    rsft = shown.loc[show.label("rsft")]
    assert rsft.tokens.startswith("650 [") and rsft.n == 40 and rsft["tokens / debate"] and rsft.network == "s"
    figure = overview.accuracy_and_cost(table)
    assert [axes.get_title("left") for axes in figure.axes] == ["mini_gsm"]


# Beside the plan


def test_beside_the_plan(tmp_path):
    planned = pd.DataFrame({"name": ["a", "b", "c"], "notebook": ["01", "01", "02"], "planned_s": [60.0, 60.0, 60.0]})
    (tmp_path / "benchmarks").mkdir()
    for name, seconds in (("a", 120), ("c", 30), ("gone", 9)):
        (tmp_path / "benchmarks" / f"{name}.tsv").write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\tx\t7.5\t15\n")
    measured = plan.runs(tmp_path)
    assert measured.name.tolist() == ["a", "c", "gone"] and measured.max_rss_mb.tolist() == [7.5] * 3
    table = plan.beside_plan(planned, measured).set_index("notebook")
    assert table.loc["01"][["runs", "measured", "plan_min", "wall_min", "cpu_min"]].tolist() == [2, 1, 1, 2, 0.25]
    assert table.loc["all"][["runs", "measured", "plan_min", "wall_min"]].tolist() == [3, 2, 2, 2.5]
    assert table.loc["all"].wall_over_plan == 1.25 and table.loc["02"].cpu_over_plan == 0.25
    none = plan.beside_plan(planned, plan.runs(tmp_path / "nowhere")).set_index("notebook")
    assert none.measured.sum() == 0 and math.isnan(none.loc["all"].wall_over_plan)


def test_tokens_beside_the_plan(files):
    planned = pd.DataFrame({"by_rewards": [False, True], "generated": [20e6, 0.0], "revised": [0.0, 0.0], "read": [1e6, 0.0],
                            "trained": [2e6, 9e6], "sampled": [0.0, 140e6]})  # fmt: skip
    table = plan.tokens_beside_plan(planned, cost.artifacts(files)).set_index("kind")
    assert table.loc["generated"].rows_m == pytest.approx((2 * 20 + 2 * 4) / 1e6)  # two logs, two students
    assert table.loc["revised"].rows_m == pytest.approx(100e-6) and table.loc["read"].rows_m == pytest.approx(100e-6)
    assert table.loc["trained"].plan_m == 2 and table.loc["trained"].rows_m == pytest.approx(900e-6)
    assert table.loc["sampled"].rows_over_plan == pytest.approx(70 / 140e6)


def test_the_plan_of_every_run_is_by_the_rates():
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    table = plan.planned(config, 0).set_index("name")
    debate = table.loc["01_debate_generation-qwen3-32b-mini_gsm-test-debate"]
    r = plan.rates(config)
    # 200 problems × 5 agents × 40 tokens, then twice 24 % of the problems with 300 each
    assert (debate.generated, debate.revised) == (40_000, 144_000)
    assert debate.planned_s == pytest.approx(r.start_s + 40_000 / r.generated + 144_000 / r.revised)
    assert set(table.notebook) == {"01_debate_generation", "02_filtering", "03_sft_baseline", "04_rsft", "05_da"}
    assert not table.by_rewards.any()


def test_the_hours_of_the_paper():
    table = plan.paper_hours().set_index("what")
    assert table.paper.dropna().to_dict() == {"rsft": 6, "da": 8, "pad": 160, "prm": 64, "grpo": 96}
    # 151,000 problems once, 450 tokens each, at 24,700 tokens a second and billion of parameters
    assert table.loc["rsft"].metamathqa == pytest.approx(151_000 * 450 / (24_700 / 8.19) / 3600, rel=1e-3)
    # one of the two reward models: 5 agents, 3 rounds of the 40 % that go on, each trace once at a third and once whole
    assert table.loc["prm"].metamathqa == pytest.approx(6 * 2 * table.loc["rsft"].metamathqa, rel=1e-3)
    assert table.loc["da"].metamathqa == pytest.approx(3 * table.loc["rsft"].metamathqa)
    assert table.loc["pad"].math == pytest.approx(table.loc["prm"].math + table.loc["grpo"].math)
    assert (table[["math", "gsm8k", "medmcqa", "metamathqa"]] > 0).all(axis=None)
    assert plan_tables.STUDENT == "Qwen3-8B"


# The interval


def test_a_ratio_of_means_by_hand():
    # costs 2, 4 and answers 1, 1: ratio 3; influence ∓1/3, whose deviation is 1/3 · sqrt(2) and error 1/3
    ratio, low, high = stats.ratio_of_means([[2, 4]], [[1, 1]])
    assert ratio == 3 and (low, high) == pytest.approx(
        (3 * math.exp(-1.959964 / 3), 3 * math.exp(1.959964 / 3)), rel=1e-5
    )
    # a cost that is proportional to the answer's value has no error at all
    assert stats.ratio_of_means([[2, 4, 6]], [[1, 2, 3]]) == pytest.approx((2, 2, 2))
    product = stats.ratio_of_means([[2, 4], [3, 5]], [[1, 3], [1, 1]])
    assert product[0] == 6


@pytest.mark.parametrize(
    ("above", "below", "ratio"),
    [([[1, 2]], [[0, 0]], math.inf), ([[0, 0]], [[1, 2]], 0.0), ([[0]], [[0]], math.nan), ([[3]], [[2]], 1.5)],
)
def test_a_ratio_without_an_interval(above, below, ratio):
    value, low, high = stats.ratio_of_means(above, below)
    assert value == ratio or math.isnan(ratio) and math.isnan(value)
    assert math.isnan(low) and math.isnan(high)


@pytest.mark.parametrize(
    ("above", "below", "message"),
    [([[1, 2]], [[1]], "same items"), ([[]], [[]], "at least one"), ([[1, -1]], [[1, 1]], "negative"),
     ([[1, math.nan]], [[1, 1]], "negative")],
)  # fmt: skip
def test_a_ratio_refuses(above, below, message):
    with pytest.raises(ValueError, match=message):
        stats.ratio_of_means(above, below)


def test_an_interval_covers():
    """Of 400 samples of 50 items, about 95 % of the intervals contain the true ratio (sd of the share: 1.1 %)."""
    import numpy as np

    rng, inside = np.random.default_rng(0), 0
    for _ in range(400):
        right = rng.random(50) < 0.5
        tokens = rng.exponential(100, 50) * (1 + ~right)  # wrong answers cost twice: 150 on average
        _, low, high = stats.ratio_of_means([tokens], [right])
        inside += low <= 300 <= high
    assert 0.91 <= inside / 400 <= 0.98


def test_tokens_that_a_server_did_not_count_are_unknown_and_not_zero(tmp_path):
    rows = pd.DataFrame({"tokens_in": [3.0, math.nan, 0.0], "tokens_cached": [0, 0, 0], "tokens_out": [2.0, 4.0, 0.0]})
    rows.assign(method="base", test="t").to_parquet(tmp_path / "rows.parquet")
    found = cost._generated(tmp_path / "rows.parquet")
    assert math.isnan(found["tokens_in"]) and found["tokens_out"] == 6
    assert found["completions"] == 2  # a row without a prompt is no completion
