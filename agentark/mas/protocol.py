"""Protocols: who talks to whom.  Each file of agentark/mas/protocols/ declares one as `PROTOCOL`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from agentark.discovery import by_name, discover

if TYPE_CHECKING:
    from agentark import params
    from agentark.tasks import Problem

    from .log import Logger


@dataclass(frozen=True)
class Protocol:
    """A multi-agent protocol, or a control of one.

    run(problems, logger): the rows of its log (see `generation.run`).  samples(config): the completions per problem in
    the first round.  alone(config): how many agents, from number 1 on, see the question alone in that round (by
    default all).  order: its place in tables and legends.  rounds: whether agents answer again, in up to
    `debate.rounds` rounds.  method: the name of its answers in tables ("": they are not shown).  answers: how a
    problem's answer is read from its log, "aggregator" (the row of agent 0) or "majority" (weighted by `log_prob`, if
    the rows have it).  controls: the protocols that are run beside it, by split.  by_problem: whether what is said of a
    problem does not depend on the others.
    """

    name: str
    label: str
    colour: str
    run: Callable[[list[Problem], Logger], list[dict]]
    samples: Callable[[params.Debate], int]
    order: int
    alone: Callable[[params.Debate], int] | None = None
    rounds: bool = False
    method: str = ""
    answers: str = "majority"
    controls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_problem: bool = True


@cache
def protocols() -> dict[str, Protocol]:
    """Return every protocol by its name, in reading order."""
    declared = by_name(discover("agentark.mas.protocols", "PROTOCOL"), "protocol")
    return dict(sorted(declared.items(), key=lambda item: item[1].order))
