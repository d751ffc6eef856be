"""`sft`, answer-only SFT (G.1): the gold solution's answer line alone, without any reasoning."""

from __future__ import annotations

from agentark.distill.data import Example
from agentark.distill.method import Method

ANSWER_TOKENS = 8  # of "Answer: 42" and the end of the turn


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """One example per problem: the last line of its gold solution."""
    return [Example(p.id, task.prompt(p), p.solution.splitlines()[-1]) for p in problems]


LOOK = ("SFT on answers", "#E69F00", "^")
METHOD = Method(
    "sft", *LOOK, order=20, notebook="03_sft_baseline", examples=examples, completion=lambda reply: ANSWER_TOKENS
)
