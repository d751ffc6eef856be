"""Your own questions: a file (JSON Lines, CSV or Parquet), whose path is the name of the task.

Each row is an object with `question` and `answer` (text or number) and optionally `id`, `solution`, `options` and
`split` ("train", "dev" or "test").  A row without a split gets one by a hash of its question: four fifths are train, a
tenth each dev and test.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from . import answers, choices, own_rows, question_files, row_files
from .hub import first
from .problem import SPLITS, Parsed, Problem, Task

INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: …".'


def read(path: str) -> dict[str, list[Problem]]:
    """The problems of a file by split.

    Raises ValueError for bad rows, which it lists by line, id and reason, and for a file that cannot be read.
    """
    return _read(path, *_version(path))[0]


def _version(path: str) -> tuple[int, int]:
    """What changes when a file is modified."""
    try:
        stat = Path(path).stat()
    except (OSError, ValueError):
        row_files.read(path)  # raises the sentence about it
        raise
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=8)
def _read(path: str, modified: int, size: int) -> tuple[dict[str, list[Problem]], str]:
    """The problems of a version of a file by split, and its sha256."""
    found = question_files.read(path, parse, equal)
    bad = list(found.bad)
    for k, other in own_rows.conflicts([row.problem for row in found.good], equal).items():
        reason = f"has the same question as {found.good[other].place}, but another answer"
        bad.append(question_files.Bad(found.good[k].place, "the same question with another answer", reason))
    if bad:
        raise question_files.refusal(path, bad)
    by_split: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    for row in found.good:
        by_split[row.split].append(replace(row.problem, id=f"{Path(path).stem}/{row.problem.id}"))
    return by_split, found.sha256


def problems(path: str, sha256: str, split: str, n: int) -> list[Problem]:
    """The first n problems of a split of the file of this content; ValueError if it has fewer."""
    return first(read(path)[split], n, path, split)


def parse(text: str, problem: Problem) -> Parsed:
    """The answer that a reply gives: the letter of an option, or see `answers.parse_like_gold`."""
    return choices.parse(text, problem) if problem.options else answers.parse_like_gold(text, problem)


equal = answers.equal


def task(path: str) -> Task:
    """The task of a file, which is read immediately; bad rows raise ValueError."""
    by_split, sha256 = _read(path, *_version(path))
    return of(path, sha256, {split: len(rows) for split, rows in by_split.items()})


def of(path: str, sha256: str = "", sizes: dict[str, int] | None = None) -> Task:
    """The task of a file, which is not read before its problems are asked for."""
    # the sha256 is an argument so that the stages of a study see that the file was changed (tasks.sources)
    return Task(path, partial(problems, path, sha256), parse, equal, INSTRUCTION, sizes or {}, measure="accuracy",
                licence="the file's own", source=path, compared=answers.COUNTS)  # fmt: skip
