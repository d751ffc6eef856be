"""Measures whether a process reward model is good enough to be a reward, before it is used for training.

`examine` gives every measure with its interval and its chance level; `criteria` decides what passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from agentark import stats, tasks
from agentark.extract import steps

from . import step_scores as measures
from .injection import OFF_TOPIC, inject

Score = Callable[[list[tasks.Problem], list[str]], list[list[float]]]  # (problems, traces) -> step scores of each trace
LOWEST = 0.1  # off-topic text has to score below this share of the right traces
OFF_TOPIC_PROBLEMS = 50


def as_log(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the sampled predictions of a student, which a reward will score, in the form of a graded debate log."""
    names = {"item": "problem", "answer_flexible": "answer", "correct_flexible": "correct"}
    log = predictions[predictions["sample"] >= 0].rename(columns=names)
    return log.assign(agent=log["sample"] + 1, round=1)


def traces(table: pd.DataFrame, label: str = "arithmetic") -> pd.DataFrame:
    """Return one row per trace of a table of steps (`extract.steps.table`).

    Columns: problem, agent, round, trace, trace_correct and labels (a list with None for unlabelled steps).
    """
    grouped = table.sort_values("step").groupby(["problem", "agent", "round"], sort=True)
    labels = grouped[label].apply(lambda column: [None if pd.isna(v) else v for v in column])
    return grouped[["trace", "trace_correct"]].first().assign(labels=labels).reset_index()


@dataclass(frozen=True)
class Examined:
    """The measures of a scorer, one row each, and by problem whether the trace that it likes best is right.

    measures: columns measure, value, low, high (the interval), chance (what a scorer without knowledge has) and n.
    best: the share of right ones among the traces with the highest reward, by problem.
    """

    measures: pd.DataFrame
    best: pd.Series


def examine(
    score: Score,
    dev: pd.DataFrame,
    test: pd.DataFrame,
    task: str,
    problems: Sequence[tasks.Problem],
    aggregate: Callable[[Sequence[float]], float] = min,
    label: str = "arithmetic",
    seed: int = 0,
    level: float = 0.95,
) -> Examined:
    """Measure a scorer with scores in [0, 1].

    dev, test: tables of the steps of some of `problems`; dev fixes the threshold of the first-error F1, test gives all
    measures.  `aggregate` turns the step scores of a trace into its reward.  Intervals take problems as independent,
    not traces or steps.  The measures, each a share unless said otherwise:

    - errors that lower the score: of the right traces with an injected error, those whose score at the error fell;
    - off-topic text below: of the texts about something else, those whose reward is below the lowest tenth of the
      rewards of right traces;
    - step AUROC, answer AUROC: the probability that a right step scores above a wrong one, of the steps before the
      answer and of answer lines: both together would measure mostly which of the two a line is;
    - best of N, and best of N - vote: the accuracy of the trace with the highest reward among a problem's first-round
      traces, and its difference to their majority vote;
    - and, without a criterion: the first-error F1 (ProcessBench), the calibration error, the mean drop at an injected
      error and after it, how often the minimum falls on the last step, and the accuracies of other choices.
    """
    by_id = {p.id: p for p in problems}
    dev_rows, rows = traces(dev, label), traces(test, label)
    for frame in (dev_rows, rows):
        frame["scores"] = score([by_id[p] for p in frame.problem], list(frame.trace))
    table: list[dict[str, Any]] = [
        *_on_injected(score, rows, by_id, task, aggregate, seed, level),
        *_on_steps(dev_rows, rows, level),
    ]
    chosen, best = _choices(rows, by_id, task, aggregate, level)
    columns = ["measure", "value", "low", "high", "chance", "n"]
    return Examined(pd.DataFrame([*table, *chosen], columns=columns), best)


def _row(measure: str, value: float, interval: tuple[float, float] | None, chance: float | None, n: int) -> dict:
    low, high = interval or (None, None)
    return {"measure": measure, "value": value, "low": low, "high": high, "chance": chance, "n": n}


def _share(measure: str, hits: Sequence[bool], problems: Sequence[str], chance: float, level: float) -> dict:
    """A share with Wilson's interval for as many answers as the hits are worth, which share problems."""
    if not len(hits):
        return _row(measure, float("nan"), None, chance, 0)
    n = stats.effective_size(np.asarray(hits, dtype=float), np.asarray(problems))
    value = float(np.mean(hits))
    return _row(measure, value, stats.wilson(value * n, n, level), chance, len(hits))


