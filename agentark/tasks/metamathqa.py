"""metamathqa: MetaMathQA (Yu et al. 2023), rewritten questions of the train splits of GSM8K and MATH, 395,000 rows.

The paper uses 151,000 of them and does not say which; ours are the first n, ordered by hash (DECISIONS 12).  It is
in-domain for gsm8k: a gain there is no transfer.  Each question is used once (the dataset answers many several times),
and a rewrite of a question in the dev split of gsm8k or math is in this dev split, too.

A problem's template is the kind of rewrite: GSM_AnsAug, GSM_Rephrased, GSM_SV, GSM_FOBAR, and the same four of MATH.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from . import answers, fixed_sets, hub
from .problem import Parsed, Problem, Task

REPO = "meta-math/MetaMathQA"
INSTRUCTION = ('Solve this step by step. End with a line of the form "Answer: X", where X is the answer alone, '
               "in LaTeX where it needs it.")  # fmt: skip
_CUE = "The answer is:"
_COLUMNS = ("query", "original_question", "response")

DROPPED: Counter[str] = Counter()  # rows that were left out, by reason


@lru_cache(maxsize=1)
def _read() -> tuple:
    """The dataset (as Arrow: 395,000 problems would need much more memory), and the rows of train and dev in order."""
    data = hub.load(REPO, "train")
    DROPPED.clear()
    kept: dict[str, dict] = {}
    for key in _COLUMNS:
        fixed_sets.column(data[0], key, "metamathqa")
    for n, (query, original, response) in enumerate(zip(*(data[key] for key in _COLUMNS), strict=True)):
        if query in kept:
            DROPPED["the same question again"] += 1
        elif _CUE not in response or not response.rpartition(_CUE)[2].strip():
            DROPPED[f"no {_CUE!r} in the response"] += 1
        else:
            kept[query] = {"row": n, "query": query, "split": hub.side(original)}
    order = hub.ordered(kept.values(), lambda row: row["query"], "metamathqa")
    return data, {split: [row["row"] for row in order if row["split"] == split] for split in ("train", "dev")}


def _problem(row: dict, name: str) -> Problem:
    worked, _, gold = row["response"].rpartition(_CUE)
    return Problem(name, row["query"].strip(), gold.strip(), f"{worked.strip()}\nAnswer: {gold.strip()}", row["type"])


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of "train" or "dev".

    Raises ValueError for "test" and if there are fewer, hub.HubError if the dataset cannot be loaded.
    """
    if split == "test":
        raise ValueError("MetaMathQA has no test questions of its own: test on gsm8k")
    data, rows = _read()
    return [_problem(data[row], f"metamathqa/{split}/{row}") for row in hub.first(rows[split], n, "metamathqa", split)]


def parse(text: str, problem: Problem) -> Parsed:
    """A number if the question is a rewrite of one of GSM8K's, otherwise any formula."""
    numeric = problem.template.startswith("GSM_") and answers.number(problem.answer)
    return (answers.parse_number if numeric else answers.parse)(text, problem)


TASK = Task("metamathqa", problems, parse, answers.equal, INSTRUCTION, {"train": 151_000}, measure="accuracy",
            licence="MIT", source=hub.source(REPO), family=("gsm8k", "math"), dropped=DROPPED,
            compared=answers.COUNTS)  # fmt: skip
TASKS = (TASK,)
