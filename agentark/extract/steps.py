"""The steps of a trace and what is known of each: the labels from which a process reward model learns, and by which it is judged.

A step is a line (DECISIONS 16).  Three labellers give one label a step:

| labeller     | label of step t                                                   | what it cannot see                        |
|--------------|-------------------------------------------------------------------|-------------------------------------------|
| `outcome`    | whether the trace's final answer is right                         | a wrong trace's right steps               |
| `arithmetic` | whether what the step states is true (executed, or looked up)     | a true statement that is no use here      |
| `rollout`    | share of completions from step t that end right (Math-Shepherd)   | a mistake that the network repairs        |

`arithmetic` is exact and needs no network; it gives None where a step states nothing that can be checked, and `count` says how often.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

import pandas as pd

from agentark import tasks
from agentark.mas import prompts
from agentark.tasks import Problem, Task, mini_med

Splitter = Callable[[str], list[str]]
Generate = Callable[[list[list[dict[str, str]]], int], list[list[str]]]  # (chats, samples a chat) -> the samples' texts


def split(text: str) -> list[str]:
    """A step a line, without surrounding spaces; blank lines are none.  The answer line is the last step of a finished trace."""
    return [line.strip() for line in text.split("\n") if line.strip()]


_ANSWER = re.compile(r"^(?:final\s+)?answer\b|\\boxed\{", re.IGNORECASE)


def is_answer(step: str) -> bool:
    r"""Whether a step gives the answer: "Answer: …", or a \boxed{}."""
    return bool(_ANSWER.search(step.strip()))


def outcome(trace_correct: bool, steps: Sequence[str]) -> list[bool]:
    """Every step is as right as the trace's answer."""
    return [bool(trace_correct)] * len(steps)


# Equations

_FORMULA = r"[\d.,+\-*/×÷()$\s]"
_LEFT, _RIGHT = re.compile(rf"{_FORMULA}*$"), re.compile(rf"^{_FORMULA}*")
_NUMBER = re.compile(r"^-?\d+(?:\.\d+)?")
_START = re.compile(r"(?<![\d.])[\d(]|(?<![\d).])-(?=\d)")


