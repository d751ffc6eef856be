"""Your own questions as one task: checked, held-out problems kept apart from training ones, written once to a file named by its content.

The stages know a task file by its path.  That a changed question makes a changed path is why nothing made from other questions is taken
for theirs.
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

WORDS = 8  # in a row, that a training and a test question share: what overlap means here (extract/decontaminate.py)
NAMED_TEST, NOT_TEST = "rows of --train named test, where --test is given", "rows of --test named train or dev"
REPEATED, HELD_OUT, LIMITED = (
    "a question that stands there twice",
    "a training question that is held out, too",
    "rows beyond --limit",
)


@dataclass(frozen=True)
class Data:
    """What a run works on.

    task: the path of the checked copy, which is the task's name; sizes: its problems by split; files: the sha256 of each file given, by its
    name; rows: how many rows they have; dropped: how many of these are not used, by reason; overlap: training questions that share WORDS
    words in a row with a test question (questions of one form often do: whether they are used is extract.decontaminate_words' to say; the very same
    question never is).
    """

    task: str
    sizes: dict[str, int]
    files: dict[str, str]
    rows: int
    dropped: dict[str, int]
    overlap: int


def prepare(train: Path, test: Path | None, out: Path, limit: int, level: float) -> Data:
    """Read the files, sort their rows into splits and write the copy under `out`.

    Splits are those that rows name; others are four fifths train and a tenth each dev and test, by a hash of the question.  With a `test` file
    its rows are the test split and all others train or dev.  `limit` keeps the first so many rows of each split (0: all).  Raises ParamsError for bad
    rows (by line number and reason), without training rows, and where a paired test at `level` could not tell anything; StoreError where
    `out` cannot be written to.
    """
    dropped = dict.fromkeys((NAMED_TEST, NOT_TEST, REPEATED, HELD_OUT, LIMITED), 0)
    found: dict[str, list[dict]] = {split: [] for split in SPLITS}
    total = 0
    for path, is_test in ((train, False), (test, True)) if test else ((train, False),):
        for row, named in _rows(path):
            total += 1
            if is_test:
                reason = NOT_TEST if named and row["split"] != "test" else None
                row |= {"id": f"test/{row['id']}", "split": "test"}
            else:
                reason = NAMED_TEST if test and named and row["split"] == "test" else None
                row["split"] = "train" if test and row["split"] == "test" else row["split"]
            if reason:
                dropped[reason] += 1
            else:
                found[row["split"]].append(row)
    kept = _apart(found, dropped)
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
    """The rows of a file in its order, each with its split and whether the file names it.  ParamsError lists the bad ones."""
    try:
        splits = {p.id: (split, p) for split, problems in jsonl.read(str(path)).items() for p in problems}
    except ValueError as error:
        raise params.ParamsError(str(error)) from None
    made: list[tuple[dict, bool]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            row = json.loads(line)
            name = str(row.get("id", number))
            split, p = splits[f"{path.stem}/{name}"]
            mine = {"id": name, "question": p.question, "answer": p.answer, "solution": str(p.solution), "split": split}
            made.append((mine, bool(row.get("split"))))
    return made


def _apart(found: dict[str, list[dict]], dropped: dict[str, int]) -> dict[str, list[dict]]:
    """Each question once, whatever its case and spaces: what is held out is no training question, too."""
    seen: dict[str, str] = {}
    kept: dict[str, list[dict]] = {split: [] for split in SPLITS}
    for split in ("test", "dev", "train"):
        for row in found[split]:
            question = " ".join(row["question"].casefold().split())
            if question in seen:
                dropped[REPEATED if seen[question] == split else HELD_OUT] += 1
            else:
                seen[question] = split
                kept[split].append(row)
    return kept


def _check(sizes: dict[str, int], train: Path, test: Path | None, level: float) -> None:
    if not sizes["train"]:
        raise params.ParamsError(f'{train} has no training rows: give rows without a split, or with split "train"')
    least = ceil(
        log2(2 / (1 - level))
    )  # McNemar's p of two models that differ on all problems, all one way, is 2 / 2^n
    if sizes["test"] < least:
        raise params.ParamsError(
            f"{test or train} has {sizes['test']} held-out problems, and with fewer than {least} no difference can be told at stats.level = {level}: "
            'add rows, name some of them "test", give --test, or raise --limit'
        )


def write(path: Path, text: str) -> None:
    """Write a text in one move.  StoreError where it cannot be."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise store.StoreError(f"cannot write {path} ({error.strerror}): make room, or name another --out") from error
