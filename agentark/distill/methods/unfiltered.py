"""`unfiltered`, the control of the filter: one final trace of the debate per problem, whatever its answer is."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from agentark.distill.data import Example, check_columns
from agentark.distill.method import Method

if TYPE_CHECKING:
    import pandas as pd


def one_of_each(task, problems, traces: pd.DataFrame, source: str) -> list[Example]:
    """One trace of a source ("debate" or "single") for each problem, of any answer, that was not cut off.

    The choice depends on the problem alone, so that students of all seeds learn from the same traces, as R-SFT's do.
    """
    check_columns(traces)
    prompts = {p.id: task.prompt(p) for p in problems}
    whole = traces[(traces.source == source) & (traces.finish != "length") & (traces.kind != "distilled")]
    texts = {problem: list(group.text) for problem, group in whole.groupby("problem", sort=False)}
    return [Example(p, prompts[p], Random(f"{source} {p}").choice(each).strip()) for p, each in texts.items()]


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """A final trace of each problem's debate."""
    return one_of_each(task, problems, traces, "debate")


LOOK, CONTROLS = ("R-SFT, unfiltered", "#882222", "$u$"), ("teacher_sample",)
METHOD = Method("unfiltered", *LOOK, 48, "04_rsft", controls=CONTROLS, examples=examples, control_of="rsft")