def _value(formula: str) -> Fraction | None:
    """The exact value of an arithmetic expression; None where it is none.  ZeroDivisionError where it divides by zero."""
    try:
        return _walk(ast.parse(formula.strip(), mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _walk(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_walk(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in (ast.Add, ast.Sub, ast.Mult, ast.Div):
        x, y = _walk(node.left), _walk(node.right)
        return {ast.Add: lambda: x + y, ast.Sub: lambda: x - y, ast.Mult: lambda: x * y, ast.Div: lambda: x / y}[
            type(node.op)
        ]()
    raise ValueError("no plain arithmetic")


def _plain(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d{3})", "", text).replace("$", " ").replace("×", "*").replace("÷", "/")


def _before(text: str) -> str | None:
    """The longest arithmetic expression that ends where `text` does; None where that would cut a word or an unknown in two."""
    found = _LEFT.search(text)
    formula, head = _plain(found[0]), text[: found.start()]
    for start in _START.finditer(formula):
        piece, rest = formula[start.start() :], formula[: start.start()].strip()
        # an operator before it belongs to something that was not read (x+3); so does a letter that touches it (x1)
        if rest.endswith(tuple("+-*/(")) or (
            head and not formula[: start.start()] and (head[-1].isalnum() or head[-1] in "_%")
        ):
            return None
        try:
            if _value(piece) is not None:
                return piece
        except ZeroDivisionError:
            return piece
    return None


def _after(text: str) -> str | None:
    """The expression that `text` begins with, else the number that it begins with."""
    formula = _plain(_RIGHT.search(text)[0]).strip().rstrip(".,")
    try:
        if _value(formula) is not None:
            return formula
    except ZeroDivisionError:
        return formula
    found = _NUMBER.search(formula)
    return found[0] if found and _value(found[0]) is not None else None


def equations(step: str) -> list[tuple[str, str]]:
    """The equations of a step, as (left, right) expressions with an operation on at least one side; a=b=c gives two."""
    parts = re.split(r"(?<![<>!=])=(?!=)", step)
    sides = [(_before(left), _after(right)) for left, right in zip(parts, parts[1:])]
    return [(x, y) for x, y in sides if x and y and any(re.search(r"[\d)]\s*[-+*/]", side) for side in (x, y))]


def holds(left: str, right: str) -> bool:
    """Whether an equation is true: exactly, or, where its right side is a decimal number, as that number was rounded."""
    try:
        x, y = _value(left), _value(right)
    except ZeroDivisionError:
        return False
    decimals = re.fullmatch(r"-?\d+\.(\d+)", right.strip())
    return abs(x - y) <= (Fraction(1, 2 * 10 ** len(decimals[1])) if decimals else 0)


def facts(step: str) -> list[tuple[str, str, str]]:
    """The facts of mini_med's world that a step states, as (subject, relation, value); a question ("… what?") states none."""
    found = []
    for sentence in re.split(r"\.\s+|\.$", step):
        for relation in mini_med.FACTS.relation:
            stated = re.search(rf"(\S+) {relation} (.+)$", sentence)
            if stated and not stated[2].strip().endswith("?"):
                found.append((stated[1], relation, stated[2].strip()))
    return found


def arithmetic(task_name: str, problem: Problem, steps: Sequence[str]) -> list[bool | None]:
    """Whether each step is true: its equations executed, in mini_med its facts looked up, the answer line judged by the task's verifier.

    Returns a label a step, None where nothing could be checked.
    """
    task = tasks.get(task_name)
    return [task.verify(step, problem)[2] if is_answer(step) else _is_true(task_name, step) for step in steps]


def _is_true(task_name: str, step: str) -> bool | None:
    checked = [holds(left, right) for left, right in equations(step)]
    if task_name == "mini_med":
        checked += [mini_med.FACTS.relation[relation].get(subject) == value for subject, relation, value in facts(step)]
    return all(checked) if checked else None


def rollout(
    generate: Generate, task: Task, problems: Sequence[Problem], traces: Sequence[Sequence[str]], samples: int
) -> list[list[float]]:
    """Math-Shepherd's label: the share of `samples` completions, from the steps up to and including this one, that end right.

    One trace (a list of steps) a problem; problems may repeat.  `generate(chats, samples)` continues chats whose last turn is an
    assistant's half-written reply; equal prefixes are continued once.  A prefix that ends with the answer is not continued: it is
    right or wrong, 1 or 0.  Returns a label in [0, 1] for each step of each trace.
    """
    prefixes = [
        [(problem.id, "\n".join(steps[: t + 1]), is_answer(steps[t])) for t in range(len(steps))]
        for problem, steps in zip(problems, traces, strict=True)
    ]
    known = {problem.id: problem for problem in problems}
    label: dict[tuple, float] = {}
    todo = []
    for prefix in dict.fromkeys(prefix for trace in prefixes for prefix in trace):
        name, text, finished = prefix
        if finished:
            label[prefix] = float(task.verify(text, known[name])[2])
        else:
            todo.append(prefix)
    chats = [
        [*prompts.ask(task.prompt(known[name])), {"role": "assistant", "content": text + "\n"}]
        for name, text, _ in todo
    ]
    for (name, text, finished), made in zip(todo, generate(chats, samples) if chats else [], strict=True):
        if len(made) != samples:
            raise ValueError(f"{samples} completions a prefix were asked for, {len(made)} came for {name}")
        label[name, text, finished] = (
            sum(task.verify(f"{text}\n{completion}", known[name])[2] for completion in made) / samples
        )
    return [[label[prefix] for prefix in trace] for trace in prefixes]


def table(
    log: pd.DataFrame,
    task: str,
    split_name: str,
    wording: str,
    generate: Generate | None = None,
    samples: int = 0,
    splitter: Splitter = split,
    without: Collection[str] = (),
) -> pd.DataFrame:
    """A row a step of each agent's trace in a verified log (the aggregator's left out), `without` some of its problems.

    The log is a split's first problems, none missing: by their number they are read again.

    The line that a reply addresses to its peers, if the debate's `wording` has one, is no part of a trace (as in extraction).
    Columns: problem, agent, round, step (from 0), text, trace (the whole trace), trace_correct, outcome (bool), arithmetic (boolean,
    NA where nothing could be checked) and, where `generate` is given, rollout (share of `samples`, float).  A trace without steps has
    no row; `count` says how many there were.
    """
    known = {p.id: p for p in tasks.problems(task, split_name, log.problem.nunique())}
    rows = log[(log.agent > 0) & ~log.problem.isin(without)]
    traces = [prompts.without_critique(text, prompts.WORDINGS[wording]).strip() for text in rows.text]
    steps = [splitter(trace) for trace in traces]
    shares = (
        rollout(generate, tasks.get(task), [known[p] for p in rows.problem], steps, samples)
        if generate
        else [None] * len(steps)
    )
    found = []
    for row, trace, lines, share in zip(rows.itertuples(), traces, steps, shares):
        about = {"problem": row.problem, "agent": row.agent, "round": row.round}
        checked, right = arithmetic(task, known[row.problem], lines), outcome(row.correct, lines)
        for n, line in enumerate(lines):
            found.append(
                {
                    **about,
                    "step": n,
                    "text": line,
                    "trace": trace,
                    "trace_correct": bool(row.correct),
                    "outcome": right[n],
                    "arithmetic": checked[n],
                    **({"rollout": share[n]} if share is not None else {}),
                }
            )
    columns = ["problem", "agent", "round", "step", "text", "trace", "trace_correct", "outcome", "arithmetic"]
    made = pd.DataFrame(found, columns=[*columns, "rollout"] if generate else columns)
    return made.astype({"arithmetic": "boolean", "outcome": bool, "trace_correct": bool})


def count(log: pd.DataFrame, steps: pd.DataFrame) -> dict[str, int]:
    """What the table of steps holds, and what could not be labelled.  Inputs: the log it was made from, and the table."""
    wrong = steps[~steps.trace_correct]
    return {
        "traces": int((log.agent > 0).sum()),
        "traces without steps": int((log.agent > 0).sum() - steps.groupby(["problem", "agent", "round"]).ngroups),
        "steps": len(steps),
        "steps that nothing could be checked of (arithmetic)": int(steps.arithmetic.isna().sum()),
        "steps of wrong traces": len(wrong),
        "of these right (arithmetic)": int(wrong.arithmetic.fillna(False).sum()),
    }
