"""`teacher_sample`, the control of selection: a sample of the teacher for each problem, from before any debate."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

from . import unfiltered


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """A round-1 trace of each problem, of any answer, that was not cut off."""
    return unfiltered.one_of_each(task, problems, traces, "single")


LOOK = ("teacher's sample, unselected", "#AA4499", "$t$")
METHOD = Method("teacher_sample", *LOOK, order=36, notebook="04_rsft", examples=examples, control_of="rsft")
