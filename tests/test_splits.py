"""Which problems each stage reads: of its own split alone, and none that was left out for its overlap with a test set."""

from types import SimpleNamespace

import pandas as pd
import pytest
from test_distill import CELL, TRACES
from test_settings import OWN, RL, SIZES, Recorder, Stopped, log_of, predictions, quiet, stop
from tiny import DEBATE, DISTILL, ENGINE, EVALUATE, but

from agentark import engines, params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import pad, prm, sft, students
from agentark.distill.method import methods
from agentark.engines.transformers_engine import TransformersEngine
from agentark.evaluate import examination, process
from agentark.evaluate import students as cells
from agentark.extract import decontaminate, label, steps
from agentark.extract import traces as extraction
from agentark.grade import grading
from agentark.mas import generation
from agentark.models.load import load_tokenizer
from agentark.own_data import pipeline

MINI, _ = params.load(store.ROOT / "params" / "mini.yaml")
TASK = "mini_gsm"
PROBLEMS = tasks.problems(TASK, "train", 6)


@pytest.fixture
def read(monkeypatch):
    """The (task, split, number) of all problems that are read from here on."""
    asked = []
    original = tasks.problems

    def problems(name, split, n):
        asked.append((name, split, n))
        return original(name, split, n)

    monkeypatch.setattr(tasks, "problems", problems)
    return asked


# Splits


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_debate_is_about_its_split(read, tmp_path, monkeypatch, split):
    monkeypatch.setattr(engines, "make", lambda *_: Recorder())
    tested = {"test": TASK} if split == "test" else {"train": TASK}
    cell = Cell("some/teacher", protocol="single", split=split, **tested)
    log = generation.run(tmp_path / "debates" / "log.parquet", cell, 3, DEBATE, ENGINE, quiet)
    assert set(read) == {(TASK, split, 3)}
    read.clear()
    graded = grading.run(tmp_path / "debates" / "log.parquet")
    assert set(read) == {(TASK, split, 3)} and len(graded) == len(log)


def test_predictions_are_of_the_split_that_is_asked_for(read, tmp_path):
    predictions(Recorder(), tmp_path / "p.parquet", 0, None)
    assert set(read) == {(TASK, "test", 3)}


def test_overlap_is_that_of_training_problems_with_test_problems(read):
    decontaminate.overlaps(TASK, 4, {TASK: 3, "mini_med": 2}, 8)
    assert set(read) == {(TASK, "train", 4), (TASK, "test", 3), ("mini_med", "test", 2)}


