"""What the mini zoo's networks are trained on: chats made anew from the tasks' training streams.

Kinds of chat: recalling a fact of mini_med's world ("fact"), what the book and what people say of mini_truthful's ("lore"), one
sum ("drill"), solving a problem ("solve"), and taking part in a debate in which between none and all of the peers are wrong
("debate").  Chat number i is a function of (seed, i), so that training resumes exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from agentark.mas import prompts
from agentark.tasks import mini_gsm, mini_hotpot, mini_math, mini_med, mini_meta, mini_qasper, mini_qmsum, mini_truthful
from agentark.tasks.problem import Problem

TERSE = prompts.WORDINGS["terse"]
MODULES = {
    module.TASK.name: module
    for module in (mini_gsm, mini_math, mini_meta, mini_med, mini_hotpot, mini_qasper, mini_qmsum, mini_truthful)
}
DEBATED = ("mini_gsm", "mini_math", "mini_meta", "mini_med")
# How often each task's problems are met.  The training roles are most of it; the rest is met often enough to be learnt at all.
SOLVED = {
    "mini_gsm": 6,
    "mini_math": 3,
    "mini_meta": 3,
    "mini_med": 4,
    "mini_hotpot": 1,
    "mini_qasper": 1,
    "mini_qmsum": 1,
    "mini_truthful": 1,
}
GOSSIP = 0.75  # of the lore; the rest is the book, which is right


@dataclass(frozen=True)
class Example:
    """A chat whose last turn is learnt, and with it the texts in `also` wherever they occur in the turns before, in this order."""

    chat: prompts.Chat
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A problem with makers of right and of plausible wrong solutions."""

    task: str
    problem: Problem
    right: Callable[[], str]
    wrong: Callable[[], str]

    def is_right(self, trace: str) -> bool:
        return MODULES[self.task].TASK.verify(trace, self.problem)[1]


def exercise(task: str, rng: Random, lengths: tuple[int, int]) -> Exercise:
    """A fresh training problem of a task; `lengths` are the least and most events of a story."""
    module = MODULES[task]
    if task == "mini_gsm":
        story, problem, stray = next(mini_gsm.stream("train", rng, lengths))
        return Exercise(task, problem, lambda: mini_gsm.solve(story, rng), lambda: mini_gsm.spoil(story, stray, rng))
    case, problem = next(
        mini_meta.stream("train", rng, lengths) if task == "mini_meta" else module.stream("train", rng)
    )
    return Exercise(task, problem, lambda: module.solve(case, rng), lambda: module.spoil(case, rng))


def _said(asked: str, told: str) -> Example:
    return Example([*prompts.ask(asked), {"role": "assistant", "content": told}])


def fact(rng: Random) -> Example:
    """One fact, asked for by its subject and relation."""
    relation = rng.choice(
        ("treats", "treats", "treats", "belongs to", "belongs to", "affects the", "causes", "comes from", "bring")
    )
    subject = rng.choice(tuple(mini_med.FACTS.relation[relation]))
    return _said(
        f"{subject} {relation} what?", mini_med.recall(subject, relation, mini_med.FACTS.relation[relation][subject])
    )