def _on_injected(score: Score, rows: pd.DataFrame, by_id: dict, task: str, aggregate, seed: int, level: float) -> list:
    """The measures on traces of which it is known what is wrong."""
    right = rows[rows.trace_correct & (rows.labels.map(measures.first_error) < 0)].drop_duplicates(["problem", "trace"])
    rng = Random(f"{seed} inject")
    pairs = zip(right.problem, right.trace, strict=True)
    injected = [(p, trace, *wrong) for p, trace in pairs if (wrong := inject(task, trace, rng))]
    spoilt, at = [by_id[p] for p, *_ in injected], [index for *_, index in injected]
    before = score(spoilt, ["\n".join(steps.split(trace)) for _, trace, *_ in injected]) if injected else []
    after = score(spoilt, [text for *_, text, _ in injected]) if injected else []
    drops = measures.drop(before, after, at)
    fell = [x[n] > y[n] for x, y, n in zip(before, after, at, strict=True)]
    some = [by_id[p] for p in rows.problem.unique()[:OFF_TOPIC_PROBLEMS]]
    texts = [(p, text) for p in some for text in OFF_TOPIC]
    off_topic = [aggregate(s) for s in score([p for p, _ in texts], [text for _, text in texts])]
    usual = [aggregate(s) for s in right.scores]
    below = [reward < np.quantile(usual, LOWEST) for reward in off_topic] if usual else []
    return [
        _share("errors that lower the score", fell, [p for p, *_ in injected], 0.5, level),
        _share("off-topic text below", below, [p.id for p, _ in texts], LOWEST, level),
        _row("drop at an error", drops["at"], None, 0.0, int(drops["n"])),
        _row("drop after it", drops["after"], None, 0.0, int(drops["n"])),
        _row("reward of right traces", measures.mean(usual), None, None, len(usual)),
        _row("reward of off-topic text", measures.mean(off_topic), None, None, len(off_topic)),
    ]


def _on_steps(dev: pd.DataFrame, rows: pd.DataFrame, level: float) -> list:
    """The measures on labelled steps."""
    scores, labels = list(rows.scores), list(rows.labels)
    is_answer = [[steps.is_answer(line) for line in steps.split(trace)] for trace in rows.trace]
    table = []
    for name, wanted in (("step AUROC", False), ("answer AUROC", True)):
        kept = [
            [label if answer == wanted else None for answer, label in zip(*pair, strict=False)]
            for pair in zip(is_answer, labels, strict=True)
        ]
        numbers, truths = measures.labelled(scores, kept)
        of = [p for p, row in zip(rows.problem, kept, strict=True) for value in row if value is not None]
        interval = measures.auroc_interval(numbers, truths, of, level)
        table.append(_row(name, measures.auroc(numbers, truths), interval, 0.5, len(numbers)))
    numbers, truths = measures.labelled(scores, labels)
    threshold = measures.fix_threshold(list(dev.scores), list(dev.labels))
    shuffled = [measures.shuffled(list(frame.scores), 0) for frame in (dev, rows)]
    by_chance = measures.fix_threshold(shuffled[0], list(dev.labels))
    f1 = measures.first_error_f1(scores, labels, threshold)
    chance = measures.first_error_f1(shuffled[1], labels, by_chance)["f1"]
    calibration = measures.calibration(numbers, truths)[1]
    return [
        *table,
        _row("first-error F1", f1["f1"], None, chance, len(scores)),
        _row("minimum on the last step", measures.minimum_last(scores), None, None, len(scores)),
        _row("calibration error", calibration, None, None, len(numbers)),
        _row("steps right", measures.mean(truths), None, None, len(numbers)),
    ]


def _choices(rows: pd.DataFrame, by_id: dict, task: str, aggregate, level: float) -> tuple[list, pd.Series]:
    """The accuracies of one first-round trace a problem, by who chooses it, and the reward's choice by problem."""
    grader, first = tasks.get(task), rows[rows["round"] == 1]
    answers = [grader.parse(text, by_id[p]).flexible for text, p in zip(first.trace, first.problem, strict=True)]
    first = first.assign(reward=[aggregate(s) for s in first.scores], answer=answers)
    groups = [group for _, group in first.groupby("problem", sort=True)]
    by_problem = measures.choices(
        [list(g.reward) for g in groups],
        [list(g.trace_correct) for g in groups],
        [[a if isinstance(a, str) else None for a in g.answer] for g in groups],
        [[len(t) for t in g.trace] for g in groups],
        grader.equal,
    )
    n, chance = len(by_problem), float(by_problem.random.mean())
    gain = stats.paired_bootstrap(by_problem.majority, by_problem.best, level=level)
    table = [
        _row("best of N", float(by_problem.best.mean()), stats.mean_interval(by_problem.best, level), chance, n),
        _row("best of N - vote", gain[0], gain[1:], chance - float(by_problem.majority.mean()), n),
    ]
    others = (("majority vote", "majority"), ("shortest trace", "shortest"), ("pass at N", "pass"))
    table += [_row(name, float(by_problem[column].mean()), None, chance, n) for name, column in others]
    return table, pd.Series(list(by_problem.best), index=[group.problem.iloc[0] for group in groups])
