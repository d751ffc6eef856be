"""Drops training questions that share words with a test set: a run of 8 common words is enough.

Words are runs of letters and digits in lower case.  Options are ignored ("A. 1 B. 2 C. 3 D. 4" occurs in many
questions).  A question of fewer than 8 words counts as one run, including its options, and matches only an identical
question.  A common phrase ("which of the following is the most likely") matches as well, so the report names the words.
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
    """A dropped training problem, the test set and its first item that overlap with it, and the shared words."""

    problem: str
    test_set: str
    item: str
    words: str


@dataclass(frozen=True)
class Report:
    """The problems that are kept, one Hit per overlapping (problem, test set), and the number of hits per test set."""

    kept: list[Problem]
    dropped: list[Hit]
    counts: dict[str, int]


def word_ngrams(problem: Problem, n: int) -> list[str]:
    """Return all runs of `n` words of a question without its options, or one run of all words if it has fewer."""
    lines = problem.question.casefold().splitlines()
    options = [option.casefold() for option in problem.options]
    last_lines = lines[len(lines) - len(options) :]
    is_listed = len(last_lines) == len(options) and all(map(str.endswith, last_lines, options))
    words = _WORD.findall("\n".join(lines[: -len(options)] if options and is_listed else lines))
    if len(words) >= n:
        return [" ".join(words[start : start + n]) for start in range(len(words) - n + 1)]
    words = _WORD.findall(problem.question.casefold())
    return [" ".join(words)] if words else []


def ngram_index(tests: Iterable[Problem], n: int) -> dict[str, str]:
    """Map each n-gram to the id of the first test problem whose question contains it."""
    first_problem: dict[str, str] = {}
    for problem in tests:
        for ngram in word_ngrams(problem, n):
            first_problem.setdefault(ngram, problem.id)
    return first_problem


def decontaminate(problems: Iterable[Problem], tests: Mapping[str, Iterable[Problem]], n: int = 8) -> Report:
    """Remove the training problems whose question shares `n` consecutive words with a question of any test set.

    `tests` maps the name of each test set to its problems.  A problem that overlaps with two test sets is dropped once
    and counted for both.  Answers are not compared.  Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"cannot look for an overlap of {n} words: n must be at least 1")
    indices = {name: ngram_index(items, n) for name, items in tests.items()}
    report = Report([], [], dict.fromkeys(indices, 0))
    for problem in problems:
        ngrams = word_ngrams(problem, n)
        first = ((name, next((g for g in ngrams if g in index), None)) for name, index in indices.items())
        hits = [Hit(problem.id, name, indices[name][ngram], ngram) for name, ngram in first if ngram is not None]
        report.dropped.extend(hits)
        for hit in hits:
            report.counts[hit.test_set] += 1
        if not hits:
            report.kept.append(problem)
    return report


def overlaps(task: str, n: int, tests: Mapping[str, int], words: int) -> dict[str, str]:
    """Map those of the first `n` training problems of a task that overlap with a test set to a sentence that says how.

    `tests` maps each test task to the number of its test problems in use.  Returns an empty dictionary if `words` is 0.
    """
    if not words:
        return {}
    test_sets = {name: tasks.problems(name, "test", size) for name, size in tests.items()}
    report = decontaminate(tasks.problems(task, "train", n), test_sets, words)
    hits = reversed(report.dropped)  # so that a problem's first hit is the one that stays
    return {hit.problem: f"shares {words} words with {hit.test_set} ({hit.item}): {hit.words!r}" for hit in hits}
