"""QMSum: query-based summaries of meetings (Zhong et al. 2021), from a cleaned copy of SCROLLS' version in Parquet.

Test is the validation set (272 queries), as SCROLLS hides the test summaries; dev is the start of the train set.  Never
used for distillation.  The first WORDS words of a meeting (of some 10,000) are shown; a problem's template is "cut" or
"whole".
"""

from __future__ import annotations

from itertools import islice

from . import fixed_sets, hub
from .free_text import SUMMARY, cut, parse_summary
from .problem import Problem, Task, equal_words

REPO, CONFIG = "pszemraj/qmsum-cleaned", "no-prefix"
SPLITS = {"dev": "train", "test": "validation"}
WORDS = 5000  # about 7,000 tokens: with prompt and reply within 8,192


def _problem(row: dict, split: str) -> Problem:
    transcript, was_cut = cut(fixed_sets.column(row, "input", "qmsum").strip(), WORDS)
    answer = " ".join((fixed_sets.column(row, "output", "qmsum") or "").split())
    if not answer:
        raise ValueError(f"QMSum's {SPLITS[split]} row {row['id']} has no summary")
    query = " ".join(fixed_sets.column(row, "prompt", "qmsum").split())
    question = f"Transcript of a meeting:\n{transcript}\n\nQuery: {query}"
    template = "cut" if was_cut else "whole"
    return Problem(f"qmsum/{split}/{row['id']}", question, answer, f"Answer: {answer}", template, references=(answer,))


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; hub.HubError if the dataset cannot be loaded."""
    rows = hub.load(REPO, fixed_sets.choose_split(SPLITS, split, "qmsum"), CONFIG)
    return hub.first([_problem(row, split) for row in islice(rows, n)], n, "qmsum", split)


TASK = Task("qmsum", problems, parse_summary, equal_words, "Answer the query in one paragraph. " + SUMMARY,
            {"dev": 1257, "test": 272}, measure="rouge", source=hub.source(REPO),
            licence="MIT (the authors ask for research use only; the copy's card says Apache-2.0)")  # fmt: skip
TASKS = (TASK,)
