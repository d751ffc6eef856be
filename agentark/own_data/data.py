"""Prepares your own questions as a task: checks them, splits them, and writes them to one file.

Its name contains a hash of its content, so that changed questions never reuse the results of other questions.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from math import ceil, log2
from pathlib import Path

from agentark import params, store, tasks
from agentark.extract.decontaminate import decontaminate
from agentark.tasks import jsonl
from agentark.tasks.problem import SPLITS

WORDS = 8  # the number of shared consecutive words that counts as overlap (extract/decontaminate.py)
NAMED_TEST = 'rows of --train with the split "test", although --test is given'
NOT_TEST = 'rows of --test with the split "train" or "dev"'
REPEATED, HELD_OUT, LIMITED = "repeated questions", "training questions that are also held out", "rows beyond --limit"


@dataclass(frozen=True)
class Data:
    """The questions of a run.

    task: the path of the checked copy, which is the name of the task; sizes: the number of problems per split; files:
    the sha256 of each input file by name; rows: the number of rows in these files; dropped: the number of unused rows
    by reason; overlap: the number of training questions that share WORDS consecutive words with a test question
    (extract.decontaminate_words decides whether they are used; one that equals a test question never is).
    """

    task: str
    sizes: dict[str, int]
    files: dict[str, str]
    rows: int
    dropped: dict[str, int]
    overlap: int


def prepare(train: Path, test: Path | None, out: Path, limit: int, level: float) -> Data:
    """Read the files, sort their rows into splits and write the copy under `out`.

    A row may name its split; the others are split by a hash of the question into 80 % train, 10 % dev and 10 % test.
    With a `test` file, its rows are the test split and all others are train or dev.  `limit` is the maximum number of
    rows per split (0 for all).  Raises ParamsError for bad rows, without training rows, and if a paired test at `level`
    could not detect any difference; StoreError if `out` is not writable.
    """
    dropped = dict.fromkeys((NAMED_TEST, NOT_TEST, REPEATED, HELD_OUT, LIMITED), 0)
    by_split: dict[str, list[dict]] = {split: [] for split in SPLITS}
    total = 0
    for path, is_test in ((train, False), (test, True)) if test else ((train, False),):
        for row, is_named in _rows(path):
            total += 1
            if is_test:
                reason = NOT_TEST if is_named and row["split"] != "test" else None
                row |= {"id": f"test/{row['id']}", "split": "test"}
            else:
                reason = NAMED_TEST if test and is_named and row["split"] == "test" else None
                row["split"] = "train" if test and row["split"] == "test" else row["split"]
            if reason:
                dropped[reason] += 1
            else:
                by_split[row["split"]].append(row)
    kept = _deduplicate(by_split, dropped)
    if limit:
        dropped[LIMITED] = sum(max(0, len(rows) - limit) for rows in kept.values())
        kept = {split: rows[:limit] for split, rows in kept.items()}
    sizes = {split: len(rows) for split, rows in kept.items()}
    _check(sizes, train, test, level)
    text = "".join(json.dumps(row) + "\n" for rows in kept.values() for row in rows)
    copy = out / "data" / f"{train.stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    if not copy.exists():
        write(copy, text)
    problems = {split: tasks.problems(str(copy), split, sizes[split]) for split in ("train", "test")}
    overlap = decontaminate(problems["train"], {"test": problems["test"]}, WORDS).counts["test"]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (train, test) if path}
    return Data(str(copy), sizes, digests, total, dropped, overlap)


def _rows(path: Path) -> list[tuple[dict, bool]]:
    """Return the rows of a file in order, each with its split, and whether the file names the split."""
    try:
        splits = {p.id: (split, p) for split, problems in jsonl.read(str(path)).items() for p in problems}
    except ValueError as error:
        raise params.ParamsError(str(error)) from None
    rows: list[tuple[dict, bool]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            name = str(row.get("id", number))
            split, p = splits[f"{path.stem}/{name}"]
            copy = {"id": name, "question": p.question, "answer": p.answer, "solution": str(p.solution), "split": split}
            rows.append((copy, bool(row.get("split"))))
    return rows


def _deduplicate(by_split: dict[str, list[dict]], dropped: dict[str, int]) -> dict[str, list[dict]]:
    """Keep each question once, ignoring case and spaces, so that no held-out question is also a training question."""
    seen: dict[str, str] = {}
    kept: dict[str, list[dict]] = {split: [] for split in SPLITS}
    for split in ("test", "dev", "train"):
        for row in by_split[split]:
            question = " ".join(row["question"].casefold().split())
            if question in seen:
                dropped[REPEATED if seen[question] == split else HELD_OUT] += 1
            else:
                seen[question] = split
                kept[split].append(row)
    return kept


def _check(sizes: dict[str, int], train: Path, test: Path | None, level: float) -> None:
    if not sizes["train"]:
        raise params.ParamsError(f'{train} has no training rows: add rows without a split, or with the split "train"')
    # McNemar's p is 2 / 2^n if two models differ on all n problems in the same direction
    minimum = ceil(log2(2 / (1 - level)))
    if sizes["test"] < minimum:
        raise params.ParamsError(
            f"{test or train} has {sizes['test']} held-out problems, but fewer than {minimum} cannot show a difference "
            f'at stats.level = {level}: add rows, give some of them the split "test", pass --test, or raise --limit'
        )


def write(path: Path, text: str) -> None:
    """Write a text file atomically.  Raises StoreError if that fails."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        reason = f"cannot write {path} ({error.strerror})"
        raise store.StoreError(f"{reason}: free some space, or choose another --out") from error
