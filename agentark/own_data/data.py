"""Prepares your own questions as a task: checks them, splits them, and writes them to one file.

Its name contains a hash of its content, so that changed questions never reuse the results of other questions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import ceil, log2
from pathlib import Path
from typing import NamedTuple

from agentark import params, store, tasks
from agentark.extract.decontaminate import decontaminate
from agentark.tasks import Problem, jsonl, own_rows, question_files
from agentark.tasks.choices import LETTERS
from agentark.tasks.problem import SPLITS

WORDS = 8  # the number of shared consecutive words that counts as overlap (extract/decontaminate.py)
MOST_BAD = 0.1  # a file with a larger share of bad rows is refused
STEM = 24  # bytes of a file's name that are kept: the names of results contain it twice, and may have 255
NAMED_TEST = 'rows of --train with the split "test", although --test is given'
NOT_TEST = 'rows of --test with the split "train" or "dev"'
CONFLICTING = "questions with two different answers"
REPEATED, HELD_OUT, LIMITED = "repeated questions", "training questions that are also held out", "rows beyond --limit"
TOO_LONG = "questions that are too long for the networks"
REASONS = (NAMED_TEST, NOT_TEST, CONFLICTING, REPEATED, HELD_OUT, LIMITED, TOO_LONG)
UNUSED = ".unused.csv"  # the ending of the table of unused rows, beside the copy
SHOWN = 5  # places that the report lists for each reason


class Question(NamedTuple):
    """A question of a run: the place of its row, with the name of the file, and its problem."""

    place: str
    problem: Problem


class Unused(NamedTuple):
    """A row that is not used: its place, the reason by which it is counted, and details."""

    place: str
    reason: str
    detail: str = ""


@dataclass
class Questions:
    """The questions of the input files, before they are written.

    by_split: the used ones, in order; unused: the other rows, in the order in which they were found; rows: the number
    of rows of the files; files: the sha256 of each; names: the files as the user names them, the test file last.
    """

    by_split: dict[str, list[Question]]
    unused: list[Unused]
    rows: int
    files: dict[str, str]
    names: list[str]

    @property
    def sizes(self) -> dict[str, int]:
        """The number of questions per split."""
        return {split: len(questions) for split, questions in self.by_split.items()}


@dataclass(frozen=True)
class Data:
    """The questions of a run.

    task: the path of the checked copy, which is the name of the task; sizes: the number of problems per split; files:
    the sha256 of each input file by name; rows: the number of rows in these files; dropped: the number of unused rows
    by reason; places: the places of the first ones; overlap: the number of training questions that share WORDS
    consecutive words with a test question (extract.decontaminate_words decides whether they are used; one that equals a
    test question never is).
    """

    task: str
    sizes: dict[str, int]
    files: dict[str, str]
    rows: int
    dropped: dict[str, int]
    overlap: int
    places: dict[str, list[str]] = field(default_factory=dict)

    @property
    def unused(self) -> str:
        """The path of the table of all rows that are not used."""
        return str(Path(self.task).with_suffix(UNUSED))

    def report(self) -> str:
        """The numbers of used and unused rows, with the first places of each reason, as lines."""
        used = ", ".join(f"{n} {'held out' if split == 'test' else split}" for split, n in self.sizes.items())
        lines = [f"{self.rows} rows: {used}, {sum(self.dropped.values())} not used"]
        lines += [f"  {n} {reason}: {self.first(reason)}" for reason, n in self.dropped.items() if n]
        return "\n".join([*lines, f"  all of them: {self.unused}"] if len(lines) > 1 else lines)

    def first(self, reason: str) -> str:
        """The places of the first rows that a reason leaves out."""
        return "; ".join(self.places[reason]) + "; …" * (self.dropped[reason] > len(self.places[reason]))


def gather(train: str, test: str | None, limit: int, level: float) -> Questions:
    """Read the files and sort their rows into splits.

    A row may name its split; the others are split by a hash of the question into 80 % train, 10 % dev and 10 % test.
    With a `test` file, its rows are the test split and all others are train or dev.  `limit` is the maximum number of
    rows per split (0 for all).  Bad rows are left out.  Raises ParamsError, before anything is written, for a file that
    is not readable or has too many bad rows, without training rows, and if a paired test at `level` could not detect
    any difference.
    """
    names = [train, *([test] if test else [])]
    short = [Path(name).name for name in names]
    labels = names if len(set(short)) < len(short) else short
    made = Questions({split: [] for split in SPLITS}, [], 0, {}, names)
    taken: set[str] = set()
    for is_test, name, label in zip((False, True), names, labels, strict=False):
        found = _read(name)
        made.rows += len(found.good) + len(found.bad)
        made.files[label] = found.sha256
        made.unused += [Unused(f"{label}, {bad.place}", f"bad rows: {bad.kind}", bad.reason) for bad in found.bad]
        for row in found.good:
            place, split, reason = f"{label}, {row.place}", row.split, ""
            if is_test:
                split, reason = "test", NOT_TEST if row.is_named and row.split != "test" else ""
            elif test and row.split == "test":
                split, reason = "train", NAMED_TEST if row.is_named else ""
            if reason:
                made.unused.append(Unused(place, reason))
                continue
            # the ids of two files, such as 1 and 1, or test/1 in the training file, must differ in the copy
            identity = question_files.free("test/" * is_test + row.problem.id, "test/", taken)
            made.by_split[split].append(Question(place, replace(row.problem, id=identity)))
    _deduplicate(made)
    if limit:
        for split, questions in made.by_split.items():
            made.unused += [Unused(question.place, LIMITED) for question in questions[limit:]]
            made.by_split[split] = questions[:limit]
    _check(made, level)
    return made


def leave_out(questions: Questions, too_long: Callable[[str, list[Problem]], list[str]], level: float) -> None:
    """Move the questions that are too long to the unused ones.

    too_long(split, problems): for each problem why it is too long, "" if it is not.  Raises ParamsError as `gather`.
    """
    for split, asked in questions.by_split.items():
        reasons = too_long(split, [question.problem for question in asked])
        pairs = list(zip(asked, reasons, strict=True))
        questions.unused += [Unused(question.place, TOO_LONG, reason) for question, reason in pairs if reason]
        questions.by_split[split] = [question for question, reason in pairs if not reason]
    _check(questions, level)


def write_copy(questions: Questions, out: Path) -> Data:
    """Write the used questions, and a table of the unused rows, under `out`.  Raises StoreError if that fails."""
    rows = [_row(split, q.problem) for split, asked in questions.by_split.items() for q in asked]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    stem = Path(questions.names[0]).stem.encode()[:STEM].decode(errors="ignore")
    copy = out / "data" / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    if not copy.exists():
        write(copy, text)
    unused, table = io.StringIO(), copy.with_suffix(UNUSED)
    csv.writer(unused, lineterminator="\n").writerows([Unused._fields, *questions.unused])
    if not table.exists() or table.read_bytes() != unused.getvalue().encode():
        write(table, unused.getvalue())
    sizes = questions.sizes
    problems = {split: tasks.problems(str(copy), split, sizes[split]) for split in ("train", "test")}
    overlap = decontaminate(problems["train"], {"test": problems["test"]}, WORDS).counts["test"]
    dropped: dict[str, int] = dict.fromkeys(REASONS, 0)
    places: dict[str, list[str]] = {}
    for row in questions.unused:
        dropped[row.reason] = dropped.get(row.reason, 0) + 1
        places.setdefault(row.reason, []).append(row.place)
    first = {reason: found[:SHOWN] for reason, found in places.items()}
    return Data(str(copy), sizes, questions.files, questions.rows, dropped, overlap, first)


def _read(name: str) -> question_files.Rows:
    """Read a file.  Raises ParamsError if it is not readable or too many of its rows are bad."""
    try:
        found = question_files.read(name, jsonl.parse, jsonl.equal)
        if len(found.bad) > MOST_BAD * (len(found.good) + len(found.bad)):
            share = f"at most {100 * MOST_BAD:.0f} % of the rows of a file may be bad"
            raise ValueError(f"{question_files.refusal(name, found.bad)} ({share})")
    except ValueError as error:
        raise params.ParamsError(str(error)) from None
    return found


def _row(split: str, p: Problem) -> dict:
    """A row of the copy; options have their letters, so that the answer cannot mean the text of another one."""
    row = {"id": p.id, "question": p.question, "answer": p.answer, "solution": p.solution, "split": split}
    return row | ({"options": dict(zip(LETTERS, p.options, strict=False))} if p.options else {})


def _deduplicate(questions: Questions) -> None:
    """Keep each question once, ignoring case and spaces, so that no held-out question is also a training question.

    A question with two answers is not kept at all, since it is unknown which of them is right.
    """
    asked = [(split, question) for split in ("test", "dev", "train") for question in questions.by_split[split]]
    conflicts = own_rows.conflicts([question.problem for _, question in asked], jsonl.equal)
    seen: dict[str, str] = {}
    questions.by_split = {split: [] for split in SPLITS}
    for k, (split, question) in enumerate(asked):
        key = own_rows.key(question.problem.question)
        if k in conflicts:
            detail = (
                f"{question.problem.answer}; in {asked[conflicts[k]][1].place}: {asked[conflicts[k]][1].problem.answer}"
            )
            questions.unused.append(Unused(question.place, CONFLICTING, detail))
        elif key in seen:
            questions.unused.append(Unused(question.place, REPEATED if seen[key] == split else HELD_OUT))
        else:
            seen[key] = split
            questions.by_split[split].append(question)


def _check(questions: Questions, level: float) -> None:
    sizes, name = questions.sizes, questions.names[0]
    reasons: dict[str, int] = {}
    for row in questions.unused:
        reasons[row.reason] = reasons.get(row.reason, 0) + 1
    unused = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
    why = f" (of {questions.rows} rows, these are not used: {unused})" if unused else ""
    if not sizes["train"]:
        raise params.ParamsError(
            f'{name} has no training rows{why}: add rows without a split, or with the split "train"'
        )
    # McNemar's p is 2 / 2^n if two models differ on all n problems in the same direction
    minimum = ceil(log2(2 / (1 - level)))
    if sizes["test"] < minimum:
        raise params.ParamsError(
            f"{questions.names[-1]} has {sizes['test']} held-out problems{why}, but fewer than {minimum} cannot show a "
            f'difference at stats.level = {level}: add rows, give some of them the split "test", pass --test, or raise '
            "--limit"
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
