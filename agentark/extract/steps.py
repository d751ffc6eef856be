"""Splits traces into steps and labels each step, to train and to evaluate a process reward model.

A step is a line (DECISIONS 16).  Three labellers give one label per step:

| labeller     | label of step t                                                 | blind spot                          |
|--------------|-----------------------------------------------------------------|-------------------------------------|
| `outcome`    | whether the final answer of the trace is right                  | right steps of a wrong trace        |
| `arithmetic` | whether the step states something true (executed, or looked up) | a true statement that does not help |
| `rollout`    | share of completions from step t that end right (Math-Shepherd) | a mistake that the network repairs  |

`arithmetic` gives None if a step states nothing that can be checked; `count` reports how often.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from itertools import pairwise

import pandas as pd

from agentark import tasks
from agentark.mas import prompts
from agentark.tasks import Problem, Task, mini_med

Splitter = Callable[[str], list[str]]
Generate = Callable[[list[list[dict[str, str]]], int], list[list[str]]]  # (chats, samples per chat) -> texts


def split(text: str) -> list[str]:
    """Return the lines of a trace, stripped and without blank ones; the last line of a complete trace is the answer."""
    return [line.strip() for line in text.split("\n") if line.strip()]


_ANSWER = re.compile(r"^(?:final\s+)?answer\b|\\boxed\{", re.IGNORECASE)


def is_answer(step: str) -> bool:
    r"""Return whether a step gives the answer: "Answer: …" or a \boxed{}."""
    return bool(_ANSWER.search(step.strip()))


def outcome(trace_correct: bool, steps: Sequence[str]) -> list[bool]:
    """Label every step with the correctness of the whole trace."""
    return [bool(trace_correct)] * len(steps)


# Equations

_FORMULA = r"[\d.,+\-*/×÷()$\s]"
_LEFT, _RIGHT = re.compile(rf"{_FORMULA}*$"), re.compile(rf"^{_FORMULA}*")
_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?")
_START = re.compile(r"(?<![\d.])[\d(]|(?<![\d).])-(?=\d)")

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def _value(formula: str) -> Fraction | None:
    """Return the exact value of an arithmetic expression, or None for other text.  Raises ZeroDivisionError."""
    try:
        return _walk(ast.parse(formula.strip(), mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _walk(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_walk(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_walk(node.left), _walk(node.right))
    raise ValueError("not plain arithmetic")


def _plain(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3})", "", text).replace("$", " ").replace("×", "*").replace("÷", "/")


def _before(text: str) -> str | None:
    """Return the longest arithmetic expression at the end of `text`, or None if it would split a word or an unknown."""
    match = _LEFT.search(text)
    assert match, "an empty formula matches"
    formula, head = _plain(match[0]), text[: match.start()]
    for start in _START.finditer(formula):
        piece, rest = formula[start.start() :], formula[: start.start()].strip()
        # an operator before the expression belongs to an unread term (x+3), and so does an adjacent letter (x1)
        is_adjacent = head and not formula[: start.start()] and (head[-1].isalnum() or head[-1] in "_%")
        if rest.endswith(tuple("+-*/(")) or is_adjacent:
            return None
        try:
            if _value(piece) is not None:
                return piece
        except ZeroDivisionError:
            return piece
    return None


def _after(text: str) -> str | None:
    """Return the expression at the start of `text`, or else the number at its start."""
    match = _RIGHT.search(text)
    formula = _plain(match[0] if match else "").strip().rstrip(".,")
    try:
        if _value(formula) is not None:
            return formula
    except ZeroDivisionError:
        return formula
    number = _NUMBER.search(formula)
    return number[0] if number and _value(number[0]) is not None else None


def equations(step: str) -> list[tuple[str, str]]:
    """Return the equations of a step as (left, right), with an operation on at least one side; a=b=c gives two."""
    parts = re.split(r"(?<![<>!=])=(?!=)", step)
    sides = [(_before(left), _after(right)) for left, right in pairwise(parts)]
    return [(x, y) for x, y in sides if x and y and any(re.search(r"[\d)]\s*[-+*/]", side) for side in (x, y))]


def holds(left: str, right: str) -> bool:
    """Return whether an equation is true: exactly or, if its right side is a decimal number, up to its rounding."""
    try:
        x, y = _value(left), _value(right)
    except ZeroDivisionError:
        return False
    if x is None or y is None:
        return False
    decimals = re.fullmatch(r"-?\d+\.(\d+)", right.strip())
    return abs(x - y) <= (Fraction(1, 2 * 10 ** len(decimals[1])) if decimals else 0)


def facts(step: str) -> list[tuple[str, str, str]]:
    """Return the mini_med facts of a step as (subject, relation, value); a question ("… what?") states none."""
    stated = []
    for sentence in re.split(r"\.\s+|\.$", step):
        for relation in mini_med.FACTS.relation:
            match = re.search(rf"(\S+) {relation} (.+)$", sentence)
            if match and not match[2].strip().endswith("?"):
                stated.append((match[1], relation, match[2].strip()))
    return stated


def arithmetic(task_name: str, problem: Problem, steps: Sequence[str]) -> list[bool | None]:
    """Label each step as true, false or None (nothing to check): by its equations, facts of mini_med, or answer."""
    task = tasks.get(task_name)
    return [task.verify(step, problem)[2] if is_answer(step) else _is_true(task_name, step) for step in steps]


def _is_true(task_name: str, step: str) -> bool | None:
    truths = [holds(left, right) for left, right in equations(step)]
    if task_name == "mini_med":
        truths += [mini_med.FACTS.relation[relation].get(subject) == value for subject, relation, value in facts(step)]
    return all(truths) if truths else None


def rollout(
    generate: Generate, task: Task, problems: Sequence[Problem], traces: Sequence[Sequence[str]], samples: int
) -> list[list[float]]:
    """Label each step with the share of completions of the trace up to this step that end right (Math-Shepherd).

    `traces` are lists of steps, one per entry of `problems`, which may repeat.  `generate(chats, samples)` continues
    chats whose last turn is the beginning of a reply; equal prefixes are continued once, and one that ends with the
    answer is labelled 1 or 0 instead.  Returns a label in [0, 1] for each step of each trace.  Raises ValueError if
    `generate` returns another number of completions.
    """
    prefixes = []
    for problem, steps in zip(problems, traces, strict=True):
        prefixes.append([(problem.id, "\n".join(steps[: t + 1]), is_answer(steps[t])) for t in range(len(steps))])
    by_id = {problem.id: problem for problem in problems}
    labels: dict[tuple, float] = {}
    unfinished = []
    for prefix in dict.fromkeys(prefix for trace in prefixes for prefix in trace):
        name, text, is_finished = prefix
        if is_finished:
            labels[prefix] = float(task.verify(text, by_id[name])[2])
        else:
            unfinished.append(prefix)
    chats = []
    for name, text, _ in unfinished:
        question = prompts.user_turn(task.prompt(by_id[name]), by_id[name].image)
        chats.append([*question, {"role": "assistant", "content": text + "\n"}])
    for prefix, completions in zip(unfinished, generate(chats, samples) if chats else [], strict=True):
        name, text, _ = prefix
        if len(completions) != samples:
            raise ValueError(f"expected {samples} completions per prefix, got {len(completions)} for {name}")
        labels[prefix] = sum(task.verify(f"{text}\n{c}", by_id[name])[2] for c in completions) / samples
    return [[labels[prefix] for prefix in trace] for trace in prefixes]


def table(
    log: pd.DataFrame,
    task: str,
    split_name: str,
    wording: str,
    generate: Generate | None = None,
    samples: int = 0,
    splitter: Splitter = split,
    excluded: Collection[str] = (),
) -> pd.DataFrame:
    """Return one row per step of each agent's trace in a graded log, without the `excluded` problems.

    The log must contain all of the first problems of a split.  The line of a reply that addresses its peers, if the
    debate's `wording` has one, is not part of a trace (as in extraction).

    Columns: problem, agent, round, step (from 0), text, trace (the whole trace), trace_correct, outcome (bool),
    arithmetic (boolean, NA if there is nothing to check) and, with `generate`, rollout (float, a share of `samples`).
    A trace without steps has no row; `count` reports the number of such traces.
    """
    problems = {p.id: p for p in tasks.problems(task, split_name, log.problem.nunique())}
    rows = log[(log.agent > 0) & ~log.problem.isin(excluded)]
    traces = [prompts.without_critique(text, prompts.WORDINGS[wording]).strip() for text in rows.text]
    steps = [splitter(trace) for trace in traces]
    columns = ["problem", "agent", "round", "step", "text", "trace", "trace_correct", "outcome", "arithmetic"]
    shares: list = [None] * len(steps)
    if generate:
        shares = rollout(generate, tasks.get(task), [problems[p] for p in rows.problem], steps, samples)
        columns.append("rollout")
    labelled = []
    for row, trace, lines, share in zip(rows.itertuples(), traces, steps, shares, strict=True):
        truths, outcomes = arithmetic(task, problems[row.problem], lines), outcome(row.correct, lines)
        for n, line in enumerate(lines):
            about = (row.problem, row.agent, row.round, n, line, trace, bool(row.correct))
            labelled.append((*about, outcomes[n], truths[n], *([share[n]] if share is not None else [])))
    frame = pd.DataFrame(labelled, columns=columns)
    return frame.astype({"arithmetic": "boolean", "outcome": bool, "trace_correct": bool})


def count(log: pd.DataFrame, steps: pd.DataFrame) -> dict[str, int]:
    """Count the traces of a log, the steps of its table of steps, and those that could not be labelled."""
    wrong, total = steps[~steps.trace_correct], int((log.agent > 0).sum())
    return {
        "traces": total,
        "traces without steps": int(total - steps.groupby(["problem", "agent", "round"]).ngroups),
        "steps": len(steps),
        "steps that nothing could be checked of (arithmetic)": int(steps.arithmetic.isna().sum()),
        "steps of wrong traces": len(wrong),
        "of these right (arithmetic)": int(wrong.arithmetic.fillna(False).sum()),
    }
