"""`rsft`, R-SFT (3.3.1, Eq. 1): one correct debate trace per problem, a corrective one first (DECISIONS 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentark import params
from agentark.distill.data import Example
from agentark.distill.method import Method

if TYPE_CHECKING:
    import pandas as pd


def chosen(task, problems, traces: pd.DataFrame, source: str) -> list[Example]:
    """The traces of a source ("debate" or "single") that extraction marked for R-SFT, each with weight 1."""
    prompts = {p.id: task.prompt(p) for p in problems}
    marked = traces[(traces.source == source) & traces.rsft]
    return [Example(p, prompts[p], text.strip()) for p, text in zip(marked.problem, marked.text, strict=True)]


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """The debate's traces that extraction chose."""
    return chosen(task, problems, traces, "debate")


def copies(config: params.Params) -> float:
    """At most one trace per problem, or all final traces (`extract.rsft_traces`)."""
    return config.debate.agents if config.extract.rsft_traces == "all" else 1


CONTROLS = ("rsft_single", "gold_rsft", "base_majority", "teacher_sample", "unfiltered")
METHOD = Method(
    "rsft", "R-SFT", "#0072B2", "D", order=50, notebook="04_rsft", controls=CONTROLS, examples=examples, copies=copies
)
