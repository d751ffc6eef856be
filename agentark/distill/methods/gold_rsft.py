"""`gold_rsft`, the control of R-SFT's data: gold solutions with as many completion tokens in all as R-SFT sees."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

from . import gold_sft, rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """Gold solutions in seeded order, from the start again if needed, up to R-SFT's number of completion tokens."""
    partner = rsft.examples(task, problems, traces, tokenizer, seed)
    return gold_sft.as_many_tokens(gold_sft.gold(task, problems), partner, "rsft", tokenizer, seed)


LOOK = ("gold, R-SFT's tokens", "#BBBB33", "h")
METHOD = Method(
    "gold_rsft", *LOOK, order=32, notebook="03_sft_baseline", examples=examples, copies=rsft.copies, control_of="rsft"
)
