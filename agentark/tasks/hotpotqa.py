"""HotpotQA, distractor setting: a question over two of ten paragraphs (Yang et al. 2018).

Test is the validation set (7,405), as the test labels are hidden; dev is the start of the train set.  Never used for distillation.  Its F1 is
the official one, which gives nothing where just one of the two answers is yes or no (evaluate/overlap.py).
"""

from __future__ import annotations

from . import hub, sources
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words

REPO = "hotpotqa/hotpot_qa"
SPLITS = {"dev": "train", "test": "validation"}


def _problem(row: dict, split: str) -> Problem:
    context, facts = sources.column(row, "context", "hotpotqa"), sources.column(row, "supporting_facts", "hotpotqa")
    paragraphs = dict(zip(context["title"], context["sentences"]))
    told = "\n\n".join(f"{title}: {''.join(sentences).strip()}" for title, sentences in paragraphs.items())
    # a few supporting facts point behind their paragraph's last sentence
    support = [
        paragraphs[title][at].strip()
        for title, at in zip(facts["title"], facts["sent_id"])
        if at < len(paragraphs.get(title, []))
    ]
    answer = sources.column(row, "answer", "hotpotqa").strip()
    return Problem(
        f"hotpotqa/{split}/{row['id']}",
        f"{told}\n\nQuestion: {row['question'].strip()}",
        answer,
        "\n".join([*support, f"Answer: {answer}"]),
        f"{row['type']}-{row['level']}",
        references=(answer,),
    )


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; hub.HubError where the data cannot be had."""
    rows = hub.load(REPO, sources.choose(SPLITS, split, "hotpotqa"), "distractor", streaming=True)
    return hub.first([_problem(row, split) for row in sources.start(rows, n)], n, "hotpotqa", split)


TASK = Task(
    "hotpotqa",
    problems,
    parse_short,
    equal_words,
    SHORT,
    {"dev": 90447, "test": 7405},
    "hotpot_f1",
    licence="CC-BY-SA-4.0",
    source=hub.source(REPO),
)
