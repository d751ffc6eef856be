"""`continued`, the control of more training: gold solutions with as many completion tokens in all as R-SFT sees."""

from __future__ import annotations

from itertools import cycle
from random import Random

from agentark.distill.data import DistillError, Example, completion_tokens
from agentark.distill.method import Method

from . import rsft


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """Gold solutions in seeded order, from the start again if needed, up to R-SFT's number of completion tokens."""
    target = completion_tokens(rsft.examples(task, problems, traces, tokenizer, seed), tokenizer)
    if not target:
        raise DistillError("there is nothing to learn for rsft: extraction kept no trace; look at its counts")
    order = list(problems)
    Random(seed).shuffle(order)
    chosen: list[Example] = []
    seen, endless = 0, cycle(order)
    while seen < target:
        problem = next(endless)
        chosen.append(Example(problem.id, task.prompt(problem), problem.solution))
        seen += completion_tokens(chosen[-1:], tokenizer)
    return chosen


LOOK = ("SFT on gold solutions", "#999933", "v")
METHOD = Method("continued", *LOOK, order=30, notebook="03_sft_baseline", examples=examples, copies=rsft.copies)
