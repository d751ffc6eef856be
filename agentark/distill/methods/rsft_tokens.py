"""`rsft_tokens`, the control of DA's amount: R-SFT's traces, repeated up to DA's number of completion tokens."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

from . import da, gold_rsft, rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """R-SFT's traces in seeded order, from the start again if needed, up to DA's number of completion tokens."""
    partner = da.examples(task, problems, traces, tokenizer, seed)
    once = rsft.examples(task, problems, traces, tokenizer, seed)
    return gold_rsft.as_many_tokens(once, partner, "da", tokenizer, seed) if once else []


LOOK, CONTROLS = ("R-SFT, DA's tokens", "#3399DD", "8"), ("rsft", "gold_da")
METHOD = Method(
    "rsft_tokens", *LOOK, 52, "04_rsft", controls=CONTROLS, examples=examples, copies=da.copies, control_of="da"
)
