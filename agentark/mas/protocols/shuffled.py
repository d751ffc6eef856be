"""The control of the debate: its agents are shown the traces of another problem.

A debate that does not depend on the traces of the peers would be as good as with the right ones.
"""

from __future__ import annotations

from agentark.mas.log import Logger
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem

from .debate import Traces, debate


def of_the_next(traces: Traces) -> Traces:
    """Each problem with the traces of the next one, the last with those of the first."""
    values = list(traces.values())
    return dict(zip(traces, values[1:] + values[:1], strict=True))


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of a debate whose peers' traces belong to another problem."""
    return debate(problems, log, of_the_next)


LOOK = ("debate of shuffled peers", "#D55E00")
PROTOCOL = Protocol(
    "shuffled", *LOOK, run, lambda config: config.agents, order=3, rounds=True, answers="aggregator", by_problem=False
)
