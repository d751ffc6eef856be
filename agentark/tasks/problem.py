"""What a task is: problems, how an answer is read from a text, and which answers are right.

A task is a plain record of functions, so that a benchmark is one file that fills it in.  A `Problem` carries a worked
gold solution, which the controls (`gold_rsft`), the perplexities (E.1) and the tests of the graders need.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

Measure = Literal["accuracy", "f1", "hotpot_f1", "rouge", "truth"]


@dataclass(frozen=True)
class Problem:
    """One question.

    answer: the gold answer as the task's parser returns it.
    solution: the worked gold solution, one step per line; the last line is the answer line.
    template, held_out: the form that the question was made from, and whether that form never occurs in training data.
    options: the texts of the options A, B, C, D of a multiple-choice question.
    references, incorrect: right answers to an open-ended question, of which `answer` is the first, and, for TruthfulQA,
        wrong ones.
    cluster: what the problem shares with others, such as its pair of facts: results of one cluster are not independent;
        "" if it stands alone.
    image: the key of the picture that the question is about (agentark/pictures.py); empty if there is none.
    """

    id: str
    question: str
    answer: str
    solution: str
    template: str = ""
    held_out: bool = False
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    incorrect: tuple[str, ...] = ()
    cluster: str = ""
    image: str = ""


@dataclass(frozen=True)
class Parsed:
    """An answer read from a text: `strict` from the answer line only, `flexible` from anywhere in the text."""

    strict: str | None
    flexible: str | None


Problems = Callable[[str, int], list[Problem]]
Parse = Callable[[str, Problem], Parsed]
Equal = Callable[[str, str], bool]


@dataclass(frozen=True)
class Task:
    """A benchmark.

    problems(split, n): the first n problems of "train", "dev" or "test", the same ones on every call.
    parse(text, problem): the answer in a completion.
    equal(gold, answer): whether two answers are the same answer.
    instruction: appended to every question; empty if the model has learnt the form of the answer.
    sizes: the number of problems by split.
    measure: the score: "accuracy", or for open-ended answers one of grade/overlap.py: "f1" (SQuAD's), "hotpot_f1",
        "rouge" or "truth".
    licence, source: the licence of the data (its SPDX name if it has one), and where the data comes from, with its
        revision or version; "made by this package" if no data is loaded.
    family: the families of problems that the benchmark belongs to or is made of; its own name by default.  A test set
        is in-domain for a training set if they have one in common (DECISIONS 12).
    pictures: whether its problems have pictures, which not every network can see.
    shares_problems: the test sets that have problems of this task's training set, and why: {test set: reason}.
    dropped: the number of rows that were left out of the data, by reason, as far as this process has read it.
    compared: the number of answers by how they were compared, if `equal` counts that.
    """

    name: str
    problems: Problems
    parse: Parse
    equal: Equal
    instruction: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    measure: Measure = field(kw_only=True)
    licence: str = field(kw_only=True)
    source: str = field(kw_only=True)
    family: tuple[str, ...] = ()
    pictures: bool = field(default=False, kw_only=True)
    shares_problems: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if not self.family:
            object.__setattr__(self, "family", (self.name,))

    def prompt(self, problem: Problem) -> str:
        """The user's message for `problem`."""
        return f"{problem.question}\n\n{self.instruction}" if self.instruction else problem.question

    def verify(self, text: str, problem: Problem) -> tuple[Parsed, bool, bool]:
        """Read the answer in `text` and compare it with the gold answer.

        Returns the parsed answer, whether it is right by strict extraction, and whether it is by flexible extraction.
        Only the answer is judged, not the reasoning before it (A.3; DECISIONS 6).
        """
        parsed = self.parse(text, problem)
        forms = (parsed.strict, parsed.flexible)
        strict, flexible = (answer is not None and self.equal(problem.answer, answer) for answer in forms)
        return parsed, strict, flexible


SPLITS = ("train", "dev", "test")


def percentile(key: str) -> int:
    """A number from 0 to 99 that is a function of `key`: its hash decides the split of a content or of a template."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100


def bucket(key: str, shares: tuple[int, int, int]) -> str:
    """The split of `key` by its hash; `shares` are the percentages of train, dev and test.

    The splits of a procedural task are disjoint by construction because the split is a function of the content.
    """
    place = percentile(key)
    return "train" if place < shares[0] else "dev" if place < shares[0] + shares[1] else "test"


def take(stream: Iterator[tuple[str, Problem]], n: int, name: str, halves: bool = False) -> list[Problem]:
    """The first `n` problems of a stream of (content key, problem), each content once.

    With `halves`, every other problem is one of a held-out template, also where a repeated content was left out.
    Raises ValueError if the stream repeats itself for so long that it cannot have `n` different problems.
    """
    seen: set[str] = set()
    problems: list[Problem] = []
    repeats = 0
    while len(problems) < n:
        key, problem = next(stream)
        if key in seen or (halves and problem.held_out != (len(problems) % 2 == 1)):
            repeats += 1
            if repeats > 20_000:
                raise ValueError(f"{name} has only {len(problems)} different problems, but {n} were requested")
            continue
        repeats = 0
        seen.add(key)
        problems.append(problem)
    return problems


_ANSWER = re.compile(r"^\s*(?:final\s+)?answer\s*(?::|is)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def answer_lines(text: str) -> list[str]:
    """The texts that follow "Answer:" on the lines of a text, first to last."""
    return _ANSWER.findall(text)


def boxed(text: str) -> list[str]:
    r"""The contents of each \boxed{…} in a text, first to last."""
    return _BOXED.findall(text)


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w\s]")


def normalize(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


def parse_words(text: str, problem: Problem) -> Parsed:
    """A free answer.  Strict: the text of the last "Answer:" line.  Flexible: otherwise the last line of the text."""
    answers = answer_lines(text)
    lines = text.strip().splitlines()
    return Parsed(answers[-1], answers[-1]) if answers else Parsed(None, lines[-1].strip() if lines else None)


def equal_words(gold: str, answer: str) -> bool:
    """Whether two answers have the same words in SQuAD's normal form (exact match)."""
    return normalize(gold) == normalize(answer)
