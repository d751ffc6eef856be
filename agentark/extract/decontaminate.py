"""Training questions that share words with a test set are dropped: an overlap of 8 words in a row is enough.

Words are letters and digits, lower case; numbers are words, too, so that a rewording of a test question is found by what it left
unchanged.  Options are left out ("A. 1 B. 2 C. 3 D. 4" is in many questions).  A question of fewer words counts as one run, options and
all, and is hit only by the very same question.  Boilerplate of eight words ("which of the following is the most likely") hits as well: the
report names the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentark import tasks
from agentark.tasks.problem import Problem

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Hit:
    """A dropped training problem: of one test set that it overlaps with, the item hit first and the words that they share."""

    problem: str
    test_set: str
    item: str
    words: str


@dataclass(frozen=True)
class Report:
    """The problems `kept`, a Hit for each (problem, test set) that overlap, and for each test set how many problems hit it."""

    kept: list[Problem]
    dropped: list[Hit]
    counts: dict[str, int]


def grams(problem: Problem, n: int) -> list[str]:
    """All runs of `n` words of a question without its options, in order; of a shorter question all words, options too, as one run."""
    lines = problem.question.casefold().splitlines()
    options = [option.casefold() for option in problem.options]
    ends = lines[len(lines) - len(options) :]
    is_listed = len(ends) == len(options) and all(line.endswith(option) for line, option in zip(ends, options))
    words = _WORD.findall("\n".join(lines[: -len(options)] if options and is_listed else lines))
    if len(words) >= n:
        return [" ".join(words[at : at + n]) for at in range(len(words) - n + 1)]
    words = _WORD.findall(problem.question.casefold())
    return [" ".join(words)] if words else []


def index(tests: Iterable[Problem], n: int) -> dict[str, str]:
    """Gram -> id of the first test problem whose question has it."""
    found: dict[str, str] = {}
    for problem in tests:
        for gram in grams(problem, n):
            found.setdefault(gram, problem.id)
    return found


def decontaminate(problems: Iterable[Problem], tests: Mapping[str, Iterable[Problem]], n: int = 8) -> Report:
    """Sort out the training problems whose question shares `n` words in a row with a question of any test set.

    `tests` are the problems of each test set by its name.  The order of `kept` is that of `problems`; a problem that overlaps with two sets is
    dropped once and counted for both.  Only questions are compared (a passage is a part of its question), never answers.  Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"an overlap of {n} words is none: n must be at least 1")
    indices = {name: index(items, n) for name, items in tests.items()}
    report = Report([], [], dict.fromkeys(indices, 0))
    for problem in problems:
        asked = grams(problem, n)
        hits = [
            (name, gram) for name, known in indices.items() if (gram := next((g for g in asked if g in known), None))
        ]
        for name, gram in hits:
            report.dropped.append(Hit(problem.id, name, indices[name][gram], gram))
            report.counts[name] += 1
        if not hits:
            report.kept.append(problem)
    return report


def overlaps(task: str, n: int, tests: Mapping[str, int], words: int) -> dict[str, str]:
    """Of the first `n` training problems of a task those that overlap with a test set, each with a sentence; none where `words` is 0.

    `tests`: how many test problems of each task are used.
    """
    if not words:
        return {}
    report = decontaminate(
        tasks.problems(task, "train", n),
        {name: tasks.problems(name, "test", size) for name, size in tests.items()},
        words,
    )
    return {
        hit.problem: f"shares {words} words with {hit.test_set} ({hit.item}): {hit.words!r}"
        for hit in reversed(report.dropped)
    }
