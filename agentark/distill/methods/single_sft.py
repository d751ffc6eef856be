"""`rsft_single`, the control of R-SFT: as many correct traces that the teacher's agents wrote before any debate."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

from . import rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """The round-1 traces that extraction chose."""
    return rsft.chosen(task, problems, traces, "single")


LOOK = ("R-SFT, single agent", "#CC79A7", "P")
METHOD = Method(
    "rsft_single", *LOOK, order=40, notebook="04_rsft", examples=examples, copies=rsft.copies, control_of="rsft"
)
