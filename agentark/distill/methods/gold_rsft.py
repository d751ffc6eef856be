"""`gold_rsft`, the control of R-SFT's data: gold solutions with as many completion tokens in all as R-SFT sees."""

from __future__ import annotations

from itertools import cycle
from random import Random

from agentark.distill.data import DistillError, Example, token_counts
from agentark.distill.method import Method

from . import rsft


def gold(task, problems) -> list[Example]:
    """The gold solution of each problem."""
    return [Example(p.id, task.prompt(p), p.solution) for p in problems]


def as_many_tokens(once: list[Example], partner: list[Example], name: str, tokenizer, seed: int) -> list[Example]:
    """Examples in seeded order, from the start again if needed, up to the partner's number of completion tokens.

    Raises DistillError if the partner, the method `name`, or the examples themselves have no tokens.
    """
    target, lengths = sum(token_counts(partner, tokenizer)), token_counts(once, tokenizer)
    if not target:
        raise DistillError(f"there is nothing to learn for {name}: extraction kept no trace; look at its counts")
    if not any(lengths):
        raise DistillError(f"there is nothing that could stand in for {name}: its control has no text to learn from")
    order = list(zip(once, lengths, strict=True))
    Random(seed).shuffle(order)
    chosen: list[Example] = []
    seen, endless = 0, cycle(order)
    while seen < target:
        example, length = next(endless)
        chosen.append(example)
        seen += length
    return chosen


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """Gold solutions in seeded order, from the start again if needed, up to R-SFT's number of completion tokens."""
    partner = rsft.examples(task, problems, traces, tokenizer, seed)
    return as_many_tokens(gold(task, problems), partner, "rsft", tokenizer, seed)


LOOK = ("gold, R-SFT's tokens", "#BBBB33", "h")
METHOD = Method(
    "gold_rsft", *LOOK, order=32, notebook="03_sft_baseline", examples=examples, copies=rsft.copies, control_of="rsft"
)
