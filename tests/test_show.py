"""What notebooks show: folded tables are whole and escaped, code is the function's own, names are for readers."""

import json

import pandas as pd
import pytest

from agentark import notebook, params, stats, store
from agentark.cells import Cell, Files
from agentark.distill import prm
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph import graph
from agentark.graph.job import Job, Study
from agentark.mas.jobs import DEBATES
from agentark.report import collect, overview, scorecard, show
from agentark.store import progress


def test_a_folded_table_is_whole_and_escaped():
    frame = pd.DataFrame({"<b>": [f"row {n} <script>" for n in range(200)], "x": 1 / 3})
    html = show.folded(frame, "all <200>").data
    assert html.count("<tr>") == 201 and "row 199" in html and "0.333" in html and "…" not in html
    assert "<script>" not in html and "all &lt;200&gt;" in html and html.startswith("<details><summary>")
    assert show.folded(frame, "x", open_at_first=True).data.startswith("<details open>")


def test_code_is_the_function():
    text = show.code(prm.contrastive).data
    assert (
        text.startswith("`agentark.distill.prm`") and "log_softmax(-1)[:, 0]" in text and "```python\ndef contr" in text
    )


def test_tables_for_reading_have_names_and_signs():
    row = {"teacher": "zoo/qwen3-32b", "student": "zoo/qwen3-0.6b", "method": "rsft", "against": "base", "n": 10}
    row |= {"train": "mini_gsm", "test": "mini_gsm", "difference": -0.01, "low": -0.02, "high": 0.005, "p": 0.0304}
    row |= {"p_holm": 1.0, "verdict": "no difference detectable", "accuracy": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    table = show.differences(pd.DataFrame([row])).iloc[0]
    name = "Qwen3-0.6B role (student), 0.2 M"
    assert (table.network, table.method, table.against, table.p) == (name, "R-SFT", "base", "0.03")
    assert table["difference (points) [95 %]"] == "-1.0 [-2.0, +0.5]"
    assert show.accuracies(pd.DataFrame([row])).iloc[0]["accuracy (%) [95 %]"] == "50.0 [40.0, 60.0]"
    assert show.accuracies(pd.DataFrame()).empty and show.own_task(pd.DataFrame()).empty


def test_trainings_show_losses_and_warnings():
    old = {"steps": 2, "loss": [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}]}
    new = {**old, "first_loss": 2.5, "last_loss": 2.25, "warning": ""}
    table = show.trainings({"zoo/a": old, "zoo/b": new, "zoo/c": {"steps": 1}})
    assert table["first loss"].tolist()[:2] == [3.0, 2.5] and table["last loss"].tolist()[:2] == [1.0, 2.25]
    assert "warning" not in table and table["steps"].tolist() == [2, 2, 1]
    table = show.trainings({"zoo/a": old, "zoo/b": {**new, "warning": "the loss did not fall"}})
    assert table["warning"].tolist() == ["", "the loss did not fall"]


def test_warnings_of_a_study_name_the_student(tmp_path):
    for method, warning in (("rsft", ""), ("da", "the loss did not fall")):
        folder = tmp_path / "students" / f"t.s.{method}.mini_gsm.s0"
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"warning": warning} if warning else {}))
        about = {"student": "zoo/s", "method": method, "train": "mini_gsm", "seed": 3}
        store.write_manifest(folder, about, 0.0)
    assert collect.training_warnings(Files(tmp_path)) == ["zoo/s, da on mini_gsm, seed 3: the loss did not fall"]


