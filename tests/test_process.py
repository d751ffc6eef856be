"""Tests of the measures of a reward model: each one by hand, and all of them on scorers of known quality."""

from math import isnan
from random import Random

import numpy as np
import pandas as pd
import pytest
from tiny import graded

from agentark import tasks
from agentark.evaluate import criteria, injection, process, step_scores
from agentark.extract import steps
from agentark.tasks import mini_gsm, mini_med

T, F = True, False


# First errors


def test_first_error_f1_by_hand():
    labels = [[T, F, F], [T, None, T], [F], [T, T], [T, F]]
    scores = [[0.9, 0.2, 0.1], [0.8, 0.1, 0.9], [0.1], [0.9, 0.8], [0.4, 0.1]]
    # erroneous: found at 1 (right), at 0 (right), at 0 where it is 1 (wrong); correct: one flagged, one passed
    assert step_scores.first_error_f1(scores, labels, 0.5) == pytest.approx(
        {
            "f1": 2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2),
            "erroneous": 2 / 3,
            "correct": 1 / 2,
            "n_erroneous": 3,
            "n_correct": 2,
        }
    )
    assert (
        step_scores.first_error_f1(scores, labels, 0.0)["f1"] == 0
        and step_scores.first_error_f1(scores, labels, 0.0)["correct"] == 1
    )
    assert [step_scores.first_error(row) for row in labels] == [1, -1, 0, -1, 1]
    assert isnan(step_scores.first_error_f1([[0.9]], [[T]], 0.5)["f1"])
    assert step_scores.first_error_f1([[], [0.1]], [[], [F]], 0.5)["correct"] == 1  # no step, no error


def test_the_threshold_is_the_best_on_dev():
    labels, scores = [[T, F], [T, T], [T, F]], [[0.9, 0.3], [0.8, 0.7], [0.6, 0.4]]
    threshold = step_scores.fix_threshold(scores, labels)
    assert 0.4 < threshold < 0.6 and step_scores.first_error_f1(scores, labels, threshold)["f1"] == 1
    rng = np.random.default_rng(0)
    many = [list(rng.random(5)) for _ in range(100)]
    labels = [[bool(s > 0.3) for s in row] for row in many]
    threshold = step_scores.fix_threshold(many, labels)
    assert threshold == pytest.approx(0.3, abs=0.02)
    assert (
        step_scores.first_error_f1([[0.5, 0.5]], [[T, F]], step_scores.fix_threshold([[0.5, 0.5]], [[T, F]]))["f1"]
        is not None
    )  # equal scores do not break it


def test_scores_of_another_shape_are_rejected():
    with pytest.raises(ValueError, match="scores of 1 traces, but labels of 2"):
        step_scores.first_error_f1([[0.1]], [[T], [F]], 0.5)
    with pytest.raises(ValueError, match="trace 1 has 1 scores and 2 labels"):
        step_scores.labelled([[0.1], [0.2]], [[T], [T, F]])
    with pytest.raises(ValueError, match="trace 0 has a score that is not a number"):
        step_scores.fix_threshold([[float("nan")]], [[T]])


# Steps


def test_auroc_by_hand():
    assert (
        step_scores.auroc([0.9, 0.8, 0.3, 0.1], [T, T, F, F]) == 1
        and step_scores.auroc([0.1, 0.9], [T, F]) == 0
        and step_scores.auroc([0.5, 0.5, 0.5], [T, F, T]) == 0.5
    )
    scores, labels = [0.9, 0.4, 0.4, 0.7, 0.2], [T, T, F, F, T]
    wins = [1, 1, 0.5, 0, 0, 0]  # each right step against each wrong one
    assert step_scores.auroc(scores, labels) == pytest.approx(sum(wins) / 6)
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 5, 60) / 5, rng.random(60) > 0.4
    slow = np.mean([(a > b) + (a == b) / 2 for a in scores[labels] for b in scores[~labels]])
    assert step_scores.auroc(scores, labels) == pytest.approx(slow)
    assert isnan(step_scores.auroc([0.1, 0.2], [T, T])) and isnan(step_scores.auroc([], []))


