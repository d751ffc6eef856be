"""`rsft_and_da`, the control of two steps: the traces of R-SFT and of DA, shuffled together, in one step.

It sees each trace as often as R-SFT followed by DA, with the same weights, so that examples and tokens are the same;
what differs is the order, and that the learning rate falls once.
"""

from __future__ import annotations

from agentark import params
from agentark.distill.data import Example
from agentark.distill.method import Method

from . import da, rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """R-SFT's examples, then DA's; the training shuffles them."""
    return [imitated for each in (rsft, da) for imitated in each.examples(task, problems, traces, tokenizer, seed)]


def copies(config: params.Params) -> float:
    """Those of both."""
    return rsft.copies(config) + da.copies(config)


LOOK, CONTROLS = ("R-SFT and DA in one step", "#6F4C9B", "$1$"), ("rsft", "da", "gold_rsft")
METHOD = Method(
    "rsft_and_da", *LOOK, 62, "04_rsft", controls=CONTROLS, control_of="rsft_then_da", examples=examples, copies=copies
)
