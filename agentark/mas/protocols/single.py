"""A single agent that answers alone: one sample per problem."""

from __future__ import annotations

from agentark.mas.log import Logger
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of one sample per problem."""
    return log.independent(problems, 1)


PROTOCOL = Protocol("single", "one agent", "#CC79A7", run, samples=lambda config: 1, order=0, method="teacher_single")
