"""`da`, data augmentation (3.3.2, Eq. 2): up to k diverse correct debate traces per problem (DECISIONS 10)."""

from __future__ import annotations

from collections import Counter

from agentark import params
from agentark.distill.data import Example
from agentark.distill.method import Method


def examples(task, problems, traces, tokenizer, seed) -> list[Example]:
    """The debate's traces with a diversity rank; each of a problem's k traces weighs 1/k, so a problem weighs 1."""
    prompts = {p.id: task.prompt(p) for p in problems}
    ranked = traces[(traces.source == "debate") & (traces.diversity_rank >= 0)]
    k = Counter(ranked.problem)
    return [Example(t.problem, prompts[t.problem], t.text.strip(), 1 / k[t.problem]) for t in ranked.itertuples()]


def copies(config: params.Params) -> float:
    """At most `extract.max_traces` traces per problem."""
    return config.extract.max_traces


LOOK = ("DA", "#009E73", "X")
CONTROLS = ("rsft_single", "gold_rsft", "base_majority", "rsft", "da_single", "gold_da", "rsft_tokens")
METHOD = Method("da", *LOOK, 60, "05_da", controls=CONTROLS, examples=examples, copies=copies)
