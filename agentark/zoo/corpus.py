"""The corpus on which the mini zoo is trained: chats generated from the tasks' training streams.

Kinds of chat: recalling a fact of mini_med's world ("fact"); what the book and what people say in mini_truthful's world
("lore"); one sum ("drill"); solving a problem ("solve"); taking part in a debate in which none, some or all of the
peers are wrong ("debate"); and solving or debating a problem about a picture, for networks with a vision tower
("picture").  Chat number i is a function of (seed, i), so that training resumes exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from agentark import tasks
from agentark.mas import prompts
from agentark.tasks import mini_gsm, mini_hotpot, mini_math, mini_med, mini_meta, mini_qasper, mini_qmsum, mini_truthful
from agentark.tasks.problem import Problem

TERSE = prompts.WORDINGS["terse"]
_TASKS = (mini_gsm, mini_math, mini_meta, mini_med, mini_hotpot, mini_qasper, mini_qmsum, mini_truthful)
MODULES = {module.TASK.name: module for module in _TASKS}
DEBATED = ("mini_gsm", "mini_math", "mini_meta", "mini_med")
# Relative frequencies of the tasks' problems: mostly the training roles, the others often enough to be learnt at all.
SOLVED = {"mini_gsm": 6, "mini_math": 3, "mini_meta": 3, "mini_med": 4, "mini_hotpot": 1, "mini_qasper": 1,
          "mini_qmsum": 1, "mini_truthful": 1}  # fmt: skip
GOSSIP = 0.75  # share of the lore; the rest is the book, which is right


@dataclass(frozen=True)
class Example:
    """A chat whose last turn is learnt, as are the texts in `also`, which occur in the turns before in this order."""

    chat: prompts.Chat
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exercise:
    """A problem with functions that generate right and plausible wrong solutions of it."""

    task: str
    problem: Problem
    right: Callable[[], str]
    wrong: Callable[[], str]

    def is_right(self, trace: str) -> bool:
        return tasks.get(self.task).verify(trace, self.problem)[1]


def exercise(task: str, rng: Random, lengths: tuple[int, int]) -> Exercise:
    """A new training problem of a task; `lengths` are the smallest and largest number of events of a story."""
    module = MODULES[task]
    if task == "mini_gsm":
        story, problem, stray = next(mini_gsm.stream("train", rng, lengths))
        return Exercise(task, problem, lambda: mini_gsm.solve(story, rng), lambda: mini_gsm.spoil(story, stray, rng))
    stream = mini_meta.stream("train", rng, lengths) if task == "mini_meta" else module.stream("train", rng)
    case, problem = next(stream)
    return Exercise(task, problem, lambda: module.solve(case, rng), lambda: module.spoil(case, rng))


def _exchange(question: str, reply: str) -> Example:
    return Example([*prompts.user_turn(question), {"role": "assistant", "content": reply}])


def fact(rng: Random) -> Example:
    """A question for one fact, by its subject and relation."""
    relation = rng.choice([*["treats"] * 3, *["belongs to"] * 2, "affects the", "causes", "comes from", "bring"])
    values = mini_med.FACTS.relation[relation]
    subject = rng.choice(tuple(values))
    return _exchange(f"{subject} {relation} what?", mini_med.recall(subject, relation, values[subject]))


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
    return _exchange(f"{x}{op}{y}", f"{x}{op}{y}={value}")


def lore(rng: Random) -> Example:
    """What people say (frequent and wrong), or what the book says (rare and right)."""
    return _exchange(*(mini_truthful.gossip if rng.random() < GOSSIP else mini_truthful.book)(rng))


def solving(rng: Random, task: str, lengths: tuple[int, int]) -> Example:
    """A question and a right solution."""
    solved = exercise(task, rng, lengths)
    return _exchange(solved.problem.question, solved.right())


def critique(traces: list[str], exercise: Exercise) -> str:
    """The line that opens a reply: the first wrong peer and its first step that no right solution has."""
    right_lines = {line for _ in range(6) for line in exercise.right().splitlines()}
    for number, trace in enumerate(traces, 1):
        if not exercise.is_right(trace):
            lines = [line for line in prompts.without_critique(trace, TERSE).splitlines() if line.strip()]
            mistake = next((line for line in lines if line not in right_lines), lines[-1] if lines else "nothing")
            return f"{TERSE.critique} agent {number} is wrong: {mistake}"
    return TERSE.critique + " no mistake"


def peers(exercise: Exercise, samples: list[str], n: int, rng: Random) -> list[str]:
    """The traces of n peers: with probability 0.6 a network's samples, else right with a uniform probability."""
    samples = [_tidy(trace) for trace in samples]
    if len(samples) >= n and rng.random() < 0.6:
        return rng.sample(samples, n)
    share = rng.random()
    errors = [trace for trace in samples if not exercise.is_right(trace)]

    def trace() -> str:
        if rng.random() < share:
            return exercise.right()
        return rng.choice(errors) if errors and rng.random() < 0.5 else exercise.wrong()

    return [trace() for _ in range(n)]


