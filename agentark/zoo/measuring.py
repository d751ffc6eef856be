"""What the measurements of the cards share: a network with its greedy answers, problems, and shares with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from random import Random

from agentark import engines, params, stats, tasks
from agentark.grade import overlap
from agentark.mas import prompts
from agentark.tasks import Problem, Task
from agentark.zoo.exercises import MODULES

ENGINE = params.Engine(name="transformers", batch=96, dtype="float32", share_prefix=True)
ALONE, TO_PEERS = 112, 480  # most tokens of a solution, and of a reply that checks five traces first


@dataclass(frozen=True)
class Network:
    """A trained network: its folder and its card."""

    folder: Path
    card: dict

    @cached_property
    def engine(self) -> engines.Engine:
        return engines.make(str(self.folder), ENGINE)

    @cached_property
    def greedy(self) -> dict[tuple[str, int], list[float]]:
        """The scores of greedy replies to the first n dev problems of a task, by (task, n), for those who keep them."""
        return {}


@dataclass(frozen=True)
class Section:
    """A section of a card: what its parts are, which settings they depend on, and of which networks it is measured.

    measure(network, part, settings): the numbers of one part.
    """

    measure: Callable[[Network, str, dict], dict]
    parts: Callable[[dict], Sequence[str]]
    settings: tuple[str, ...]
    of: Callable[[dict], bool] = lambda card: True


def debates(card: dict) -> bool:
    """Whether a network was trained to debate: it is a teacher."""
    return any(phase["shares"].get("debate") for phase in card["phases"])


def sees(card: dict) -> bool:
    """Whether a network was trained on pictures."""
    return any(phase["shares"].get("picture") for phase in card["phases"])


def problems_of(name: str, split: str, n: int) -> list[Problem]:
    """The first n problems of a split; of pretrain, on which the zoo is trained, n different ones of a new stream."""
    if split != "pretrain":
        return tasks.problems(name, split, n)
    found: dict[str, Problem] = {}
    for _, problem, *_ in MODULES[name].stream("pretrain", Random("card")):
        found.setdefault(problem.question, problem)
        if len(found) == n:
            break
    return list(found.values())


def answer(engine: engines.Engine, task: Task, problems: list[Problem], temperature: float) -> list[str]:
    """One reply to each problem."""
    chats = [prompts.user_turn(task.prompt(p)) for p in problems]
    return [c.text for c in engine.generate(chats, engines.Sampling(temperature, ALONE), seed=0)]


def points(task: Task, problems: list[Problem], texts: list[str]) -> list[float]:
    """The score of each reply: 0 or 1 if the task's measure is accuracy."""
    found = [task.verify(text, p) for p, text in zip(problems, texts, strict=True)]
    return [float(right) if task.measure == "accuracy" else overlap.score(parsed.flexible, p, task.measure)
            for p, (parsed, _, right) in zip(problems, found, strict=True)]  # fmt: skip


def chance(task: Task, problems: list[Problem]) -> float:
    """What an answer that does not depend on the problem scores.

    Of options: one of them at random.  Of other problems whose answers are right or wrong: the most frequent answer to
    all of them; of open-ended ones: the answer to another problem.
    """
    if problems[0].options:
        return 1 / len(problems[0].options)
    if task.measure == "accuracy":
        return Counter(p.answer for p in problems).most_common(1)[0][1] / len(problems)
    others = [*problems[1:], problems[0]]
    return sum(points(task, problems, [f"Answer: {other.answer}" for other in others])) / len(problems)


@cache
def dev_chance(name: str) -> float:
    """Chance on all dev problems of a task: on a few, the most frequent answer would be a frequent one by accident."""
    task = tasks.get(name)
    return _round(chance(task, tasks.problems(name, "dev", task.sizes["dev"])))


def steps(problem: Problem) -> int:
    """The number of lines of a problem's gold solution before its answer."""
    return len(problem.solution.splitlines()) - 1


def share(values: Sequence[float | bool], clusters: Sequence[Hashable] | None = None) -> dict:
    """The mean of (n,) scores with its 95 % interval: {value, n, low, high}, None for a mean of nothing.

    The interval is Wilson's if all are 0 or 1, else a bootstrap.  Scores of one cluster resemble each other: Wilson's
    interval is then that of as many independent ones as they are worth (`stats.effective_size`).
    """
    if not len(values):
        return {"value": None, "n": 0, "low": None, "high": None}
    scores = [float(value) for value in values]
    mean = sum(scores) / len(scores)
    if clusters is None:
        low, high = stats.mean_interval(scores)
    else:
        size = stats.effective_size(scores, clusters)
        low, high = stats.wilson(min(mean * size, size), size)
    return {"value": _round(mean), "n": len(scores), "low": _round(low), "high": _round(high)}


def compared(ours: Sequence[float], theirs: Sequence[float]) -> dict:
    """The difference of ours minus theirs on the same items, its 95 % interval and p: {difference, low, high, p}."""
    difference, low, high = stats.paired_bootstrap(theirs, ours)
    p = float(f"{stats.mcnemar_exact(theirs, ours):.3g}")
    return {"difference": _round(difference), "low": _round(low), "high": _round(high), "p": p}


def cut(values: Sequence, size: int) -> list[list]:
    """Consecutive parts of `size` values."""
    return [list(values[start : start + size]) for start in range(0, len(values), size)]


def _round(x: float) -> float:
    return round(float(x), 4)