def test_students_learn_from_training_problems(read, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(sft, "train", stop)
    with pytest.raises(Stopped):
        students.run(tmp_path / "s", CELL.but(student=networks["qwen3"], method="sft"), TRACES, "x", 6, DISTILL)
    assert set(read) == {(TASK, "train", 6)}


def test_dev_accuracy_is_that_of_dev_problems(read, monkeypatch):
    """During a training: an accuracy on test problems would choose among trainings by what they are compared on."""
    monkeypatch.setattr(TransformersEngine, "around", lambda *_: Recorder())
    pad._dev_accuracy(MINI.model_copy(update={"evaluate": EVALUATE}), TASK, 3)(None, None)
    assert set(read) == {(TASK, "dev", 3)}


def test_own_samples_are_of_training_problems(read, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(pad, "train_policy", lambda *args: given.append(args[5]) or {})
    monkeypatch.setattr(cells.predict, "run", lambda path, columns, **options: read.append(options["split"]) or path)
    monkeypatch.setattr(cells.grading, "run", lambda path: pd.DataFrame())
    config = MINI.model_copy(update={"rl": RL, "sizes": but(MINI.sizes, train=4)})
    steps = pd.DataFrame({"problem": [p.id for p in PROBLEMS]})
    cells.train_and_evaluate(Files(tmp_path), config, OWN, ["s"], (steps, "x"), SIZES)
    assert read == [(TASK, "train", 4), "test"] and given == [PROBLEMS[:4]]


def test_a_reward_model_learns_from_training_problems(read, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(prm.prm_data, "items", stop)
    with pytest.raises(Stopped):
        pad.train_reward_model(tmp_path / "m", OWN.but(student=networks["qwen3"]), pd.DataFrame(), "x", 4, MINI.prm)
    assert set(read) == {(TASK, "train", 4)}


def test_a_reward_model_is_examined_on_dev_problems(read, monkeypatch):
    """Half of them set the threshold, the other half is measured."""
    given = []
    log = log_of(4).assign(problem=[p.id for p in tasks.problems(TASK, "dev", 4) for _ in range(3)])
    read.clear()
    monkeypatch.setattr(pad, "scorer", lambda folder, task: folder)
    monkeypatch.setattr(pad, "untrained", lambda folder, task: {})
    monkeypatch.setattr(process, "examine", lambda score, *data, **options: given.append((data, options)))
    monkeypatch.setattr(examination.criteria, "decide", lambda examined, level: pd.DataFrame({"level": [level]}))
    config = MINI.model_copy(update={"stats": but(MINI.stats, level=0.8)})
    table = examination.examine(config, "model", "control", TASK, {"own": log})
    assert set(read) == {(TASK, "dev", 4)} and list(table.level) == [0.8]
    for (dev, test, task, _, _), options in given:
        assert (dev.problem.nunique(), test.problem.nunique(), task) == (2, 2, TASK)
        assert not set(dev.problem) & set(test.problem) and options == {"level": 0.8}


def test_the_threshold_is_set_on_the_dev_traces_alone():
    """Right steps score above wrong ones everywhere, but in the second half all of them below those of the first."""
    problems = tasks.problems(TASK, "dev", 4)
    rows = [
        {"problem": p.id, "round": 1, "agent": agent, "text": text, "correct": agent == 1}
        for p in problems
        for agent, text in enumerate((p.solution, p.solution.replace("=", "=9", 1)), 1)
    ]
    table = steps.table(pd.DataFrame(rows), TASK, "dev", "terse")
    first = table.problem.isin([p.id for p in problems[:2]])

    def score(asked, traces):
        truths = [steps.arithmetic(TASK, p, steps.split(trace)) for p, trace in zip(asked, traces, strict=True)]
        base = [0.5 if p in problems[:2] else 0.1 for p in asked]
        return [[low + 0.3 * (ok is not False) for ok in row] for low, row in zip(base, truths, strict=True)]

    def f1(dev, test):
        measures = process.examine(score, dev, test, TASK, problems).measures.set_index("measure")
        return measures.value["first-error F1"]

    assert f1(table[first], table[first]) == f1(table[~first], table[~first]) == 1.0
    assert f1(table[first], table[~first]) == 0.0


# Problems that were left out

LEFT_OUT = PROBLEMS[1].id  # TRACES has traces of it for every method


@pytest.mark.parametrize("method", [name for name, method in methods().items() if method.examples])
def test_a_problem_that_extraction_left_out_teaches_no_method(networks, method):
    """Neither by its traces nor by its gold solution."""
    traces = pd.concat([TRACES, TRACES.assign(problem=LEFT_OUT)])
    traces["text"] += "\n" + " plums" * 120
    traces.loc[traces.source == "single", "diversity_rank"] = 0
    cell, tokenizer = CELL.but(method=method), load_tokenizer(networks["qwen3"])
    assert LEFT_OUT in {e.problem for e in students.examples(cell, traces, 6, tokenizer)}
    kept = traces[traces.problem != LEFT_OUT]
    learnt = {e.problem for e in students.examples(cell, kept, 6, tokenizer)}
    assert learnt and LEFT_OUT not in learnt


def test_a_problem_without_labels_is_not_practised(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(pad, "train_policy", lambda *args: given.append(args[5]) or {})
    monkeypatch.setattr(cells, "answers", lambda *_: pd.DataFrame())
    config = MINI.model_copy(update={"rl": RL, "sizes": but(MINI.sizes, train=4)})
    labelled = pd.DataFrame({"problem": [p.id for p in PROBLEMS if p.id != LEFT_OUT]})
    for method in ("rlvr", "opd", "chance_select"):
        cells.train_and_evaluate(Files(tmp_path), config, OWN.but(method=method), ["s"], (labelled, "x"), SIZES)
    assert given == [[p for p in PROBLEMS[:4] if p.id != LEFT_OUT]] * 3


def test_a_problem_that_is_left_out_has_neither_traces_nor_labels(tmp_path):
    cell, log = Cell("t", train=TASK, protocol="debate"), log_of(3)
    traces, counts = extraction.run(tmp_path / "t.parquet", log, "x", cell, MINI, {LEFT_OUT: "shares 8 words"})
    labels = label.run(tmp_path / "s.parquet", log, "x", cell, MINI, {LEFT_OUT: "shares 8 words"})
    kept = {PROBLEMS[0].id, PROBLEMS[2].id}
    assert set(traces.problem) == set(labels.problem) == kept and counts["problems (Q)"] == 2


def test_other_problems_that_are_left_out_make_a_table_stale(tmp_path):
    """A test set that has become smaller gives its training problems back, and no finished table hides that."""
    cell, log = Cell("t", train=TASK, protocol="debate"), log_of(3)
    every = {p.id for p in PROBLEMS[:3]}
    for overlapping in ({LEFT_OUT: "shares 8 words"}, {PROBLEMS[0].id: "shares 8 words"}, {}):
        traces, _ = extraction.run(tmp_path / "t.parquet", log, "x", cell, MINI, overlapping)
        labels = label.run(tmp_path / "s.parquet", log, "x", cell, MINI, overlapping)
        assert set(traces.problem) == set(labels.problem) == every - set(overlapping)


@pytest.mark.parametrize("method", ["sft", "rsft", "da", "pad"])
def test_rows_of_ones_own_that_are_held_out_teach_no_method(tmp_path, monkeypatch, method):
    """`agentark distill` tells each stage which training rows overlap with held-out ones."""
    told, learnt = [], []
    frame = pd.DataFrame({"problem": [p.id for p in PROBLEMS]})
    counts = {"R-SFT traces": 1, "DA traces": 1}
    overlapping = {LEFT_OUT: "shares 8 words"}
    monkeypatch.setattr(pipeline, "overlaps", lambda *_: overlapping)
    monkeypatch.setattr(pipeline.load, "load_tokenizer", lambda name: None)
    monkeypatch.setattr(pipeline.generation, "run", quiet)
    monkeypatch.setattr(pipeline.grading, "run", lambda path: frame)
    monkeypatch.setattr(pipeline.grading, "identity", lambda path: "x")
    monkeypatch.setattr(pipeline.store, "identity", lambda path: "x")
    monkeypatch.setattr(pipeline.extraction, "run", lambda *args: told.append(args[5:]) or (frame, counts))
    monkeypatch.setattr(pipeline.label, "run", lambda *args: told.append(args[5:]) or frame)
    monkeypatch.setattr(pipeline.students, "untrained", lambda *_: frame)

    def train(files, config, cell, names, learned_from, sizes):
        learnt.append(learned_from[0])
        raise Stopped

    monkeypatch.setattr(pipeline.students, "train_and_evaluate", train)
    sizes = {"train": 6, "dev": 2, "test": 3}
    data = SimpleNamespace(task=TASK, sizes=sizes, rows=11, dropped={}, report=str)
    cell = Cell("t", "s", method, train=TASK, protocol="debate")
    config = MINI.model_copy(update={"rl": but(MINI.rl, init="base")})
    with pytest.raises(Stopped):
        pipeline._run_stages(Files(tmp_path), data, config, cell)
    assert told == [(overlapping,)] * {"sft": 0, "pad": 2}.get(method, 1)
    if method == "sft":
        assert list(learnt[0].problem) == [p.id for p in PROBLEMS if p.id != LEFT_OUT]