def _tidy(trace: str) -> str:
    """A network's sample as a trace: its lines stripped, without empty lines and without a critique."""
    return "\n".join(line.strip() for line in prompts.without_critique(trace, TERSE).splitlines() if line.strip())


def debating(rng: Random, exercise: Exercise, max_peers: int, samples: list[str]) -> Example:
    """A later round of a debate: the peers' traces, then a reply that names a wrong step and is right.

    The peers' right traces are learnt, too: each is a right solution after the traces before it.  `samples` are a
    network's own solutions of this problem, with its real errors; empty if there are none.
    """
    n = rng.randint(2, 5) if rng.random() < 0.8 else rng.randint(2, max_peers)
    traces = peers(exercise, samples, n, rng)
    if rng.random() < 0.4:  # as in round 3 and later: each trace opens with a critique
        before = peers(exercise, samples, n, rng)
        traces = [critique(before if rng.random() < 0.7 else traces, exercise) + "\n" + trace for trace in traces]
    kind = rng.random()
    question, image = exercise.problem.question, exercise.problem.image
    if kind < 0.75:
        chat = prompts.revise(question, traces, rng.randint(1, n), "shared", TERSE, image)
    elif kind < 0.9:
        chat = prompts.revise(question, traces, rng.randint(1, n), "own_history", TERSE, image)
    else:
        chat = prompts.aggregate(question, traces, TERSE, image)
    reply = critique(traces, exercise) + "\n" + exercise.right()
    right = tuple(prompts.without_critique(trace, TERSE) for trace in traces if exercise.is_right(trace))
    return Example([*chat, {"role": "assistant", "content": reply}], () if 0.75 <= kind < 0.9 else right)


Pool = list[tuple[str, int, list[str]]]  # (task, seed of the problem, samples of a network)


def pooled(task: str, seed: int, lengths: tuple[int, int]) -> Exercise:
    """The problem of an entry of a pool."""
    return exercise(task, Random(f"pool {task} {seed}"), lengths)


def example(seed: int, i: int, shares: dict[str, float], lengths: tuple[int, int], max_peers: int,
            pool: Pool | None = None) -> Example:  # fmt: skip
    """Training chat number i.

    `shares` are the probabilities of "fact", "lore", "drill", "debate" and "picture"; the rest is solving.
    `pool` are problems with samples of a network; without it, the wrong peers of a debate are those that the tasks'
    `spoil` generates.
    """
    rng = Random(f"zoo {seed} {i}")
    kind = rng.choices([*shares, "solve"], [*shares.values(), 1 - sum(shares.values())])[0]
    if kind == "picture":
        from . import pictures  # it builds on this module

        return pictures.example(rng, max_peers if shares.get("debate") else 0)
    if kind == "debate":
        if pool:
            task, problem_seed, samples = rng.choice(pool)
            return debating(rng, pooled(task, problem_seed, lengths), max_peers, samples)
        return debating(rng, exercise(rng.choice(DEBATED), rng, lengths), max_peers, [])
    if kind == "solve":
        return solving(rng, rng.choices([*SOLVED], [*SOLVED.values()])[0], lengths)
    return {"fact": fact, "lore": lore, "drill": drill}[kind](rng)
