"""Isolated self-correction: each agent revises its own trace and never sees a peer's.

The control that a debate needs (Huang et al. 2024, "Large Language Models Cannot Self-Correct Reasoning Yet"): as many
agents, rounds and completions, the same rule for the end and the same vote.  What a debate gains over it, it owes to
the peers and not to a second attempt.
"""

from __future__ import annotations

from agentark.engines import Chat
from agentark.mas import prompts
from agentark.mas.log import Logger
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem

from .debate import debate


def of_itself(log: Logger, p: Problem, traces: list[str], agent: int) -> Chat:
    """The prompt of an agent that is shown its own trace alone."""
    return prompts.correct(log.task.prompt(p), traces[agent - 1], prompts.WORDINGS[log.config.wording], p.image)


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of a debate whose agents see no peer."""
    return debate(problems, log, prompt=of_itself)


LOOK = ("self-correction, then majority", "#56B4E9")
PROTOCOL = Protocol(
    "self_correction", *LOOK, run, lambda config: config.agents, order=4, rounds=True,
    method="teacher_self_correction", answers="aggregator",
)  # fmt: skip
