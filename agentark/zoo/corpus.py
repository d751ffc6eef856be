"""The corpus on which the mini zoo is trained: chats generated from the tasks' pretrain streams.

Kinds of chat: recalling a fact of mini_med's world ("fact"); what the book and what people say in mini_truthful's
world ("lore"); one sum ("drill"); solving a problem ("solve"); checking one step ("recheck"), quoting lines ("quote")
and both at once ("review"), the skills of a critic; taking part in a debate in which none, some or all of the peers are
wrong ("debate"); and solving or debating a problem about a picture, for networks with a vision tower ("picture").  Chat
number i is a function of (seed, i), so that training resumes exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from agentark.mas import checks, prompts
from agentark.tasks import mini_gsm, mini_med, mini_truthful

from .checking import check, parts, reply, tidy
from .exercises import DEBATED, MODULES, Exercise, exercise, known

TERSE = prompts.WORDINGS["terse"]
# Relative frequencies of the tasks' problems: mostly the training roles, the others often enough to be learnt at all.
SOLVED = {"mini_gsm": 6, "mini_math": 3, "mini_meta": 3, "mini_med": 4, "mini_hotpot": 1, "mini_qasper": 1,
          "mini_qmsum": 1, "mini_truthful": 1}  # fmt: skip
# Relative frequencies of the prompts that a debater sees: of Du et al.'s debate in both layouts, of its aggregator, of
# self-correction, and of the opponent and the judge of Liang et al.
PROTOCOLS = {"shared": 44, "own_history": 10, "aggregate": 12, "correct": 18, "oppose": 8, "judge": 8}
FEW = 0.93  # share of the debates with at most five peers; longer ones take many tokens for one reply
FACTS_RECHECKED = 0.4  # share of the steps that are checked alone; the rest is sums
WRONG_REVIEWED = 0.35  # share of the lines of a review that are wrong; it ends with the first of them
FACTS_QUOTED = 0.3  # share of the lines that are quoted alone
SLIPS = (-10, -2, -1, 1, 2, 10)
VERBS = ("gets", "loses", "each", "so", "whole", "left")
GOSSIP = 0.75  # share of the lore; the rest is the book, which is right
FACTS = ["treats"] * 6 + ["belongs to"] * 3 + ["affects the", "causes", "comes from", "strikes", "spreads by", "bring"]


@dataclass(frozen=True)
class Example:
    """A chat whose last turn is learnt, as are the texts in `also`, which occur in the turns before in this order."""

    chat: prompts.Chat
    also: tuple[str, ...] = ()


def _exchange(question: str, answer: str) -> Example:
    return Example([*prompts.user_turn(question), {"role": "assistant", "content": answer}])


def fact(rng: Random, known_drugs: float = 1.0) -> Example:
    """A question for one fact, by its subject and relation; of the drugs, only known ones are asked for."""
    relation = rng.choice(FACTS)
    values = mini_med.FACTS.relation[relation]
    subject = rng.choice([name for name in values if name not in mini_med.DRUGS or known(name, known_drugs)])
    return _exchange(f"{subject} {relation} what?", mini_med.recall(subject, relation, values[subject]))


def drill(rng: Random) -> Example:
    """One sum, difference, product or quotient of the size that mini_gsm needs."""
    op, largest = rng.choice("++--*/"), mini_gsm.LARGEST
    if op in "*/":
        x, y = rng.randint(2, 12), rng.randint(2, 9)
        x, y, value = (x, y, x * y) if op == "*" else (x * y, y, x)
        if op == "*" and rng.random() < 0.4:
            x, y = rng.randint(2, largest // 3), rng.randint(2, 3)
            value = x * y
        elif op == "/" and rng.random() < 0.4:
            y = rng.randint(2, 5)
            value = rng.randint(1, largest // y)
            x = value * y
    else:
        x, y = rng.randint(1, largest), rng.randint(1, largest)
        x, y = (x, y) if op == "+" else (max(x, y), min(x, y))
        value = x + y if op == "+" else x - y
    return _exchange(f"{x}{op}{y}", f"{x}{op}{y}={value}")


def recheck(rng: Random, known_drugs: float = 1.0) -> Example:
    """One sum or fact whose result is wrong half of the time, and its check, as in a reply to peers.

    In debates most steps are right, so that a network would learn to repeat a result instead of computing it again.
    """
    step = _checked(rng, known_drugs, 0.5)
    return _exchange(f"{prompts.CHECK}: {_said(step)}", str(step))


def review(rng: Random, known_drugs: float = 1.0) -> Example:
    """Lines of several agents that have nothing to do with each other, and the check of one agent, as in a reply.

    The check follows neither from a problem nor from other lines: each line has to be found and computed again.
    """
    agents = rng.choice((1, 1, 2, 2, 3))
    steps = {k: [_checked(rng, known_drugs, WRONG_REVIEWED) for _ in range(rng.randint(1, 3))]
             for k in range(1, agents + 1)}  # fmt: skip
    traces = {k: "\n".join(map(_said, of)) for k, of in steps.items()}
    asked = rng.randint(1, agents)
    letters = [line.strip()[0] for line in prompts.lettered(traces)[asked]]
    named = [replace(step, letter=letter) for step, letter in zip(steps[asked], letters, strict=True)]
    first_wrong = next((n for n, step in enumerate(named) if not step.right), len(named))
    said = ", ".join(map(str, named[: first_wrong + 1]))
    return _exchange(f"{prompts.listed(traces, TERSE)}\n\n{prompts.CHECK} {asked}.", f"{prompts.CHECK} {asked}: {said}")


def _checked(rng: Random, known_drugs: float, wrong: float) -> checks.Step:
    """The check of one sum or fact whose result is wrong with the probability `wrong`."""
    is_fact = rng.random() < FACTS_RECHECKED
    computed, result = parts((fact(rng, known_drugs) if is_fact else drill(rng)).chat[-1]["content"].removesuffix("."))
    said = result
    if rng.random() < wrong:
        if is_fact:
            values = mini_med.FACTS.relation[next(r for r in FACTS if computed.endswith(f" {r}"))].values()
            said = rng.choice(sorted({*values} - {result}))
        else:
            near = [n for slip in SLIPS if (n := int(result) + slip) >= 0]
            said = str(rng.choice([rng.choice(near), rng.choice([n for n in range(100) if n != int(result)])]))
    computed = f"{computed} " if is_fact else f"{rng.choice(VERBS)} {computed}"
    return checks.Step(f"{computed}{result}", said, said == result)


def _said(step: checks.Step) -> str:
    """The line that a check is about: what it computes, with the result that it says."""
    return step.own.removesuffix(parts(step.own)[1]) + step.said


def quote(rng: Random) -> Example:
    """Lines of several agents whose contents follow no rule, and some of them quoted by their letters.

    A network that guesses a line from the problem cannot do it: it has to look the line up.
    """
    agents = rng.choice((1, 1, 1, 2, 2, 3, 5))
    traces = {k: "\n".join(_line(rng) for _ in range(rng.randint(1, 4))) for k in range(1, agents + 1)}
    lines = [line.strip() for of in prompts.lettered(traces).values() for line in of]
    asked = rng.sample(lines, rng.randint(1, len(lines)))
    question = f"{prompts.listed(traces, TERSE)}\n\nQuote {', '.join(line[0] for line in asked)}."
    return _exchange(question, ", ".join(asked))


def _line(rng: Random) -> str:
    """A line of a solution with numbers or names at random."""
    if rng.random() < FACTS_QUOTED:
        relation = rng.choice(FACTS)
        values = mini_med.FACTS.relation[relation]
        return f"{rng.choice([*values])} {relation} {rng.choice([*values.values()])}"
    x, y, z = (rng.randint(1, mini_gsm.LARGEST) for _ in range(3))
    return f"{rng.choice(VERBS)} {x}{rng.choice('+-*/')}{y}={z}"


def lore(rng: Random) -> Example:
    """What people say (frequent and wrong), or what the book says (rare and right)."""
    return _exchange(*(mini_truthful.gossip if rng.random() < GOSSIP else mini_truthful.book)(rng))


def solving(rng: Random, task: str, lengths: tuple[int, int], known_drugs: float = 1.0) -> Example:
    """A question and a right solution."""
    solved = exercise(task, rng, lengths, known_drugs)
    return _exchange(solved.problem.question, solved.right())


def peers(given: Exercise, samples: list[str], n: int, rng: Random) -> list[str]:
    """The traces of n peers: with probability 0.6 a network's samples, else right with a uniform probability."""
    samples = [tidy(trace) for trace in samples]
    if len(samples) >= n and rng.random() < 0.6:
        return rng.sample(samples, n)
    share = rng.random()
    errors = [trace for trace in samples if not given.is_right(trace)]

    def trace() -> str:
        if rng.random() < share:
            return given.right()
        return rng.choice(errors) if errors and rng.random() < 0.5 else given.wrong()

    return [trace() for _ in range(n)]


