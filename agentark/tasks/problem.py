"""What a task is: problems, how an answer is read out of a text, and what counts as right.

A task is a plain record of functions, so that a benchmark is one file that fills it in.  A `Problem`
carries its own worked gold solution, because the controls (`continued`), the perplexities (E.1) and the
graders' own tests all need one.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """One question.

    `answer` is the gold answer as the task's parser would return it; `solution` the worked gold solution, a step a
    line, that ends with the answer line; `template` names the form that it was made from, and `held_out` says whether
    that form never occurs in any training data.  `options` are the texts behind A, B, C, D where there are any.  Open-ended
    problems have `references` (answers that are right; `answer` is the first) and TruthfulQA's have `incorrect` ones, too.
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


@dataclass(frozen=True)
class Parsed:
    """An answer read from a text: `strict` from the answer line only, `flexible` from wherever one can be found."""

    strict: str | None
    flexible: str | None


@dataclass(frozen=True)
class Task:
    """A benchmark.

    problems(split, n): the first n problems of "train", "dev" or "test" (always the same ones).
    parse(text, problem): the answer in a completion.
    equal(gold, answer): whether two answers are the same answer.
    instruction: appended to every question; empty where the model knows the form.
    measure: how it is scored: "accuracy", or for open-ended answers "f1" (SQuAD's), "hotpot_f1", "rouge" or "truth" (evaluate/overlap.py).
    licence, source: of the data: a licence's name (SPDX where it has one), and where the data comes from, with its revision or version;
        both empty where this package makes the data itself.
    dropped: counts of the rows that its data was made without, by reason, as far as this process has read it.
    in_domain: the tasks from whose training questions this one is made: their test sets are no transfer (DECISIONS 12).
    """

    name: str
    problems: Callable[[str, int], list[Problem]]
    parse: Callable[[str, Problem], Parsed]
    equal: Callable[[str, str], bool]
    instruction: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    measure: Literal["accuracy", "f1", "hotpot_f1", "rouge", "truth"] = "accuracy"
    licence: str = ""
    source: str = ""
    in_domain: tuple[str, ...] = ()
    dropped: Counter[str] = field(default_factory=Counter)

    def prompt(self, problem: Problem) -> str:
        """The user's message for `problem`."""
        return f"{problem.question}\n\n{self.instruction}" if self.instruction else problem.question

    def verify(self, text: str, problem: Problem) -> tuple[Parsed, bool, bool]:
        """Read the answer in `text` and compare it with the gold answer.

        Returns (parsed, right by strict extraction, right by flexible extraction).  Only the answer is
        judged, never the reasoning before it (A.3; DECISIONS 6).
        """
        parsed = self.parse(text, problem)
        return (
            parsed,
            parsed.strict is not None and self.equal(problem.answer, parsed.strict),
            parsed.flexible is not None and self.equal(problem.answer, parsed.flexible),
        )


SPLITS = ("train", "dev", "test")


def bucket(key: str, shares: tuple[int, int, int]) -> str:
    """The split that `key` belongs to, by its hash: shares are percentages of train, dev and test.

    The splits of a procedural task are disjoint by construction because the split is a function of the content.
    """
    at = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 100
    return "train" if at < shares[0] else "dev" if at < shares[0] + shares[1] else "test"


def take(stream: Iterator[tuple[str, Problem]], n: int, name: str) -> list[Problem]:
    """The first `n` problems of a stream of (content key, problem), each content once.

    Raises ValueError where the stream gives no new problem for a long time: there are not that many.
    """
    seen: set[str] = set()
    found: list[Problem] = []
    idle = 0
    while len(found) < n:
        key, problem = next(stream)
        if key in seen:
            idle += 1
            if idle > 20_000:
                raise ValueError(f"{name}: only {len(found)} different problems could be made, {n} were asked for")
            continue
        idle = 0
        seen.add(key)
        found.append(problem)
    return found


_ANSWER = re.compile(r"^\s*(?:final\s+)?answer\s*(?::|is)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def answer_lines(text: str) -> list[str]:
    """What stands behind "Answer:" in a text, first to last."""
    return _ANSWER.findall(text)


def boxed(text: str) -> list[str]:
    r"""What stands in \boxed{…} in a text, first to last."""
    return _BOXED.findall(text)


_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(r"[^\w\s]")


def normalize(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub("", text.lower())).split())


def parse_words(text: str, problem: Problem) -> Parsed:
    """A free answer.  Strict: what stands on the last "Answer:" line.  Flexible: else the text's last line."""
    said = answer_lines(text)
    lines = text.strip().splitlines()
    return Parsed(said[-1], said[-1]) if said else Parsed(None, lines[-1].strip() if lines else None)


def equal_words(gold: str, answer: str) -> bool:
    """The same words in SQuAD's normal form (exact match)."""
    return normalize(gold) == normalize(answer)
