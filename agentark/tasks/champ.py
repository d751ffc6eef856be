"""CHAMP: solutions of competition problems by language models, with the first wrong step marked by people.

By Mao, Kim and Zhou (2024): 270 problems with two solutions each, by GPT-3.5, GPT-4, GPT-4 Turbo and PaLM 2 Medium; 444
of the 540 have a mistake.  It is an examination for reward models, which learn nothing from it, and no benchmark of
answers: these are formulas in words ("C(10, 5), or equivalently 252").  From the package champ-dataset, whose JSON
file is read and whose code never runs.

People marked a span of characters.  `first_wrong` is the line, as steps are split here, in which the span begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from agentark import packages

from .problem import Problem

MEMBER = "champ_dataset/dataset_files/v0.json"
SIZE = 540
LICENCE, SOURCE = "MIT", f"{packages.CHAMP}, {MEMBER}"


@dataclass(frozen=True)
class Marked:
    """A solution by a model.

    problem, question, subject: the problem's name in CHAMP, its text and its category; author: the model; prompt: what
    it was given besides the problem; text: the solution; span: the characters of its first wrong step, None if people
    found none.
    """

    problem: str
    question: str
    subject: str
    author: str
    prompt: str
    text: str
    span: tuple[int, int] | None

    @property
    def steps(self) -> list[str]:
        """The lines of the solution, stripped and without blank ones, as extract/steps splits a trace."""
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @property
    def first_wrong(self) -> int | None:
        """The index of the first wrong step; None if there is none."""
        if self.span is None:
            return None
        start, end = self.span
        marked = self.text[start:end]
        start += len(marked) - len(marked.lstrip())  # a span may begin with the line break before its line
        return sum(bool(line.strip()) for line in self.text[:start].split("\n")[:-1])


@cache
def solutions() -> tuple[Marked, ...]:
    """All 540 solutions, in the order of the file.

    Raises assets.AssetError if the package was not brought (`agentark assets`), ValueError if its layout is another.
    """
    found = []
    for problem in json.loads(packages.CHAMP.read(MEMBER))["problems"].values():
        for key, marked in problem["fws_annotations"].items():
            start, end = marked["start_idx"], marked["end_idx"]
            span = None if start is None else (start, end)
            _, _, prompt = key.partition("|")
            found.append(Marked(problem["identifier"], problem["_text"], problem["category"], marked["author"], prompt,
                                marked["text"], span))  # fmt: skip
    if len(found) != SIZE:
        raise ValueError(f"{packages.CHAMP} has {len(found)} marked solutions instead of {SIZE}")
    return tuple(found)


def questions() -> list[Problem]:
    """The 270 questions, for `extract.decontaminate`: what shares words with them is not trained on."""
    return [
        Problem(f"champ/test/{name}", text, "", "", subject) for name, (text, subject) in _unique(solutions()).items()
    ]


def _unique(marked: Iterable[Marked]) -> dict[str, tuple[str, str]]:
    return {solution.problem: (solution.question, solution.subject) for solution in marked}