def debating(rng: Random, given: Exercise, max_peers: int, samples: list[str]) -> Example:
    """A later round of a protocol: the peers' traces, then a reply that checks them and is right.

    The peers' right traces are learnt, too: each is a right solution after the traces before it.  `samples` are a
    network's own solutions of this problem, with its real errors; empty if there are none.
    """
    kind = rng.choices([*PROTOCOLS], [*PROTOCOLS.values()])[0]
    n = {"correct": 1, "oppose": rng.randint(1, 2), "judge": 2}.get(kind)
    n = n or (rng.randint(2, 5) if rng.random() < FEW else rng.randint(2, max_peers))
    traces, agent = peers(given, samples, n, rng), rng.randint(1, n)
    question, image = given.problem.question, given.problem.image
    others = [k for k in range(1, n + 1) if k != agent]
    order = [agent, *others] if kind in ("shared", "own_history", "oppose") else list(range(1, n + 1))
    if kind in ("shared", "own_history"):
        chat = prompts.revise(question, traces, agent, kind, TERSE, image)
    elif kind == "correct":
        chat = prompts.correct(question, traces[0], TERSE, image)
    elif kind == "oppose":
        chat = prompts.oppose(question, traces, agent, TERSE, image)
    else:
        chat = {"aggregate": prompts.aggregate, "judge": prompts.judge}[kind](question, traces, TERSE, image)
    own_turn = {"own_history": agent, "correct": 1}.get(kind)  # the agent whose trace is not in the list
    lines = prompts.lettered({k: trace for k, trace in enumerate(traces, 1) if k != own_turn})
    said = {"role": "assistant", "content": reply(traces, order, given, lines)}
    right = [] if own_turn else [k for k in lines if not check(k, traces[k - 1], given).wrong]
    return Example([*chat, said], tuple("\n".join(lines[k]) for k in right))


