"""Your own questions: a JSONL file whose path is the task's name.

Each line is an object with `question` and `answer` (text or number) and, optional, `id`, `solution` and `split` ("train", "dev", "test").  Where no
line names a split, four fifths are train and a tenth each dev and test, by a hash of the question.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from pathlib import Path

from .numeric import numbers
from .problem import SPLITS, Parsed, Problem, Task, answer_lines, boxed, bucket


@lru_cache(maxsize=8)
def read(path: str) -> dict[str, list[Problem]]:
    """The problems of a file by split.  ValueError lists every bad row by line number and reason."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # not splitlines: a text may hold U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the task file {path}: {error}") from None
    found: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    bad: list[str] = []
    ids: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            reason = _wrong(row, number, ids)
        except json.JSONDecodeError as error:
            reason = f"is not JSON ({error.msg})"
        if reason:
            bad.append(f"line {number} {reason}")
            continue
        name, answer = str(row.get("id", number)), str(row["answer"]).strip()
        ids.add(name)
        split = row.get("split") or bucket(f"jsonl {row['question']}", (80, 10, 10))
        found[split].append(
            Problem(
                f"{Path(path).stem}/{name}", row["question"].strip(), answer, row.get("solution") or f"Answer: {answer}"
            )
        )
    if bad:
        raise ValueError(f"{path}: {len(bad)} bad rows: {'; '.join(bad[:20])}{'; …' if len(bad) > 20 else ''}")
    return found


def _wrong(row, number: int, ids: set[str]) -> str:
    """Why a row cannot be used; empty where it can."""
    if not isinstance(row, dict):
        return "is no object"
    for key in ("question", "answer"):
        if not str(row.get(key) if row.get(key) is not None else "").strip():
            return f"has no {key}"
    if not isinstance(row["question"], str) or not isinstance(row["answer"], (str, int, float)):
        return "must have text as its question, and text or a number as its answer"
    if row.get("split") not in (None, *SPLITS):
        return f"names the split {row['split']!r}; there are {', '.join(SPLITS)}"
    if not isinstance(row.get("solution") or "", str):
        return "must have text as its solution"
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "holds half a character (a lone surrogate), which no tokenizer can encode"
    name = str(row.get("id", number))
    return f"has the id {name!r} a second time (a row without an id has its line's number)" if name in ids else ""


def problems(path: str, split: str, n: int) -> list[Problem]:
    """The first n problems of a split; ValueError where the file has fewer."""
    found = read(path)[split]
    if len(found) < n:
        raise ValueError(f"{path} has {len(found)} {split} problems, {n} were asked for: lower `sizes.{split}`")
    return found[:n]


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: what stands on the last "Answer:" line.  Flexible: else the last \boxed{}; else, for a number, the last number."""
    said = answer_lines(text)
    if said:
        return Parsed(said[-1], said[-1])
    in_box, anywhere = boxed(text), numbers(text) if numbers(problem.answer) else []
    return Parsed(None, in_box[-1] if in_box else anywhere[-1] if anywhere else None)


def equal(gold: str, answer: str) -> bool:
    """The same number (a unit may follow), or the same words whatever their case, spaces and final full stop."""
    x, y = numbers(gold), numbers(answer)
    if len(x) == 1 and len(y) == 1 and gold.replace(",", "").strip() == x[0]:
        return float(x[0]) == float(y[0])
    return " ".join(gold.casefold().split()).rstrip(".") == " ".join(answer.casefold().split()).rstrip(".")


def task(path: str) -> Task:
    """The task of a file; it is read, and its bad rows are refused, at once."""
    found = read(path)
    return Task(
        path,
        partial(problems, path),
        parse,
        equal,
        'Solve this step by step. End with a line of the form "Answer: …".',
        {split: len(rows) for split, rows in found.items()},
    )