def test_what_an_earlier_run_left_is_in_no_table(tmp_path, monkeypatch, capsys):
    """Only files that the study makes are collected; those of other params in the same folder are named."""
    prediction, examined = tmp_path / "predictions" / "rsft.parquet", tmp_path / "prms" / "new.csv"
    checkpoint = tmp_path / "students" / "new"
    outputs = (prediction, examined, store.manifest_path(checkpoint))
    monkeypatch.setattr(graph, "all_jobs", lambda config, limit: [Job("08", {}, (), outputs, (), ())])
    for path in (prediction, prediction.with_stem("sft"), examined, examined.with_stem("old")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"student\n{path.stem}\n")
    for folder in (checkpoint, checkpoint.with_name("old")):
        folder.mkdir(parents=True)
        (folder / "training.json").write_text(json.dumps({"warning": f"of the {folder.name} one"}))
        about = {"student": "s", "method": "da", "train": "t", "seed": 0}
        store.write_manifest(folder, about, 0.0)
    rows = {"train": "t", "test": "t", "protocol": "debate"}
    monkeypatch.setattr(collect, "graded", lambda path, files: pd.DataFrame([{"method": path.stem, **rows}]))
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]
    files = graph.StudyFiles(tmp_path, study=Study(config))
    assert list(collect.predictions(files, []).method) == ["rsft"]
    assert list(collect.examinations(files).student) == ["new"]
    assert collect.training_warnings(files) == ["s, da on t, seed 0: of the new one"]
    assert "not make them: 1 in predictions (sft.parquet)" in capsys.readouterr().out
    assert list(collect.predictions(Files(tmp_path), []).method) == ["rsft", "sft"]  # a reference has only its own


def test_a_study_knows_its_files():
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]
    run = notebook.Run(config, params.load(store.ROOT / "params" / "mini.yaml")[1])
    assert isinstance(run.files, graph.StudyFiles) and run.files.root == run.study.files.root
    cell = Cell("zoo/qwen3-32b", "zoo/qwen3-0.6b", "rsft", "mini_gsm", protocol="debate")
    for method, expected in (("rsft", True), ("pad", False)):
        own = cell.but(method=method)
        answers = run.files.path(PREDICTIONS, own.but(test="mini_med", split="test"))
        assert (answers in run.files.written) is expected
        assert (store.manifest_path(run.files.path(STUDENTS, own)) in run.files.written) is expected
    assert run.files.path(DEBATES, cell) in run.files.written


def test_rewards_first_and_last():
    rows = [{"reward": 0.1 * n, "accuracy": 0.5, "zero_variance": 0.25, "kl": 0.01} for n in range(20)]
    log = {"log": rows, "dev": [{"accuracy": 0.4}, {"accuracy": 0.6}]}
    table = show.rewards({"a": log, "b": {**log, "dev": []}})
    assert table.loc["a", "reward"] == "0.450 → 1.450" and table.loc["a", "equal"] == "25%"
    assert list(table["greedy, dev (%)"]) == ["40 → 60", ""]


def test_the_scorecard_passes_or_fails():
    rows = [
        ("reward model", "step AUROC", 0.8, 0.7123, 0.9, 0.5, 40, 0.7, "True"),
        ("reward model", "errors that lower the score", 0.5, 0.4, 0.6, 0.5, 40, 0.85, "False"),
        ("reward model", "calibration error", 0.1, None, None, None, 40, None, None),
        ("likelihood", "step AUROC", 0.9, 0.8, 0.95, 0.5, 40, 0.7, "True"),
        ("reward model", "adds to likelihood", -0.05, -0.1, 0.01, 0.0, 40, 0.0, "False"),
        ("reward model", "usable as a reward", None, None, None, None, 40, None, "False"),
    ]
    columns = ["scorer", "measure", "value", "low", "high", "chance", "n", "required", "passed"]
    table = pd.DataFrame(rows, columns=columns).assign(student="zoo/qwen3-0.6b", task="mini_gsm", traces="own")
    card = scorecard.scorecard(table)
    assert list(card.index) == ["step AUROC", "corrupted steps scored lower", "usable as a reward"]
    assert list(card.iloc[:, 0]) == [
        "0.80 [0.71, 0.90], chance 0.50: pass",
        "0.50 [0.40, 0.60], chance 0.50: fail",
        "fail",
    ]
    added = scorecard.added(table)
    assert list(added.index) == ["minus likelihood"] and added.iloc[0, 0] == "-5.0 [-10.0, +1.0]"
    assert list(scorecard.readable(table).above.dropna()) == [0.7, 0.85, 0.7, 0.0]


