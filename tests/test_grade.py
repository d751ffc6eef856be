"""Grading: which texts are right, and when they are graded again, without a text being generated again."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from tiny import DEBATE, ENGINE, Scripted, but

from agentark import engines, store, tasks
from agentark.cells import Cell
from agentark.grade import grading
from agentark.mas import generation
from agentark.tasks import problem

CELL = Cell("some/teacher", train="mini_med", protocol="debate")
MINI = [name for name in tasks.names() if name.startswith("mini_")]
OPEN_ENDED = [name for name in MINI if tasks.get(name).measure != "accuracy"]


def texts_of(task, write, n=5, split="dev"):
    """The texts `write(problem)` as a table."""
    rows = [{"problem": p.id, "text": write(p), "gold": p.answer} for p in tasks.problems(task, split, n)]
    return pd.DataFrame(rows)


# Which texts are right


@pytest.mark.parametrize("task", MINI)
def test_gold_solutions_pass(task):
    grades = grading.grade(texts_of(task, lambda p: p.solution), task, "dev")
    assert list(grades.columns) == grading.GRADES
    assert grades.correct.all() and grades.correct_strict.all() and (grades.score == 1).all()
    assert (grades.answer == grades.answer_strict).all()


def near_miss(p):
    """An answer that is wrong by one, or the next option of a choice."""
    if p.options:
        return p.options[("ABCD".index(p.answer) + 1) % len(p.options)]
    return str(int(p.answer) + 1)


@pytest.mark.parametrize("task", ["mini_gsm", "mini_math", "mini_meta", "mini_med"])
def test_near_misses_fail(task):
    texts = texts_of(task, lambda p: f"{p.solution.rpartition('Answer:')[0]}Answer: {near_miss(p)}")
    grades = grading.grade(texts, task, "dev")
    assert not grades.correct.any() and not grades.correct_strict.any() and (grades.score == 0).all()
    assert grades.answer.notna().all()


@pytest.mark.parametrize(
    ("text", "answer", "strict"),
    [("Answer: {}", True, True), ("so \\boxed{{{}}}", True, False), ("it is {} pens", True, False), ("", False, False)],
)
def test_strict_extraction_needs_an_answer_line(text, answer, strict):
    grades = grading.grade(texts_of("mini_gsm", lambda p: text.format(p.answer)), "mini_gsm", "dev")
    assert (grades.correct == answer).all() and (grades.correct_strict == strict).all()
    assert (grades.answer.notna() == answer).all() and (grades.answer_strict.notna() == strict).all()
    assert list(grades.score) == list(grades.correct.astype(float))


def test_the_text_is_graded_and_not_the_logged_answer():
    texts = texts_of("mini_gsm", lambda p: p.solution).assign(answer="999", strict=False)
    assert grading.grade(texts, "mini_gsm", "dev").correct.all()


def test_an_open_ended_answer_has_a_score():
    """One of the two words of the reference has an F1 of 2/3, and is no exact match."""
    texts = texts_of("mini_hotpot", lambda p: f"Answer: {p.answer.split()[0]}")
    grades = grading.grade(texts, "mini_hotpot", "dev")
    assert list(grades.score) == pytest.approx([2 / 3] * 5) and not grades.correct.any()


@pytest.mark.parametrize("task", OPEN_ENDED)
def test_scores_of_open_ended_answers_are_between_0_and_1(task):
    texts = texts_of(task, lambda p: "" if p.id.endswith("0") else f"Answer: {p.answer} or not")
    grades = grading.grade(texts, task, "dev")
    assert grades.score.between(0, 1).all() and grades.score.iloc[0] == 0 and not grades.correct.any()


def test_grades_have_the_order_of_the_texts():
    texts = texts_of("mini_gsm", lambda p: p.solution if p.id.endswith("3") else "none").sample(frac=1, random_state=1)
    grades = grading.grade(texts, "mini_gsm", "dev")
    assert list(grades.index) == list(texts.index)
    assert list(grades.correct) == [name.endswith("3") for name in texts.problem]


@pytest.mark.parametrize("change", [{"task": "mini_med"}, {"split": "test"}])
def test_texts_of_other_problems_are_refused(change):
    place = {"task": "mini_gsm", "split": "dev", **change}
    message = f"5 problems of the table are not in {place['task']}/{place['split']}, the first is 'mini_gsm.*other data"
    with pytest.raises(ValueError, match=message):
        grading.grade(texts_of("mini_gsm", lambda p: p.solution), **place)


def test_texts_with_other_gold_answers_are_refused():
    texts = texts_of("mini_gsm", lambda p: p.solution)
    texts.loc[3, "gold"] = "0"
    with pytest.raises(ValueError, match="gold answers are not those of mini_gsm/dev: it was made from other data"):
        grading.grade(texts, "mini_gsm", "dev")


# The stage


def script(question, number, agent):
    """Agent 2 has no answer, and the other two disagree."""
    return ["D", "A", None, "C"][agent]


@pytest.fixture
def debated(tmp_path, monkeypatch):
    """A function that runs the debate stage with at most `calls` calls of its engine; it returns the log's path."""

    def run(calls=99):
        monkeypatch.setattr(engines, "make", lambda *_: Scripted(script, fail_at=calls + 1))
        path = tmp_path / "debates" / "x.parquet"
        generation.run(path, CELL, 4, but(DEBATE, aggregator="majority"), ENGINE, print)
        return path

    return run


