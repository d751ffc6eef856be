"""The quality of reasoning (4.4): what is judged, by whom, what the program sees of known faults, and its tables."""

import json

import pandas as pd
import pytest

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.evaluate import jobs, judge, quality
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Study
from agentark.report import quality as report

BASE = Cell(student="zoo/qwen3-0.6b", method="base")
RSFT = Cell(teacher="t", student="zoo/qwen3-0.6b", method="rsft", train="mini_gsm", protocol="debate")
OPTIONS = {"level": 0.95, "resamples": 200}
N = 30


def config(**changes) -> params.Params:
    loaded = params.load(store.ROOT / "params" / "mini.yaml")[0]
    return loaded.model_copy(update=changes)


@pytest.fixture
def files(tmp_path) -> Files:
    """The base answers another problem's solution, R-SFT the gold one."""
    found, problems = Files(tmp_path), tasks.problems("mini_gsm", "test", N)
    for cell, move in ((BASE, 1), (RSFT, 0)):
        texts = [problems[(k + move) % N].solution for k in range(N)]
        rows = [{"item": p.id, "sample": -1, "text": text} for p, text in zip(problems, texts, strict=True)]
        path = found.path(PREDICTIONS, cell.but(test="mini_gsm", split="test"))
        path.parent.mkdir(exist_ok=True)
        store.write_table(pd.DataFrame(rows), path)
    return found


def test_the_program_sees_known_faults(files):
    rows, controls = quality.run(files, config(), [BASE, RSFT], {"mini_gsm": N}, 0)
    assert set(controls.model) == set(quality.CONTROLS) and set(controls.test) == {"mini_gsm"}
    table = report.instrument(controls, **OPTIONS).set_index(["dimension", "text"])
    gold, other, shuffled, checked, false, retracted = quality.CONTROLS
    assert table.loc[("coherence", gold), "mean"] == 5 and table.loc[("decomposition", gold), "mean"] > 4.5
    for text in (other, shuffled):
        assert table.loc[("coherence", text), "diff_high"] < 0
    assert table.loc[("verification", gold), "mean"] == 1 and table.loc[("verification", checked), "mean"] == 5
    assert table.loc[("localization", gold), "n"] == 0  # without a false step there is nothing to localize
    assert table.loc[("localization", false), "mean"] == 1 and table.loc[("localization", retracted), "mean"] == 5


def test_a_slice_judges_the_first_problems_of_longer_predictions(files):
    rows, controls = quality.run(files, config(), [BASE, RSFT], {"mini_gsm": 3}, 0)
    first = {problem.id for problem in tasks.problems("mini_gsm", "test", 3)}
    assert len(rows) == 6 and set(rows["item"]) == set(controls["item"]) == first


def test_rows_means_and_differences(files):
    rows, _ = quality.run(files, config(), [BASE, RSFT], {"mini_gsm": N}, 0)
    names = [*BASE.columns(), "item", "sample", *quality.MEASURES.values()]
    assert list(rows.columns) == names and len(rows) == 2 * N and set(rows["sample"]) == {-1}
    means = report.means(rows, **OPTIONS).set_index(["method", "dimension"])
    assert means.loc[("rsft", "coherence"), "mean"] == 5 and means.loc[("base", "coherence"), "mean"] < 4
    paired = report.differences(rows, **OPTIONS).set_index("dimension")
    assert paired.loc["coherence", "verdict"] == "higher" and paired.loc["coherence", "n"] == N
    assert paired.loc["verification", "verdict"] == "no difference detectable"
    assert "localization" not in paired.index  # no step of these answers is false


def test_the_measures_are_those_that_the_claims_name():
    text = (store.ROOT / "params" / "claims.yaml").read_text()
    for measure in ("decomposition", "verification", "localization", "coherence"):
        assert f"measure: {measure}" in text and measure in quality.MEASURES.values()
    assert set(judge.DIMENSIONS) < set(quality.MEASURES)


def test_what_cannot_be_judged_is_left_out(files, capsys):
    tests = {"mini_med": N, "mini_truthful": N, "mini_pictures": N}
    rows, controls = quality.run(files, config(), [BASE, RSFT], tests, 0)
    said = capsys.readouterr().out
    assert rows.empty and controls.empty and "mini_med is left out: no answers" in said
    assert "mini_pictures is left out: a judge does not see its pictures" in said
    assert report.means(rows, **OPTIONS).empty and report.differences(rows, **OPTIONS).empty
    assert report.instrument(controls, **OPTIONS).empty


def test_what_is_left_out_is_counted(files, monkeypatch, capsys):
    real, spoilt = quality.inject, {p.solution for p in tasks.problems("mini_gsm", "test", 3)}
    monkeypatch.setattr(quality, "inject", lambda task, text, rng: None if text in spoilt else real(task, text, rng))
    _, controls = quality.run(files, config(), [BASE, RSFT], {"mini_gsm": N, "mini_med": N}, 0)
    assert set(controls.groupby("model")["item"].nunique()) == {N - 3}
    line = (
        f"left out: 2 of 4 pairs of a student and a test, which have no answers; of the controls, 3 of {N} judged prob"
    )
    assert capsys.readouterr().out.count(line) == 1


@pytest.mark.parametrize(("method", "labeller", "may"), [("pad", "arithmetic", False), ("pad", "outcome", True),
                                                         ("rsft", "arithmetic", True)])  # fmt: skip
def test_a_judge_that_labelled_may_not_judge(method, labeller, may):
    base = config()
    changed = base.model_copy(update={"prm": base.prm.model_copy(update={"labeller": labeller})})
    assert quality.may_judge(changed, RSFT.but(method=method)) == may


def test_a_language_model_judges_if_the_params_name_one(files, monkeypatch):
    asked = []

    def run(path, predictions, *, config, labelled_by, **where):
        asked.append((path.name, config.model, config.items, set(predictions)))
        items = judge.sample_items(predictions, config.items, where["seed"])
        keys = [(i, m, d, k) for i in items for m in predictions for d in judge.DIMENSIONS for k in (0, 1)]
        rows = [(*key, 2.0 + key[3], "", "") for key in keys]
        return pd.DataFrame(rows, columns=judge.COLUMNS)

    monkeypatch.setattr(judge, "run", run)
    model = judge.Judge(model="m", constrained=True, temperature=0.0, max_new_tokens=8, chunk=7, items=7, repeats=2)
    base = config()
    with_judge = base.model_copy(update={"judges": base.judges.model_copy(update={"quality": model})})
    rows, controls = quality.run(files, with_judge, [BASE, RSFT], {"mini_gsm": N}, 0)
    assert [(name, m) for name, m, *_ in asked] == [("mini_gsm.s0.parquet", "m"), ("mini_gsm.controls.s0.parquet", "m")]
    assert asked[0][2] == 7 and len(rows) == 2 * 7 and set(rows.coherence) == {2.5}  # the mean of the repeats
    assert "step_truth" not in rows and set(controls.model) == set(quality.CONTROLS)


def test_the_job_reads_all_answers_and_no_weights():
    config_, study = config(), Study(config())
    (job,) = report.jobs(study)
    wanted = {study.path(PREDICTIONS, c.but(test=t, split="test")) for c in jobs.cells(study)
              for t in config_.study.test_tasks}  # fmt: skip
    assert wanted == set(job.inputs) and job.models == ()


def test_notebook_13_names_all_of_its_outputs():
    text = json.dumps(json.loads((store.ROOT / "notebooks" / "13_reasoning_quality.ipynb").read_text()))
    assert all(name in text for name in report.NAMES)
