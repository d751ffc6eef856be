"""gsm8k: GSM8K (Cobbe et al. 2021), grade-school word problems; the test set is the paper's, 1,319 problems (DECISIONS 13).

Train and dev are the dataset's train split, 7,473 problems, parted by the words of the question.  A worked solution is a person's; the calculator's
annotations (<<48/2=24>>) are taken out of it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from . import answers, hub, sources
from .problem import SPLITS, Problem, Task

REPO = "openai/gsm8k"
INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: N", where N is the number.'
_ANNOTATION = re.compile(r"<<[^<>]*>>")


@lru_cache(maxsize=4)
def _read(side: str) -> dict[str, list[Problem]]:
    """The problems of the dataset's "train" or "test" split, by our splits, in their fixed order."""
    found: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    rows = [{**row, "row": n} for n, row in enumerate(hub.load(REPO, side, "main"))]
    for row in hub.ordered(rows, lambda row: sources.column(row, "question", "gsm8k"), "gsm8k"):
        split = side if side == "test" else hub.side(row["question"])
        found[split].append(
            problem(row["question"], sources.column(row, "answer", "gsm8k"), f"gsm8k/{split}/{row['row']}")
        )
    return found


def problem(question: str, answer: str, name: str) -> Problem:
    """A problem from the dataset's columns; ValueError where no number stands behind the answer's ####."""
    worked, _, last = _ANNOTATION.sub("", answer).rpartition("####")
    gold = answers.figure(last)
    if gold is None or not worked:
        raise ValueError(
            f"{name}: no number behind #### in the answer {answer[-80:]!r}; is this another version of the dataset?"
        )
    return Problem(name, question.strip(), gold, f"{worked.strip()}\nAnswer: {gold}")


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split, in an order by hash.  Raises hub.HubError without the dataset, ValueError where there are fewer."""
    return hub.first(_read("test" if split == "test" else "train")[split], n, "gsm8k", split)


TASK = Task(
    "gsm8k",
    problems,
    answers.parse_number,
    answers.same,
    INSTRUCTION,
    {"test": 1319},
    licence="MIT",
    source=hub.source(REPO),
)
