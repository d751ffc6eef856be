"""`gold_da`, the control of DA's data: gold solutions with as many completion tokens in all as DA sees."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

from . import da, gold_rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """Gold solutions in seeded order, from the start again if needed, up to DA's number of completion tokens."""
    partner = da.examples(task, problems, traces, tokenizer, seed)
    return gold_rsft.as_many_tokens(gold_rsft.gold(task, problems), partner, "da", tokenizer, seed)


LOOK = ("gold, DA's tokens", "#AA8833", "H")
METHOD = Method(
    "gold_da", *LOOK, order=34, notebook="03_sft_baseline", examples=examples, copies=da.copies, control_of="da"
)