def test_unknown_labels_are_left_out():
    scores, labels = step_scores.labelled([[0.1, 0.2], [], [0.3]], [[None, T], [], [F]])
    assert scores.tolist() == [0.2, 0.3] and labels.tolist() == [T, F]


def test_calibration_by_hand():
    table, error = step_scores.calibration([0.0, 0.1, 0.6, 0.8, 1.0], [F, T, T, F, T], 2)
    assert (
        list(table.n) == [2, 3]
        and table.score.tolist() == pytest.approx([0.05, 0.8])
        and table.right.tolist() == pytest.approx([0.5, 2 / 3])
    )
    assert error == pytest.approx((2 * 0.45 + 3 * (0.8 - 2 / 3)) / 5)
    table, error = step_scores.calibration([1.0, 1.0], [T, T])
    assert error == 0 and table.n.tolist() == [0] * 9 + [2] and isnan(table.score[0])
    with pytest.raises(ValueError, match="only scores between 0 and 1"):
        step_scores.calibration([1.2], [T])


# Choosing among samples


def test_best_of_n_by_hand():
    accuracies = step_scores.choices(
        rewards=[[0.1, 0.9, 0.5], [0.3, 0.3, 0.1], [0.2, 0.1, 0.3]],
        correct=[[F, T, F], [T, F, F], [F, F, F]],
        answers=[["1", "2", "1"], ["5", "6", "5.0"], ["7", None, None]],
        lengths=[[3, 3, 9], [1, 2, 3], [4, 5, 6]],
        equal=tasks.get("mini_gsm").equal,
    ).mean()
    # problem 1: the best is right, the majority wrong, one of the two shortest right
    # problem 2: one of two equally good samples is right, and so is the majority, "5"
    assert dict(accuracies) == pytest.approx(
        {
            "best": (1 + 0.5 + 0) / 3,
            "majority": (0 + 1 + 0) / 3,
            "random": (1 / 3 + 1 / 3 + 0) / 3,
            "shortest": (0.5 + 1 + 0) / 3,
            "pass": 2 / 3,
        }
    )
    with pytest.raises(ValueError, match="same number of samples"):
        step_scores.choices([[0.1]], [[T, F]], [["1"]], [[1]], mini_gsm.TASK.equal)


def test_nobody_answers():
    chosen = step_scores.choices([[0.1, 0.2]], [[F, F]], [[None, None]], [[1, 2]], mini_gsm.TASK.equal)
    assert list(chosen.majority) == [0]


# Injected errors


@pytest.mark.parametrize("task", ["mini_gsm", "mini_math", "mini_meta", "mini_med"])
def test_an_injected_error_is_one_wrong_step(task):
    indices = set()
    for n, p in enumerate(tasks.problems(task, "dev", 40)):
        spoilt, index = injection.inject(task, p.solution, Random(n))
        before, after = steps.split(p.solution), steps.split(spoilt)
        assert [k for k in range(len(before)) if before[k] != after[k]] == [index] and len(before) == len(after)
        labels = steps.arithmetic(task, p, after)
        assert labels[index] is False and False not in labels[:index] + labels[index + 1 :]
        assert injection.inject(task, p.solution, Random(n)) == (spoilt, index)
        indices.add(index)
    assert len(indices) > 1


def test_without_a_true_statement_nothing_is_injected():
    for text in ("", "Answer: 4", "so it goes\nAnswer: 4", "gets 1+1=3\nAnswer: 3"):
        assert injection.inject("mini_gsm", text, Random(0)) is None
    drug = mini_med.FACTS.drugs[0]
    assert injection.inject("mini_med", f"asked: the organ of {drug}.", Random(0)) is None
    assert (
        injection.inject("mini_gsm", "2+2=4, so x=7", Random(0)) is None
    )  # its last equation is not the one that was read


