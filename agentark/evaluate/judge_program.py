"""Judges solutions with a program that reads each step and executes its arithmetic, for the mini tier (DECISIONS 28).

It fills the same table as a language model (judge.py): the paper's four dimensions and a fifth of our own.  Each is the
share of something that can be counted, mapped to the scale from 1 to 5 as 1 + 4 × share, and measures only this:

- step_decomposition: the number of different steps with one operation (or one fact), relative to the operations of the
  gold solution, at most 1.  Blind spots: useless steps; a right solution shorter than the gold one scores below 1.
- intermediate_verification: the steps that the solution checks itself: the next line says so in words, or a later step
  inverts the equation (8-5=3 for 3+5=8) and its result is not used.  Blind spot: whether the words are meant seriously.
- error_localization: the false steps that are repaired: a later step states the same left side (or fact) truly, or the
  next line says that it was wrong; no score without a false step.  Blind spots: mistakes in prose, other repairs.
- reasoning_coherence: the steps, including the answer, that take all their numbers (or subjects) from the question or
  from earlier results.  Blind spots: wrong choices of numbers; numbers in words and common knowledge (60 minutes).
- step_truth (ours): the true steps among those that can be checked; no score without any.  Blind spot: useless steps.

A step is a line that states an equation or, in mini_med, a fact; a problem whose gold solution states neither is not
scored.  There is one repeat, because the program is deterministic.  It shares its arithmetic with the labeller of the
same name (extract/steps.py) and may not judge students of a reward model that learnt from those labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from agentark import tasks
from agentark.extract import steps
from agentark.tasks import Problem, mini_med
from agentark.tasks.numeric import numbers

from . import judge

NAME = "arithmetic"
DIMENSIONS = (*judge.DIMENSIONS, "step_truth")
_OPERATION = re.compile(r"(?<=[\d)])\s*[-+*/]")
_CHECKS = re.compile(r"\b(?:double-?check|check|verif|confirm|re-?comput|re-?calculat|make sure)", re.IGNORECASE)
_RETRACTS = re.compile(r"\b(?:wrong|mistake|mistaken|error|incorrect|wait|not right|correction)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """An equation, or a fact of mini_med, that a step states.

    left: the left side without spaces, or subject and relation; inputs, outputs: the numbers on the left and right, or
    subject and value; operations: how many the left side has.
    """

    left: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: int
    is_true: bool


def statements(task: str, step: str) -> list[Statement]:
    """Return the equations of a step and, in mini_med, its facts."""
    stated = []
    for left, right in steps.equations(step):
        formula, operations = re.sub(r"\s", "", left), len(_OPERATION.findall(left))
        stated.append(Statement(formula, _numbers(left), _numbers(right), operations, steps.holds(left, right)))
    for subject, relation, value in steps.facts(step) if task == "mini_med" else ():
        is_true = mini_med.FACTS.relation[relation].get(subject) == value
        stated.append(Statement(f"{subject} {relation}", (subject,), (value,), 1, is_true))
    return stated


def _numbers(expression: str) -> tuple[str, ...]:
    """Return the numbers of an expression, equal ones as equal text (12.0 as 12); signs count as operators."""
    return tuple(str(Fraction(number.lstrip("-"))) for number in numbers(expression))


def shares(task: str, problem: Problem, text: str) -> dict[str, float | None]:
    """Return the five shares of a solution, each in [0, 1], or None if the dimension does not apply to it.

    All shares are None if the gold solution states neither an equation nor a fact.
    """
    gold_operations = sum(s.operations for line in steps.split(problem.solution) for s in statements(task, line))
    if not gold_operations:
        return dict.fromkeys(DIMENSIONS)
    lines = steps.split(text)
    stated = [[] if steps.is_answer(line) else statements(task, line) for line in lines]
    indices = [n for n, line in enumerate(stated) if line]
    single = {stated[n][0].left for n in indices if len(stated[n]) == 1 and stated[n][0].operations == 1}
    false = [n for n in indices if not all(s.is_true for s in stated[n])]
    return {
        "step_decomposition": min(1.0, len(single) / gold_operations),
        "intermediate_verification": _mean([_is_checked(n, lines, stated) for n in indices], 0.0),
        "error_localization": _mean([_is_repaired(n, lines, stated) for n in false], None),
        "reasoning_coherence": _mean(_is_grounded(task, problem, lines, stated), 0.0),
        "step_truth": _mean([n not in false for n in indices], None),
    }


def _mean(values: Sequence[bool], empty: float | None) -> float | None:
    return sum(values) / len(values) if values else empty


def _is_checked(n: int, lines: list[str], stated: list[list[Statement]]) -> bool:
    """Return whether the next line checks step n in words, or a later step inverts its equation and is not used."""
    if n + 1 < len(lines) and _CHECKS.search(lines[n + 1]):
        return True
    for m in range(n + 1, len(stated)):
        used = {x for later in stated[m + 1 :] for s in later for x in s.inputs}
        used |= {x for line in lines[m + 1 :] if steps.is_answer(line) for x in _numbers(line)}
        if any(_inverts(a, b) and not used & set(b.outputs) for a in stated[n] for b in stated[m]):
            return True
    return False


def _inverts(a: Statement, b: Statement) -> bool:
    """Return whether b computes with the numbers of a in another order: 8-5=3, or 5+3=8, for 3+5=8."""
    if not a.operations == b.operations == 1 or a.left == b.left:
        return False
    return sorted((*a.inputs, *a.outputs)) == sorted((*b.inputs, *b.outputs))


def _is_repaired(n: int, lines: list[str], stated: list[list[Statement]]) -> bool:
    """Return whether each false statement of step n is stated truly later, or the next line retracts it."""
    if n + 1 < len(lines) and _RETRACTS.search(lines[n + 1]):
        return True
    truths = {s.left for later in stated[n + 1 :] for s in later if s.is_true}
    return all(s.left in truths for s in stated[n] if not s.is_true)


def _is_grounded(task: str, problem: Problem, lines: list[str], stated: list[list[Statement]]) -> list[bool]:
    """Return, for each statement and each answer with a number or an option, whether its inputs occurred before."""
    question = {*_numbers(problem.question), *re.findall(r"\w+", problem.question)}
    results: set[str] = set()
    grounded = []
    for line, line_statements in zip(lines, stated, strict=True):
        if steps.is_answer(line):
            if problem.options:  # a step must have reached the text of the chosen option
                letter = tasks.get(task).parse(line, problem).flexible
                option = dict(zip("ABCDEFGH", problem.options, strict=False)).get(letter or "")
                grounded.append(option in results)
            elif answer := _numbers(line):
                grounded.append(answer[-1] in results)
        for s in line_statements:
            grounded.append(all(x in question or x in results for x in s.inputs))
            results.update(s.outputs)
    return grounded


def run(
    predictions: Mapping[str, pd.DataFrame],
    *,
    task: str,
    split: str,
    n: int,
    items: int,
    seed: int,
    labelled_by: Sequence[str],
) -> pd.DataFrame:
    """Score the solutions of several models: return the table of `judge.run` on the same items, with repeat 0 only.

    Scores are real numbers in [1, 5]; `reason` says why there is no score ("nothing to check in the gold solution", "no
    false step", "no step").  Raises JudgeError as `judge.run` does, and if no gold solution of the task can be read.
    """
    judge.check_independent(NAME, labelled_by)
    ids = judge.sample_items(predictions, items, seed)
    problems = judge.load_problems(task, split, n, ids)
    rows = []
    for (item, model), text in judge.texts(predictions, ids).items():
        by_dimension = shares(task, problems[item], text)
        for dimension, share in by_dimension.items():
            score = None if share is None else 1 + 4 * share
            rows.append((item, model, dimension, 0, score, _reason(dimension, by_dimension), ""))
    table = pd.DataFrame(rows, columns=judge.COLUMNS).astype({"score": float})
    if table.score.isna().all():
        raise judge.JudgeError(
            f"the program reads equations and the facts of mini_med, but the gold solutions of {task} state none: use "
            "a language model as judge, or leave the task out"
        )
    return table


def _reason(dimension: str, by_dimension: dict[str, float | None]) -> str:
    """Return why a dimension has no share, or an empty string if it has one."""
    if by_dimension[dimension] is not None:
        return ""
    if by_dimension["step_decomposition"] is None:
        return "nothing to check in the gold solution"
    return "no step" if dimension == "step_truth" or by_dimension["step_truth"] is None else "no false step"
