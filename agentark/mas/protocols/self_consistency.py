"""Self-consistency (Wang et al. 2023): a majority of independent samples, as many as a debate has completions."""

from __future__ import annotations

from agentark import params
from agentark.mas.log import Logger
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem


def samples(config: params.Debate) -> int:
    """The maximum number of completions of a problem's debate: of all agents in all rounds, and of the aggregator."""
    return config.agents * config.rounds + (config.aggregator == "llm")


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of independent samples."""
    return log.independent(problems, samples(log.config))


LOOK = ("majority vote, equal samples", "#009E73")
CONTROLS: dict[str, tuple[str, ...]] = {"test": ("weighted_consistency",)}
PROTOCOL = Protocol("self_consistency", *LOOK, run, samples, order=1, method="teacher_majority", controls=CONTROLS)