def manifest(path):
    return json.loads(store.manifest_path(grading.path_of(path)).read_text())


def test_the_grades_of_a_debate_are_those_that_it_read(debated, tmp_path):
    path = debated()
    log, graded = pd.read_parquet(path), grading.run(path)
    assert grading.path_of(path) == tmp_path / "grades" / "debates" / "x.parquet"
    assert list(graded.answer.fillna("")) == list(log.answer.fillna(""))
    assert list(graded.answer_strict.notna()) == list(log.strict) and {True, False} == set(log.strict)
    assert (manifest(path)["answers_changed"], manifest(path)["unparsed"]) == (0, (log.agent == 2).sum())
    assert set(graded.columns) == set(log.columns) - {"strict"} | set(grading.GRADES)
    rest = [column for column in log.columns if column not in ("answer", "strict")]
    pd.testing.assert_frame_equal(graded[rest], log[rest])


def test_finished_grades_are_read(debated, monkeypatch):
    path = debated()
    graded, identity = grading.run(path), grading.identity(path)
    monkeypatch.setattr(grading, "grade", lambda *_: pytest.fail("graded again"))
    pd.testing.assert_frame_equal(grading.run(path), graded)
    pd.testing.assert_frame_equal(grading.read(path), graded)
    assert grading.identity(path) == identity


def replace_task(monkeypatch, **changes):
    """Change the record of mini_med, as another version of the package might."""
    by_name = {name: tasks.get(name) for name in tasks.names()}
    by_name["mini_med"] = replace(by_name["mini_med"], **changes)
    monkeypatch.setattr(tasks, "_by_name", lambda: by_name)


def test_a_changed_grader_grades_again_and_generates_nothing(debated, monkeypatch, capsys):
    path = debated()
    log, graded, identity = pd.read_parquet(path), grading.run(path), grading.identity(path)
    replace_task(monkeypatch, parse=problem.parse_words)  # reads the last line if there is no answer line
    debated(calls=0)
    assert "it is recomputed" not in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_parquet(path), log)
    again = grading.run(path)
    assert "source: was" in capsys.readouterr().err and grading.identity(path) != identity
    changed = log.agent == 2
    assert graded.answer[changed].isna().all() and list(again.answer[changed]) == list(log.text[changed])
    assert list(again.answer[~changed]) == list(graded.answer[~changed])
    assert (manifest(path)["answers_changed"], manifest(path)["unparsed"]) == (changed.sum(), 0)


def test_a_changed_measure_grades_again_and_generates_nothing(debated, monkeypatch):
    path = debated()
    before = grading.run(path)
    replace_task(monkeypatch, measure="f1")
    debated(calls=0)
    monkeypatch.setattr(grading, "grade", lambda *_: before[grading.GRADES].assign(score=0.5))
    assert (grading.run(path).score == 0.5).all() and manifest(path)["answers_changed"] == 0


def test_other_texts_are_graded_again(debated):
    path = debated()
    grading.run(path)
    log = pd.read_parquet(path)
    store.finish(log.assign(text=[f"Answer: {gold}" for gold in log.gold]), path, {}, 0.0)
    assert grading.run(path).correct.all()


def test_predictions_are_graded_by_both_extractions(tmp_path):
    texts = texts_of("mini_gsm", lambda p: f"so {p.answer}", split="test").rename(columns={"problem": "item"})
    path = tmp_path / "predictions" / "x.parquet"
    store.finish(texts.assign(test="mini_gsm"), path, {}, 0.0)
    graded = grading.run(path)
    assert graded.correct_flexible.all() and not graded.correct_strict.any() and not {"answer", "correct"} & set(graded)
    assert list(graded.answer_flexible) == list(texts.gold) and graded.answer_strict.isna().all()
    assert "answers_changed" in manifest(path)


def test_missing_grades_are_reported(debated):
    path = debated()
    with pytest.raises(store.StoreError, match="has no grades beside it .*: run the notebook that makes it"):
        grading.read(path)
    grading.run(path)
    log = pd.read_parquet(path)
    with pytest.raises(store.StoreError, match=f"has {len(log)} grades for {len(log) - 1} texts"):
        grading.read(path, log[1:])


def test_the_code_that_grades_depend_on():
    roots = grading.roots("mini_gsm")
    assert "agentark.tasks.mini_gsm:problems" in roots and "agentark.tasks.numeric:parse" in roots
    assert not any(root.startswith("measure:") for root in roots)  # accuracy is the default
    assert "measure:f1" in grading.roots("mini_hotpot")