def test_the_drop_by_hand():
    drops = step_scores.drop(
        [[0.9, 0.8, 0.7], [0.9, 0.9], [0.5, 0.5]], [[0.9, 0.2, 0.5], [0.9, 0.6], [0.6, 0.1]], [1, 1, 0]
    )
    assert drops == pytest.approx({"at": (0.6 + 0.3 - 0.1) / 3, "after": (0.2 + 0.4) / 2, "fell": 2 / 3, "n": 3})
    assert isnan(step_scores.drop([], [], [])["at"]) and isnan(step_scores.drop([[0.9]], [[0.1]], [0])["after"])


def test_how_often_the_minimum_is_last():
    assert step_scores.minimum_last([[0.9, 0.1], [0.1, 0.9], [0.2, 0.2], [0.5, 0.1, 0.1], [0.3], []]) == pytest.approx(
        (1 + 0 + 0.5 + 0.5) / 4
    )
    assert isnan(step_scores.minimum_last([[0.5]]))


# All measures


def log_of(split, n, share_right):
    """Return a debate log of 4 traces per problem: the given share is right, the others have an error in a step."""
    rows, rng = [], Random(split)
    for story, p, stray in (x for x, _ in zip(mini_gsm.stream(split, Random(f"mini_gsm {split}")), range(n))):
        for agent in range(1, 5):
            right = rng.random() < share_right
            while True:  # a wrong step may lead to the right answer by chance
                text = mini_gsm.solve(story, rng, *(() if right else (0, rng.choice((-2, 1, 2, 10)))))
                if mini_gsm.TASK.verify(text, p)[1] == right:
                    break
            rows.append({"problem": p.id, "round": 1, "agent": agent, "text": text, "gold": p.answer})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def tables():
    loaded = []
    for split, n in (("dev", 16), ("test", 60)):
        problems = tasks.problems("mini_gsm", split, n)
        log = log_of(split, n, 0.5)
        log = graded(log[log.problem.isin({p.id for p in problems})], "mini_gsm", split)
        loaded.append((steps.table(log, "mini_gsm", split, "terse"), problems))
    (dev, some), (test, more) = loaded
    return dev, test, [*some, *more]


def oracle(problems, texts):
    """A scorer that knows which steps are right."""
    return [
        [0.9 if right or right is None else 0.1 for right in steps.arithmetic("mini_gsm", p, steps.split(t))]
        if any(map(str.isdigit, t))
        else [0.1] * len(steps.split(t))
        for p, t in zip(problems, texts)
    ]


def blind(problems, texts):
    """A scorer that knows nothing: random scores, seeded by the text."""
    return [[Random(f"{line} {n} {t}").random() for n, line in enumerate(steps.split(t))] for t in texts]


@pytest.fixture(scope="module")
def examined(tables):
    """The examinations of a scorer that knows everything and of one that knows nothing."""
    dev, test, problems = tables
    scorers = {"oracle": oracle, "blind": blind}
    return {name: process.examine(score, dev, test, "mini_gsm", problems) for name, score in scorers.items()}


@pytest.fixture(scope="module")
def unsure(tables):
    """The measures of a scorer that knows nothing, with intervals so wide that they nearly always hold the truth."""
    dev, test, problems = tables
    return process.examine(blind, dev, test, "mini_gsm", problems, level=0.999).measures.set_index("measure")


def test_the_measures_of_an_oracle_and_of_a_blind_scorer(tables, examined, unsure):
    good, bad = examined["oracle"].measures.set_index("measure"), unsure
    sure = ["errors that lower the score", "off-topic text below", "step AUROC", "answer AUROC", "first-error F1"]
    assert (good.value[sure] == 1).all()
    assert good.value["best of N"] == pytest.approx(good.value["pass at N"])
    assert good.value["drop at an error"] == pytest.approx(0.8) and good.value["drop after it"] == pytest.approx(0)
    assert good.value["reward of right traces"] == pytest.approx(0.9)
    assert good.value["reward of off-topic text"] == pytest.approx(0.1)
    assert good.n["calibration error"] == len(tables[1])
    for measure in ("errors that lower the score", "step AUROC", "answer AUROC", "best of N", "best of N - vote"):
        row = bad.loc[measure]
        assert row.low < row.value < row.high and row.low <= row.chance <= row.high, measure
    assert bad.value["first-error F1"] == pytest.approx(bad.chance["first-error F1"], abs=0.2)
    with_last = process.examine(oracle, *tables[:2], "mini_gsm", tables[2], aggregate=lambda scores: scores[-1])
    assert list(with_last.best) == list(examined["oracle"].best)  # the last step alone is as good in this case