def test_an_examination_of_an_earlier_version_is_still_shown():
    rows = [("  steps before the answer", 0.8, 0.5, None, None), ("step AUROC", 0.8, 0.5, "above 0.7", "True"),
            ("deserves to be a reward", None, None, "all 6", "False")]  # fmt: skip
    old = pd.DataFrame(rows, columns=["measure", "prm", "control", "good", "passed"])
    old = old.assign(student="zoo/qwen3-0.6b", task="mini_gsm", traces="own", seed=0)
    assert list(scorecard.scorecard(old).iloc[:, 0]) == ["0.80: pass", "fail"]
    table = scorecard.current(old)
    assert list(table.value.dropna()) == [0.8, 0.8, 0.5, 0.5] and set(table.scorer) == {
        "reward model",
        "shuffled labels",
    }
    assert not len(scorecard.added(old))


def test_verdicts_have_their_interval_and_what_could_have_been_found():
    row = {"comparison": "gain", "method": "pad", "against": "base", "direction": "higher", "smallest": 4.0}
    row |= {"difference": 5.04, "low": -1.0, "high": 11.0, "p_holm": 0.0512, "detectable": 8.26}
    table = show.verdicts(pd.DataFrame([row | {"verdict": "undecided", "note": "exploratory"}]))
    assert list(table.loc["gain"]) == [
        "PAD", "higher", show.label("base"), 4.0, "+5.0 [-1.0, +11.0]", "0.051", "8.3", "undecided", "exploratory",
    ]  # fmt: skip


def test_a_verdict_that_waits_has_no_numbers():
    row = {"comparison": "gain", "method": "pad", "against": "base", "direction": "higher", "smallest": 4.0}
    row |= dict.fromkeys(("difference", "low", "high", "p_holm", "detectable"), float("nan"))
    table = show.verdicts(pd.DataFrame([row | {"verdict": "waits", "note": "waits for a run"}]))
    assert list(table.loc["gain"])[4:] == ["", "", "", "waits", "waits for a run"]


def test_a_heat_map_has_every_cell():
    rows = [
        ("s", method, train, "base", "gsm", difference, verdict)
        for method, train, difference, verdict in (
            ("rsft", "gsm", 0.012, "no difference detectable"),
            ("rsft", "med", -0.2, "worse"),
            ("da", "gsm", 0.0, "no difference detectable"),
        )
    ]
    paired = pd.DataFrame(rows, columns=["student", "method", "train", "against", "test", "difference", "verdict"])
    axes = overview.heat_map(paired).axes[0]
    assert [text.get_text() for text in axes.texts] == ["+1.2", "−20.0 *", "+0.0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["s: R-SFT", "s: DA"]
    assert overview.heat_map(paired, "teacher_debate") is None  # as in a study that trains nobody


def test_the_t_interval():
    assert stats.t_interval([1.0, 1.0]) == (1.0, 1.0, 1.0, 0.0) and stats.t_interval([0.0, 0.0])[3] == 1.0
    with pytest.raises(ValueError, match="two values"):
        stats.t_interval([1.0])


def test_chunks_are_one_line_in_a_page_and_lines_in_a_log(monkeypatch, capsys):
    monkeypatch.delitem(vars(progress), "print", raising=False)
    notebook.quiet(trains=False, headless=True)
    progress.print_progress("round 1", 1, 2)
    assert "round 1: chunk 1 of 2" in capsys.readouterr().err
    monkeypatch.setitem(vars(progress), "print", notebook.update_line)
    progress.print_progress("round 1", 2, 2)  # no kernel here: printed, not shown
    assert "round 1: chunk 2 of 2" in capsys.readouterr().out
