"""What each way of training gains and takes: by hand, within a study and beside another one's rows."""

import json

import pandas as pd
import pytest
from test_seeds import rows

from agentark import params, store
from agentark.cells import Files
from agentark.graph import graph
from agentark.graph.job import Study
from agentark.report import alternatives, alternatives_shown

CONFIG = params.load(store.ROOT / "params" / "mini-alternatives.yaml")[0]
OURS = {"base": 0.4, "rsft": [0.6, 0.6, 0.6], "rsft_then_dpo": [0.7, 0.5, 0.6], "rsft_then_shuffled": [0.5, 0.5, 0.5]}
THEIRS = {"base": 0.4, "rsft": [0.7, 0.7, 0.7], "opd": [0.8, 0.8, 0.9]}


def gained(ours=OURS, **more):
    studies = {"mine": rows(**ours)} | {name: rows(**each) for name, each in more.items()}
    return alternatives.gains(studies, 0.95)


def test_the_gains_by_hand():
    found = gained().set_index(["method", "against"])
    assert set(found.index) == {
        ("rsft", "base"),
        ("rsft_then_dpo", "base"),
        ("rsft_then_dpo", "rsft"),
        ("rsft_then_dpo", "rsft_then_shuffled"),
        ("rsft_then_shuffled", "base"),
        ("rsft_then_shuffled", "rsft"),
    }
    assert found.difference.loc["rsft_then_dpo"].tolist() == pytest.approx([0.2, 0.0, 0.1])
    assert (
        found.loc["rsft", "base"].difference == pytest.approx(0.2)
        and (found.seeds == 3).all()
        and (found.n == 40).all()
    )
    assert (found.p_holm >= found.p).all() and (found.smallest_detectable > 0).all()


def test_another_studys_students_are_compared_with_those_of_the_first():
    found = gained(other=THEIRS).set_index(["study", "method", "against"])
    opd = found.loc["other", "opd"]
    assert opd.difference.to_dict() == pytest.approx({"base": 0.8333333 - 0.4, "rsft": 0.8333333 - 0.6})
    assert found.loc[("other", "rsft", "rsft")].difference == pytest.approx(0.1)  # ten epochs and three
    assert ("other", "opd", "rsft_then_dpo") not in found.index
    one = gained().set_index(["method", "against"]).p_holm["rsft", "base"]
    assert found.p_holm["mine", "rsft", "base"] >= one  # Holm's correction is over the whole table


def test_students_of_untrained_students_that_differ_are_not_compared():
    for base, why in ((0.5, "of mine and other did not answer alike"), (0.4, "have no test item in common")):
        theirs = rows(**THEIRS | {"base": base})
        theirs = theirs.assign(item=theirs.item + "!") if base == 0.4 else theirs
        with pytest.raises(ValueError, match=why):
            alternatives.gains({"mine": rows(**OURS), "other": theirs}, 0.95)


def test_nothing_to_compare_is_an_empty_table():
    for found in (gained({"rsft": [0.5, 0.6]}), gained({"base": 0.4})):
        assert found.empty and list(found) == alternatives.PLACE + alternatives.GAINS


def write(root, method, seed, log, seconds=None):
    """A student with its training log, and what Snakemake measured of its run."""
    folder = root / "students" / f"t.s.{method}.mini_gsm.s{seed}"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps(log))
    about = {"stage": "distill", "student": "s", "method": method, "train": "mini_gsm", "seed": seed}
    store.manifest_path(folder).write_text(json.dumps({"about": about}))
    if seconds is not None:
        (root / "benchmarks").mkdir(exist_ok=True)
        table = f"s\tcpu_time\n{2 * seconds}\t{seconds}\n"
        (root / "benchmarks" / f"04_rsft-t-{method}-mini_gsm-s{seed}.tsv").write_text(table)