Pool = list[tuple[str, int, list[str]]]  # (task, seed of the problem, samples of a network)


def pooled(task: str, seed: int, lengths: tuple[int, int], known_drugs: float = 1.0) -> Exercise:
    """The problem of an entry of a pool."""
    return exercise(task, Random(f"pool {task} {seed}"), lengths, known_drugs)


def example(seed: int, i: int, phase: dict, max_peers: int, pool: Pool | None = None,
            known_drugs: float = 1.0) -> Example:  # fmt: skip
    """Training chat number i of a phase.

    phase: `shares` are the probabilities of "fact", "lore", "drill", "recheck", "quote", "debate" and "picture", the
        rest is solving; `lengths` are the least and most events of a story; `solved`, if given, are the relative
        frequencies of the tasks that are solved, instead of SOLVED.
    pool: problems with samples of a network; without it, the wrong peers of a debate are those that the tasks' `spoil`
        generates.
    known_drugs: the share of mini_med's drugs that the network is taught.
    """
    rng, shares, lengths = Random(f"zoo {seed} {i}"), phase["shares"], tuple(phase["lengths"])
    kind = rng.choices([*shares, "solve"], [*shares.values(), 1 - sum(shares.values())])[0]
    if kind == "picture":
        from . import pictures  # it builds on this module

        return pictures.example(rng, max_peers if shares.get("debate") else 0)
    if kind == "debate":
        if pool:
            task, problem_seed, samples = rng.choice(pool)
            return debating(rng, pooled(task, problem_seed, lengths, known_drugs), max_peers, samples)
        return debating(rng, exercise(rng.choice(DEBATED), rng, lengths, known_drugs), max_peers, [])
    if kind == "solve":
        solved = phase.get("solved", SOLVED)
        return solving(rng, rng.choices([*solved], [*solved.values()])[0], lengths, known_drugs)
    if kind == "fact":
        return fact(rng, known_drugs)
    if kind in ("recheck", "review"):
        return {"recheck": recheck, "review": review}[kind](rng, known_drugs)
    one_of: dict[str, Callable[[Random], Example]] = {"lore": lore, "drill": drill, "quote": quote}
    return one_of[kind](rng)


__all__ = ["DEBATED", "MODULES", "Example", "Pool", "debating", "drill", "example", "fact", "lore", "pooled", "solving"]