def test_an_oracle_is_usable_and_a_blind_scorer_is_not(examined):
    good = criteria.decide({criteria.REWARD_MODEL: examined["oracle"], "shuffled labels": examined["blind"]})
    bad = criteria.decide({criteria.REWARD_MODEL: examined["blind"], "shuffled labels": examined["oracle"]})
    results = [table[table.scorer == criteria.REWARD_MODEL].set_index("measure").passed for table in (good, bad)]
    names = [*criteria.MARGINS, criteria.USABLE, "adds to shuffled labels"]
    assert all(results[0][name] is True for name in names)
    assert all(results[1][name] is False for name in names)
    assert criteria.failed(good) == [] and len(criteria.failed(bad)) == len(criteria.MARGINS)
    assert "above 0.85 is required" in criteria.failed(bad)[0]


def test_the_interval_of_what_a_reward_model_adds_is_of_the_level_that_is_given(examined):
    pair = {criteria.REWARD_MODEL: examined["oracle"], "blind": examined["blind"]}
    decided = [criteria.decide(pair, level).set_index("measure").loc["adds to blind"] for level in (0.5, 0.99)]
    assert decided[1].low < decided[0].low and decided[1].high > decided[0].high


def test_what_a_criterion_requires():
    assert criteria.required("errors that lower the score", 0.5) == pytest.approx(0.85)
    assert criteria.required("best of N - vote", -0.2) == 0.0  # a vote is no chance level
    assert criteria.required("calibration error", 0.0) is None


def test_without_an_interval_nothing_is_passed(examined):
    measures = examined["oracle"].measures
    unknown = measures.assign(low=measures.low.where(measures.measure != "step AUROC"))
    decided = criteria.decide({criteria.REWARD_MODEL: process.Examined(unknown, examined["oracle"].best)})
    passed = decided.set_index("measure").passed
    assert passed["step AUROC"] is False and passed[criteria.USABLE] is False and passed["answer AUROC"] is True


def test_the_interval_of_an_auroc():
    rng = np.random.default_rng(0)
    labels = rng.random(400) > 0.5
    scores = rng.random(400) + 0.5 * labels
    problems = [f"p{n // 4}" for n in range(400)]
    low, high = step_scores.auroc_interval(scores, labels, problems)
    assert low < step_scores.auroc(scores, labels) < high and high - low < 0.12
    # the same labels in each problem's steps: the problems, not the steps, are what is drawn
    whole = np.repeat(rng.random(100) > 0.5, 4)
    wide = step_scores.auroc_interval(np.repeat(rng.random(100), 4) + 0.2 * whole, whole, problems)
    assert wide[1] - wide[0] > 1.5 * (high - low)
    assert step_scores.auroc_interval([0.1, 0.2], [T, T], ["p", "q"]) is None
    assert step_scores.auroc_interval([0.9, 0.1], [T, F], ["p", "p"]) == (1.0, 1.0)


def test_the_rollouts_of_a_student_as_a_log():
    predictions = pd.DataFrame(
        {
            "item": ["mini_gsm/dev/0"] * 3,
            "sample": [-1, 0, 1],
            "text": ["a", "gets 1+1=2\nAnswer: 2", "gets 1+1=3"],
            "answer_flexible": ["1", "2", "3"],
            "correct_flexible": [F, T, F],
        }
    )
    table = steps.table(process.as_log(predictions), "mini_gsm", "dev", "terse")
    assert list(table.agent) == [1, 1, 2] and list(table.trace_correct) == [T, T, F] and list(table["round"]) == [1] * 3
    traces = process.traces(table)
    assert list(traces.labels)[1] == [F] and list(traces.trace) == ["gets 1+1=2\nAnswer: 2", "gets 1+1=3"]