def test_the_costs_by_hand(tmp_path):
    log = {"examples": 10, "tokens": 1000, "seconds": 500.0}
    for seed, spent in enumerate((60.0, 120.0)):
        write(tmp_path, "rsft", seed, log | {"core_seconds": spent})
        write(tmp_path, "rsft_then_dpo", seed, log | {"core_seconds": 30.0, "tokens": 200})
    write(tmp_path, "da", 0, log, seconds=240.0)  # the run took fewer core-seconds than the training took seconds
    write(tmp_path, "gold_rsft", 0, log, seconds=999.0)
    sampled = {"completions": 7, "completion_tokens": 70, "seconds": 60.0}
    write(tmp_path, "opd", 0, sampled)
    write(tmp_path, "prm_select", 0, sampled)
    model = tmp_path / "prms" / "t.s.mini_gsm.s0"
    model.mkdir(parents=True)
    (model / "training.json").write_text(json.dumps({"seconds": 90.0}))
    about = {"stage": "prm", "base": "b", "task": "mini_gsm", "seed": 0, "prm": {"shuffled_labels": False}}
    store.manifest_path(model).write_text(json.dumps({"about": about}))
    found = alternatives.costs(Files(tmp_path), "mine").set_index("method")
    assert found.core_minutes.to_dict() == pytest.approx(
        {"rsft": 1.5, "rsft_then_dpo": 2.0, "da": 4.0, "gold_rsft": 500 / 60, "opd": 1.0, "prm_select": 2.5}
    )
    assert found.tokens.to_dict() == {
        "rsft": 1000, "rsft_then_dpo": 1200, "da": 1000, "gold_rsft": 1000, "opd": 70, "prm_select": 70}  # fmt: skip
    assert found.at_most[["rsft", "rsft_then_dpo", "da", "opd"]].tolist() == [False, False, True, True]
    assert found.examples["rsft_then_dpo"] == 20 and found.trainings["rsft"] == 2 and set(found.study) == {"mine"}
    assert alternatives.costs(Files(tmp_path / "nothing"), "mine").empty


def cost(*lines):
    names = ["study", "method", "core_minutes", "at_most"]
    where = {"student": "s", "train": "mini_gsm", "trainings": 3, "examples": 9, "tokens": 12_345}
    return pd.DataFrame([where | dict(zip(names, line)) for line in lines])


def test_the_table_for_reading_and_the_figure():
    found = gained(other=THEIRS)
    lines = [("mine", "rsft", 0.2, False), ("mine", "rsft_then_dpo", 0.5, False), ("other", "opd", 20.0, True)]
    table = alternatives_shown.table(found, cost(*lines))
    assert table.method.tolist() == ["R-SFT", "R-SFT, then DPO", "on-policy distillation"]
    assert table["core-minutes"].tolist() == ["0.20", "0.50", "≤ 20.00"] and set(table["tokens trained"]) == {"12 k"}
    assert table["minus R-SFT [95 %]"][0] == "" and table["minus R-SFT [95 %]"][1].startswith("+0.0 [")
    assert table["minus base [95 %]"][1].startswith("+20.0 [") and table["accuracy (%)"][1] == "60.0"
    assert len(alternatives_shown.differences(found)) == len(found)
    drawn = alternatives_shown.figure(found, cost(*lines))
    assert [axes.get_xscale() for axes in drawn.axes] == ["log", "log"]
    assert [text.get_text() for text in drawn.legends[0].texts] == [
        "R-SFT", "R-SFT, then DPO", "on-policy distillation (other)"]  # fmt: skip
    assert alternatives_shown.figure(gained({"base": 0.4}), cost(*lines)) is None


def test_the_report_is_of_studies_with_preferences():
    (job,) = alternatives.jobs(Study(CONFIG))
    assert {p.name for p in job.outputs} == {"alternatives.csv", "alternatives_cost.csv"}
    read = {p.name for p in job.inputs}
    assert {f"qwen3-32b.qwen3-0.6b.rsft_then_dpo.mini_gsm.s{s}.manifest.json" for s in (0, 1, 2)} <= read
    mini = params.load(store.ROOT / "params" / "mini.yaml")[0]
    assert not list(alternatives.jobs(Study(mini)))
    assert "22_alternatives" in {job.notebook for job in graph.all_jobs(CONFIG, 0)}
    assert alternatives.beside("mini-own") is None
    assert alternatives.beside("mini-alternatives").root.name == "mini-own"
