"""The ways to answer with a teacher of the zoo on dev problems: alone, by votes, and by debates.

The standard is the majority of as many independent samples as the debate has completions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp

from agentark import store, tasks
from agentark.engines import Chat, Sampling
from agentark.mas import prompts, votes
from agentark.mas.protocols.shuffled import of_the_next
from agentark.tasks import Problem
from agentark.zoo.exercises import DEBATED
from agentark.zoo.measuring import ALONE, TO_PEERS, Network, Section, compared, cut, debates, dev_chance, share

AGENTS, ROUNDS = 5, 3
SAMPLES = AGENTS * ROUNDS
TERSE = prompts.WORDINGS["terse"]
EQUAL = f"majority of {SAMPLES} samples"
Traces = list[list[str]]  # of each problem, one trace of each agent


def measure(network: Network, name: str, settings: dict) -> dict:
    """Answer a task's first dev problems in all ways.

    Returns problems, chance, and ways: of each, accuracy and, against the majority of equal samples on the same
    problems, difference.  The agents of all debates start with the first of the independent samples, so that ways
    differ in what comes afterwards only; no debate stops early.
    """
    task, heat = tasks.get(name), settings["temperature"]
    problems = tasks.problems(name, "dev", settings["debated"])

    def generate(label: str, chats: Sequence[Chat], sampling: Sampling) -> list:
        return network.engine.generate(chats, sampling, store.chunk_seed(0, f"{name} {label}"))

    def rounds(label: str, first: Traces, chats_of: Callable[[Problem, list[str]], list[Chat]],
               shown: Callable[[Traces], Traces] = lambda traces: traces) -> list[Traces]:  # fmt: skip
        """The traces of the rounds from the second; `chats_of` are the agents' prompts for the traces shown to them."""
        found, traces = [], first
        for number in range(2, ROUNDS + 1):
            chats = [chat for p, some in zip(problems, shown(traces), strict=True) for chat in chats_of(p, some)]
            completions = generate(f"{label} {number}", chats, Sampling(heat, TO_PEERS))
            traces = cut([c.text for c in completions], AGENTS)
            found.append(traces)
        return found

    def debate(p: Problem, some: list[str]) -> list[Chat]:
        return [prompts.revise(task.prompt(p), some, k, "shared", TERSE) for k in range(1, AGENTS + 1)]

    def alone(p: Problem, some: list[str]) -> list[Chat]:
        return [prompts.correct(task.prompt(p), trace, TERSE) for trace in some]

    def right(answers: Sequence[str | None]) -> list[bool]:
        pairs = zip(problems, answers, strict=True)
        return [answer is not None and task.equal(p.answer, answer) for p, answer in pairs]

    def read(traces: Traces) -> list[list[str | None]]:
        return [[task.parse(text, p).flexible for text in some] for p, some in zip(problems, traces, strict=True)]

    def voted(traces: Traces) -> list[bool]:
        return right([votes.majority(answers, task.equal) for answers in read(traces)])

    asked = [prompts.user_turn(task.prompt(p)) for p in problems for _ in range(SAMPLES)]
    samples = cut(generate("samples", asked, Sampling(heat, ALONE, logprobs=True)), SAMPLES)
    texts = [[c.text for c in some] for some in samples]
    first = [some[:AGENTS] for some in texts]
    weights = [[exp(sum(c.logprobs)) for c in some] for some in samples]
    pairs = zip(read(texts), weights, strict=True)
    found = {
        "one agent": right([answers[0] for answers in read(texts)]),
        f"majority of {AGENTS} samples": voted(first),
        EQUAL: voted(texts),
        f"likelihood-weighted vote of {SAMPLES} samples": right([votes.weighted(a, w, task.equal) for a, w in pairs]),
    }
    for label, chats_of, shown in (("debate", debate, list), ("debate of shuffled peers", debate, shuffled),
                                   ("self-correction, then majority", alone, list)):  # fmt: skip
        for number, traces in enumerate(rounds(label, first, chats_of, shown), 2):
            found[f"{label}, round {number}"] = voted(traces)
    ways = {}
    for way, answers in found.items():
        ways[way] = {"accuracy": share(answers)}
        if way != EQUAL:
            ways[way]["difference"] = compared(answers, found[EQUAL])
    return {"problems": len(problems), "chance": dev_chance(name), "ways": ways}


def shuffled(traces: Traces) -> Traces:
    """Each problem with the traces of the next one: the control of the debate."""
    return [*of_the_next({str(n): some for n, some in enumerate(traces)}).values()]


SECTION = Section(measure, lambda settings: list(DEBATED), ("debated", "temperature"), debates)
