"""Problems for the corpus of the zoo, with functions that write right and plausible wrong solutions of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from random import Random

from agentark import tasks
from agentark.tasks import mini_gsm, mini_hotpot, mini_math, mini_med, mini_meta, mini_qasper, mini_qmsum, mini_truthful
from agentark.tasks.problem import Problem, percentile

_TASKS = (mini_gsm, mini_math, mini_meta, mini_med, mini_hotpot, mini_qasper, mini_qmsum, mini_truthful)
MODULES = {module.TASK.name: module for module in _TASKS}
DEBATED = ("mini_gsm", "mini_math", "mini_meta", "mini_med")
_BY_LENGTH = ("mini_gsm", "mini_math", "mini_meta")  # their problems can be short, as a curriculum


@dataclass(frozen=True)
class Exercise:
    """A problem with functions that generate right and plausible wrong solutions of it."""

    task: str
    problem: Problem
    right: Callable[[], str]
    wrong: Callable[[], str]

    def is_right(self, trace: str) -> bool:
        """Whether the answer of a trace is right."""
        return tasks.get(self.task).verify(trace, self.problem)[1]

    @cached_property
    def solutions(self) -> tuple[str, ...]:
        """The different right solutions (of twelve draws, which find all of at most four forms almost always)."""
        return tuple(dict.fromkeys(self.right() for _ in range(12)))


def known(drug: str, share: float) -> bool:
    """Whether a network that is taught the facts of a share of the drugs is taught those of `drug`."""
    return percentile(f"known {drug}") < 100 * share


def exercise(task: str, rng: Random, lengths: tuple[int, int], known_drugs: float = 1.0) -> Exercise:
    """A new problem of a task's pretrain split.

    `lengths` are the least and most events of a story or operations of an expression; of mini_med's problems only those
    are used whose drug is among the known ones.
    """
    module = MODULES[task]
    if task == "mini_gsm":
        story, problem, stray = next(mini_gsm.stream("pretrain", rng, lengths))
        return Exercise(task, problem, lambda: mini_gsm.solve(story, rng), lambda: mini_gsm.spoil(story, stray, rng))
    stream = module.stream("pretrain", rng, *([lengths] if task in _BY_LENGTH else []))
    case, problem = next(stream)
    while task == "mini_med" and not known(case.drug, known_drugs):
        case, problem = next(stream)
    return Exercise(task, problem, lambda: module.solve(case, rng), lambda: module.spoil(case, rng))
