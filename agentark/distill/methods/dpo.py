"""`dpo`: the right against the wrong traces of one round of a problem's debate, for the untrained student.

Not in the paper: the preference part of Debate, Reflect, Distill (arXiv 2506.03541), which prefers right replies to
wrong ones within a debate that is laid out as a tree.  Here the prompt is the problem alone, as for all students.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from agentark.distill.data import Pair, check_columns
from agentark.distill.method import Method

if TYPE_CHECKING:
    import pandas as pd


def pairs(task, problems, traces: pd.DataFrame, most: int, seed: int) -> list[Pair]:
    """Up to `most` pairs of a right and a wrong trace of one round of a problem, neither cut off, by chance.

    Within one round both were written from the same prompt, so that they have one form.  The choice depends on the
    problem alone, so that students of all seeds learn from the same pairs.
    """
    check_columns(traces)
    prompts = {p.id: task.prompt(p) for p in problems}
    whole = traces[(traces.finish != "length") & (traces.kind != "distilled") & traces.problem.isin(list(prompts))]
    whole = whole.assign(text=whole.text.str.strip()).drop_duplicates(["problem", "round", "text"])
    both: dict[str, list[tuple[str, str]]] = {}
    for (problem, _), group in whole.groupby(["problem", "round"], sort=False):
        right, wrong = group.text[group.correct], group.text[~group.correct]
        both.setdefault(problem, []).extend((r, w) for r in right for w in wrong)
    chosen = {name: Random(f"pairs {name}").sample(each, min(most, len(each))) for name, each in both.items()}
    return [Pair(name, prompts[name], right, wrong) for name, each in chosen.items() for right, wrong in each]


LOOK, CONTROLS = ("DPO", "#1F6F78", "$d$"), ("rsft", "dpo_shuffled", "rsft_then_dpo")
METHOD = Method("dpo", *LOOK, 66, "05_dpo", controls=CONTROLS, pairs=pairs)
