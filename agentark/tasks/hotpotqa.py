"""HotpotQA, distractor setting: a question over two of ten paragraphs (Yang et al. 2018).

Test is the validation set (7,405 questions), as the test labels are hidden; dev is the start of the train set.  Never
used for distillation.  The measure is the official F1, which is 0 if only one of the two answers is yes or no
(grade/overlap.py).
"""

from __future__ import annotations

from . import fixed_sets, hub
from .free_text import SHORT, parse_short
from .problem import Problem, Task, equal_words

REPO = "hotpotqa/hotpot_qa"
SPLITS = {"dev": "train", "test": "validation"}


def _problem(row: dict, split: str) -> Problem:
    context, facts = (fixed_sets.column(row, key, "hotpotqa") for key in ("context", "supporting_facts"))
    paragraphs = dict(zip(context["title"], context["sentences"], strict=True))
    passage = "\n\n".join(f"{title}: {''.join(sentences).strip()}" for title, sentences in paragraphs.items())
    # A few supporting facts point past the last sentence of their paragraph.
    pairs = zip(facts["title"], facts["sent_id"], strict=True)
    support = [paragraphs[title][index].strip() for title, index in pairs if index < len(paragraphs.get(title, []))]
    answer = fixed_sets.column(row, "answer", "hotpotqa").strip()
    name, question = f"hotpotqa/{split}/{row['id']}", f"{passage}\n\nQuestion: {row['question'].strip()}"
    solution, kind = "\n".join([*support, f"Answer: {answer}"]), f"{row['type']}-{row['level']}"
    return Problem(name, question, answer, solution, kind, references=(answer,))


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split; hub.HubError if the dataset cannot be loaded."""
    rows = hub.load(REPO, fixed_sets.choose_split(SPLITS, split, "hotpotqa"), "distractor", streaming=True)
    return hub.first([_problem(row, split) for row in fixed_sets.first_rows(rows, n)], n, "hotpotqa", split)


TASK = Task("hotpotqa", problems, parse_short, equal_words, SHORT, {"dev": 90447, "test": 7405}, measure="hotpot_f1",
            licence="CC-BY-SA-4.0", source=hub.source(REPO))  # fmt: skip
TASKS = (TASK,)
