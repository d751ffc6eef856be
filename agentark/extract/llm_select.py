"""Selects diverse traces with a language model as judge (A.4; DECISIONS 10).

The judge sees the problem, its gold answer and the correct traces, and chooses one more trace at a time until it
replies "none" or there are enough.  The first trace is the one with which `diverse.choose` begins (a corrective one if
there is one), so that R-SFT learns from the same traces however those for DA are chosen.  Deviation from the paper:
traces with the same structure as a chosen one (by `diverse`) are not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from agentark import engines, prompts, store
from agentark.params import LanguageModel

from . import diverse, llm_choice

NONE = "none"


@dataclass(frozen=True)
class Candidates:
    """The correct traces of a problem; `preferred[i]` marks those to begin with (corrective ones, DECISIONS 8)."""

    problem: str
    question: str
    gold: str
    traces: tuple[str, ...]
    preferred: tuple[bool, ...]


@dataclass(frozen=True)
class Selection:
    """The chosen indices in order, and why there are no more: "enough", "none left", "none" (a reply) or "unparsed"."""

    chosen: tuple[int, ...]
    stopped: str


def choose(
    engine: engines.Engine,
    question: str,
    traces: list[str],
    preferred: list[bool],
    max_traces: int,
    seed: int,
    *,
    gold: str,
    config: LanguageModel,
    problem: str = "",
) -> list[int]:
    """Do the same as `diverse.choose` with a language model; `problem`, its id, is part of the seed."""
    candidates = Candidates(problem, question, gold, tuple(traces), tuple(preferred))
    return list(select(engine, [candidates], max_traces, config, seed)[0].chosen)


def select(
    engine: engines.Engine, problems: Sequence[Candidates], max_traces: int, config: LanguageModel, seed: int
) -> list[Selection]:
    """Select up to `max_traces` traces per problem, each judged to be the most different from those before it.

    Each further trace takes one request for all problems together.  A reply that is not one of the offered numbers ends
    its problem.
    """
    signatures = [[diverse.signature(trace) for trace in candidates.traces] for candidates in problems]
    # a random order, so that no agent always comes first
    orders = [Random(f"{seed} {c.problem} shown").sample(range(len(c.traces)), len(c.traces)) for c in problems]
    chosen = [diverse.choose(list(c.traces), list(c.preferred), 1, Random(f"{seed} {c.problem}")) for c in problems]
    stopped = ["none left" if not c.traces else "enough" if max_traces == 1 else "" for c in problems]
    for step in range(1, max_traces):
        offers = {}
        for n in (n for n, reason in enumerate(stopped) if not reason):
            used = {signatures[n][i] for i in chosen[n]}
            numbers = tuple(str(k) for k, i in enumerate(orders[n], 1) if signatures[n][i] not in used)
            if numbers:
                offers[n] = (*numbers, NONE)
            else:
                stopped[n] = "none left"
        if not offers:
            break
        chats = [chat(problems[n], orders[n], chosen[n]) for n in offers]
        step_seed = store.chunk_seed(seed, "judge", step, problems[next(iter(offers))].problem)
        replies = llm_choice.choose(engine, chats, list(offers.values()), config, step_seed)
        for n, reply in zip(offers, replies, strict=True):
            if reply.choice in (None, NONE):
                stopped[n] = reply.choice or "unparsed"
            else:
                chosen[n].append(orders[n][int(reply.choice) - 1])
    return [Selection(tuple(indices), reason or "enough") for indices, reason in zip(chosen, stopped, strict=True)]


def chat(candidates: Candidates, order: Sequence[int], chosen: Sequence[int]) -> engines.Chat:
    """Return the judge's prompt: the traces in the given order, numbered from 1, and the numbers of the chosen ones."""
    sections = prompts.read("diverse")
    quoted = {str(k): prompts.quote(candidates.traces[i]) for k, i in enumerate(order, 1)}
    solutions = "\n\n".join(prompts.fill(sections["solution"], number=k, trace=text) for k, text in quoted.items())
    selected = ", ".join(str(list(order).index(i) + 1) for i in chosen)
    question, gold = prompts.quote(candidates.question), prompts.quote(candidates.gold)
    content = prompts.fill(sections["user"], question=question, gold=gold, solutions=solutions, selected=selected)
    return [{"role": "user", "content": content}]
