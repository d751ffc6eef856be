"""Your own questions: a JSONL file, whose path is the name of the task.

Each line is an object with `question` and `answer` (text or number) and optionally `id`, `solution` and `split`
("train", "dev" or "test").  A line without a split gets one by a hash of its question: four fifths are train, a tenth
each dev and test.
"""

from __future__ import annotations

import json
from functools import lru_cache, partial
from pathlib import Path

from . import answers
from .hub import first
from .problem import SPLITS, Problem, Task, bucket


@lru_cache(maxsize=8)
def read(path: str) -> dict[str, list[Problem]]:
    """The problems of a file by split.  The bad rows are listed in a ValueError, by line number and reason."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # not splitlines: a text may contain U+2028
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the task file {path}: {error}") from None
    problems: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    bad: list[str] = []
    ids: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            reason = _defect(row, number, ids)
        except json.JSONDecodeError as error:
            reason = f"is not JSON ({error.msg})"
        if reason:
            bad.append(f"line {number} {reason}")
            continue
        name, answer = str(row.get("id", number)), str(row["answer"]).strip()
        ids.add(name)
        split = row.get("split") or bucket(f"jsonl {row['question']}", (80, 10, 10))
        solution = row.get("solution") or f"Answer: {answer}"
        problems[split].append(Problem(f"{Path(path).stem}/{name}", row["question"].strip(), answer, solution))
    if bad:
        raise ValueError(f"{path}: {len(bad)} bad rows: {'; '.join(bad[:20])}{'; …' if len(bad) > 20 else ''}")
    return problems


def _defect(row, number: int, ids: set[str]) -> str:
    """Why a row cannot be used; empty if it can."""
    if not isinstance(row, dict):
        return "is not an object"
    for key in ("question", "answer"):
        if not str(row.get(key) if row.get(key) is not None else "").strip():
            return f"has no {key}"
    if not isinstance(row["question"], str) or not isinstance(row["answer"], (str, int, float)):
        return "must have a text as its question, and a text or a number as its answer"
    if row.get("split") not in (None, *SPLITS):
        return f"has the unknown split {row['split']!r} instead of {', '.join(SPLITS)}"
    if not isinstance(row.get("solution") or "", str):
        return "must have a text as its solution"
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "contains half a character (a lone surrogate), which no tokenizer can encode"
    name = str(row.get("id", number))
    return f"has the id {name!r} a second time (a row without an id has its line's number)" if name in ids else ""


def problems(path: str, split: str, n: int) -> list[Problem]:
    """The first n problems of a split; ValueError if the file has fewer."""
    return first(read(path)[split], n, path, split)


parse, equal = answers.parse_like_gold, answers.equal


def task(path: str) -> Task:
    """The task of a file, which is read immediately; bad rows raise ValueError."""
    sizes = {split: len(rows) for split, rows in read(path).items()}
    instruction = 'Solve this step by step. End with a line of the form "Answer: …".'
    return Task(path, partial(problems, path), parse, equal, instruction, sizes, measure="accuracy",
                licence="the file's own", source=path, compared=answers.COUNTS)  # fmt: skip
