"""The mini tier's judge: a program that reads each step of a solution and executes its arithmetic (DECISIONS 28).

It fills the same table as a language model's judge (judge.py): the paper's four dimensions, each as a share of something that can be counted,
put on the scale from 1 to 5 as 1 + 4 × share, and a fifth of our own.  A number here says what its line says and
no more:

- step_decomposition: different steps that do one operation (state one fact), of as many as the gold solution does, at most 1.
  It cannot see whether a step is of any use; a right way that is shorter than the gold solution's scores below 1.
- intermediate_verification: steps that the solution checks itself: the next line says so in words, or a later step turns the equation
  round (8-5=3 for 3+5=8) and nothing is computed from that.  It cannot see whether the words are meant.
- error_localization: false steps that are repaired: a later step states the same left side truly (the same fact rightly), or the next line
  says that it was wrong; no score where no step is false.  It cannot see mistakes in prose, nor a repair by another way.
- reasoning_coherence: steps, the answer among them, that take all their numbers (subjects) from the question or from results before them.
  It cannot see whether the right number was taken; numbers in words and what everybody knows (60 minutes) count as from nowhere.
- step_truth (ours): steps that are true, of those that can be checked; no score where there are none.  It cannot see whether they help.

A step is a line; what counts as a step here states an equation (in mini_med: or a fact).  Problems whose gold solution states nothing of the
kind are not scored.  The program is deterministic, so that there is one repeat.  It shares its arithmetic with the labeller of the same
name (extract/steps.py), and so may not judge students of a reward model that learnt from that one's labels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from agentark import tasks
from agentark.extract import steps as known_steps
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
    """What a step states: `left` as it stands, without spaces (or subject and relation), the numbers (subject) that it takes, the ones that it gives,
    how many operations it does, and whether it is true."""

    left: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    operations: int
    true: bool


def _plain(number: str) -> str:
    """Equal numbers as equal text: 12.0 and 12."""
    return str(Fraction(number))


def statements(task: str, step: str) -> list[Statement]:
    """The equations of a step, and in mini_med its facts."""
    found = [
        Statement(
            re.sub(r"\s", "", left),
            _numbers(left),
            _numbers(right),
            len(_OPERATION.findall(left)),
            known_steps.holds(left, right),
        )
        for left, right in known_steps.equations(step)
    ]
    if task == "mini_med":
        found += [
            Statement(
                f"{subject} {relation}",
                (subject,),
                (value,),
                1,
                mini_med.FACTS.relation[relation].get(subject) == value,
            )
            for subject, relation, value in known_steps.facts(step)
        ]
    return found


def _numbers(expression: str) -> tuple[str, ...]:
    """The numbers of an expression, signs taken for operators."""
    return tuple(_plain(number.lstrip("-")) for number in numbers(expression))


def shares(task: str, problem: Problem, text: str) -> dict[str, float | None]:
    """The five shares of a solution, each in [0, 1], or None where the dimension does not apply to it.

    All are None where the gold solution states nothing that can be read.
    """
    gold = sum(s.operations for line in known_steps.split(problem.solution) for s in statements(task, line))
    if not gold:
        return dict.fromkeys(DIMENSIONS)
    lines = known_steps.split(text)
    said = [[] if known_steps.is_answer(line) else statements(task, line) for line in lines]
    at = [n for n, mine in enumerate(said) if mine]
    single = {said[n][0].left for n in at if len(said[n]) == 1 and said[n][0].operations == 1}
    false = [n for n in at if not all(s.true for s in said[n])]
    return {
        "step_decomposition": min(1.0, len(single) / gold),
        "intermediate_verification": _mean([_is_checked(n, lines, said) for n in at], 0.0),
        "error_localization": _mean([_is_repaired(n, lines, said) for n in false], None),
        "reasoning_coherence": _mean(_grounded(task, problem, lines, said), 0.0),
        "step_truth": _mean([n not in false for n in at], None),
    }


def _mean(values: Sequence[bool], empty: float | None) -> float | None:
    return sum(values) / len(values) if values else empty


def _is_checked(n: int, lines: list[str], said: list[list[Statement]]) -> bool:
    """Whether the next line says that step n is checked, or a later step turns its equation round and nothing goes on from there."""
    if n + 1 < len(lines) and _CHECKS.search(lines[n + 1]):
        return True
    for m in range(n + 1, len(said)):
        used = {x for later in said[m + 1 :] for s in later for x in s.takes}
        used |= {x for line in lines[m + 1 :] if known_steps.is_answer(line) for x in _numbers(line)}
        if any(_turns(a, b) and not used & set(b.gives) for a in said[n] for b in said[m]):
            return True
    return False


def _turns(a: Statement, b: Statement) -> bool:
    """Whether b computes with the numbers of a the other way round: 8-5=3, or 5+3=8, for 3+5=8."""
    return (
        a.operations == b.operations == 1
        and a.left != b.left
        and sorted((*a.takes, *a.gives)) == sorted((*b.takes, *b.gives))
    )


def _is_repaired(n: int, lines: list[str], said: list[list[Statement]]) -> bool:
    """Whether each false statement of step n is stated truly later, or the next line says that something was wrong."""
    if n + 1 < len(lines) and _RETRACTS.search(lines[n + 1]):
        return True
    truths = {s.left for later in said[n + 1 :] for s in later if s.true}
    return all(s.left in truths for s in said[n] if not s.true)


def _grounded(task: str, problem: Problem, lines: list[str], said: list[list[Statement]]) -> list[bool]:
    """For each statement, and for the answer line where it names a number or an option: whether all that it takes was there before."""
    known = {*map(_plain, (x.lstrip("-") for x in numbers(problem.question))), *re.findall(r"\w+", problem.question)}
    given: set[str] = set()
    found = []
    for line, mine in zip(lines, said, strict=True):
        if known_steps.is_answer(line):
            if problem.options:  # the text behind the letter was reached in a step
                letter = tasks.get(task).parse(line, problem).flexible
                option = dict(zip("ABCDEFGH", problem.options)).get(letter)
                found.append(option in given)
            elif stated := _numbers(line):
                found.append(stated[-1] in given)
        for s in mine:
            found.append(all(x in known or x in given for x in s.takes))
            given.update(s.gives)
    return found


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
    """The program's scores of several models' solutions: the table of `judge.run`, on the items that it would draw, with repeat 0 alone.

    Scores are real numbers in [1, 5]; `why_none` says where there is none ("nothing to check in the gold solution", "no false step", "no step").
    Raises JudgeError where no problem can be read, or as `judge.run` does.
    """
    judge.check_independent(NAME, labelled_by)
    ids = judge.sample(predictions, items, seed)
    known = judge.problems_of(task, split, n, ids)
    rows = []
    for (item, model), text in judge.texts(predictions, ids).items():
        found = shares(task, known[item], text)
        for dimension, share in found.items():
            why = "" if share is not None else _why(dimension, found)
            rows.append(
                {
                    "item": item,
                    "model": model,
                    "dimension": dimension,
                    "repeat": 0,
                    "score": None if share is None else 1 + 4 * share,
                    "why_none": why,
                    "reply": "",
                }
            )
    table = pd.DataFrame(rows, columns=judge.COLUMNS).astype({"score": float})
    if table.score.isna().all():
        raise judge.JudgeError(
            f"the program reads equations and mini_med's facts, and the gold solutions of {task} state none: let a language "
            "model judge it, or leave it out"
        )
    return table


def _why(dimension: str, found: dict[str, float | None]) -> str:
    if found["step_decomposition"] is None:
        return "nothing to check in the gold solution"
    return "no step" if dimension == "step_truth" or found["step_truth"] is None else "no false step"
