"""QMSum: query-based summaries of meetings (Zhong et al. 2021), from a cleaned copy of SCROLLS' version, which is plain Parquet.

SCROLLS hides the test summaries, so that test is the validation set (272 queries); dev is the start of the train set.  Never used for distillation.
Of a meeting (some 10,000 words) the first WORDS words are shown; a problem's template says whether it was cut.
"""

from __future__ import annotations

from itertools import islice

from . import hub, sources
from .free_text import SUMMARY, cut, parse_summary
from .problem import Problem, Task, equal_words

REPO, CONFIG = "pszemraj/qmsum-cleaned", "no-prefix"
SPLITS = {"dev": "train", "test": "validation"}
WORDS = 5000  # about 7,000 tokens: with prompt and reply within 8,192


def _problem(row: dict, split: str) -> Problem:
    transcript, was_cut = cut(sources.column(row, "input", "qmsum").strip(), WORDS)
    answer = " ".join((sources.column(row, "output", "qmsum") or "").split())
    if not answer:
        raise ValueError(f"QMSum's {SPLITS[split]} row {row['id']} has no summary")
    asked = " ".join(sources.column(row, "prompt", "qmsum").split())
    return Problem(
        f"qmsum/{split}/{row['id']}",
        f"Transcript of a meeting:\n{transcript}\n\nQuery: {asked}",
        answer,
        f"Answer: {answer}",
        "cut" if was_cut else "whole",
        references=(answer,),
    )


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; hub.HubError where the data cannot be had."""
    rows = hub.load(REPO, sources.choose(SPLITS, split, "qmsum"), CONFIG)
    return hub.first([_problem(row, split) for row in islice(rows, n)], n, "qmsum", split)


TASK = Task(
    "qmsum",
    problems,
    parse_summary,
    equal_words,
    "Answer the query in one paragraph. " + SUMMARY,
    {"dev": 1257, "test": 272},
    "rouge",
    licence="MIT (the authors ask for research use only; the copy's card says Apache-2.0)",
    source=hub.source(REPO),
)