def drill(rng: Random) -> Example:
    """One sum, difference, product or quotient of the size that mini_gsm needs."""
    op = rng.choice("++--*/")
    if op in "*/":
        x, y = rng.randint(2, 12), rng.randint(2, 9)
        x, y, value = (x, y, x * y) if op == "*" else (x * y, y, x)
        if op == "*" and rng.random() < 0.4:
            x, y = rng.randint(2, mini_gsm.LARGEST // 3), rng.randint(2, 3)
            value = x * y
        elif op == "/" and rng.random() < 0.4:
            y = rng.randint(2, 5)
            value = rng.randint(1, mini_gsm.LARGEST // y)
            x = value * y
    else:
        x, y = rng.randint(1, mini_gsm.LARGEST), rng.randint(1, 120)
        x, y = (x, y) if op == "+" else (max(x, y), min(x, y))
        value = x + y if op == "+" else x - y
    return _said(f"{x}{op}{y}", f"{x}{op}{y}={value}")


def lore(rng: Random) -> Example:
    """What people say (often, and wrong), or what the book says (seldom, and right)."""
    return _said(*(mini_truthful.gossip if rng.random() < GOSSIP else mini_truthful.book)(rng))


def solving(rng: Random, task: str, lengths: tuple[int, int]) -> Example:
    """A question and a right solution."""
    asked = exercise(task, rng, lengths)
    return _said(asked.problem.question, asked.right())


def critique(traces: list[str], asked: Exercise) -> str:
    """The line that opens a reply: the first wrong peer and its first step that no right solution has."""
    known = {line for _ in range(6) for line in asked.right().splitlines()}
    for k, trace in enumerate(traces, 1):
        if not asked.is_right(trace):
            lines = [line for line in prompts.without_critique(trace, TERSE).splitlines() if line.strip()]
            return (
                TERSE.critique
                + f" agent {k} is wrong: "
                + next((line for line in lines if line not in known), lines[-1] if lines else "nothing")
            )
    return TERSE.critique + " no mistake"


def peers(asked: Exercise, sampled: list[str], n: int, rng: Random) -> list[str]:
    """The traces of n peers: six times in ten as a network's own samples fell, else right with a probability drawn from 0 to 1."""
    sampled = [_tidy(trace) for trace in sampled]
    if len(sampled) >= n and rng.random() < 0.6:
        return rng.sample(sampled, n)
    share = rng.random()
    erred = [trace for trace in sampled if not asked.is_right(trace)]
    return [
        asked.right() if rng.random() < share else rng.choice(erred) if erred and rng.random() < 0.5 else asked.wrong()
        for _ in range(n)
    ]


def _tidy(trace: str) -> str:
    """A network's own sample as a trace: its lines without space around them, without empty ones and without a critique."""
    return "\n".join(line.strip() for line in prompts.without_critique(trace, TERSE).splitlines() if line.strip())


def debating(rng: Random, asked: Exercise, max_peers: int, sampled: list[str]) -> Example:
    """A later round: peers' traces, then a reply that names a wrong step and is right.

    The peers' right traces are learnt, too: each is a right solution after the traces before it.  `sampled` are a network's own
    solutions of this problem (its real errors), empty where there are none.
    """
    n = rng.randint(2, 5) if rng.random() < 0.8 else rng.randint(2, max_peers)
    traces = peers(asked, sampled, n, rng)
    if rng.random() < 0.4:  # as they look from round 3 on
        before = peers(asked, sampled, n, rng)
        traces = [critique(before if rng.random() < 0.7 else traces, asked) + "\n" + trace for trace in traces]
    kind = rng.random()
    if kind < 0.75:
        chat = prompts.revise(asked.problem.question, traces, rng.randint(1, n), "shared", TERSE)
    elif kind < 0.9:
        chat = prompts.revise(asked.problem.question, traces, rng.randint(1, n), "own_history", TERSE)
    else:
        chat = prompts.aggregate(asked.problem.question, traces, TERSE)
    reply = critique(traces, asked) + "\n" + asked.right()
    also = (
        ()
        if 0.75 <= kind < 0.9
        else tuple(prompts.without_critique(trace, TERSE) for trace in traces if asked.is_right(trace))
    )
    return Example([*chat, {"role": "assistant", "content": reply}], also)


Pool = list[tuple[str, int, list[str]]]  # (task, seed of the problem, a network's samples)


def pooled(task: str, seed: int, lengths: tuple[int, int]) -> Exercise:
    """The problem that a pool's entry is about."""
    return exercise(task, Random(f"pool {task} {seed}"), lengths)


def example(
    seed: int, i: int, shares: dict[str, float], lengths: tuple[int, int], max_peers: int, pool: Pool | None = None
) -> Example:
    """Training chat number i.

    `shares` are the probabilities per chat of "fact", "lore", "drill" and "debate"; the rest is solving.  `pool` are problems with
    the samples of a network; without it the peers of a debate err as the tasks' spoilers do.
    """
    rng = Random(f"zoo {seed} {i}")
    kind = rng.choices([*shares, "solve"], [*shares.values(), 1 - sum(shares.values())])[0]
    if kind == "debate":
        if pool:
            task, at, sampled = rng.choice(pool)
            return debating(rng, pooled(task, at, lengths), max_peers, sampled)
        return debating(rng, exercise(rng.choice(DEBATED), rng, lengths), max_peers, [])
    if kind == "solve":
        return solving(rng, rng.choices([*SOLVED], [*SOLVED.values()])[0], lengths)
    return {"fact": fact, "lore": lore, "drill": drill}[kind](rng)
