"""Self-consistency whose votes weigh as much as their completions are likely (Wang et al. 2023, the weighted sums).

As many samples as `self_consistency` has; the weight of a vote is the probability that the teacher gives to the whole
completion.  It needs an engine that reports log-probabilities.
"""

from __future__ import annotations

from agentark.engines import EngineError
from agentark.mas.log import Logger
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem

from .self_consistency import samples


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of independent samples with `log_prob`.  Raises EngineError if the engine does not report it."""
    rows = log.independent(problems, samples(log.config), logprobs=True)
    if silent := sum(row.get("log_prob") is None for row in rows):
        lacking = f"{silent} of {len(rows)} completions have no log-probabilities, by which weighted_consistency votes"
        raise EngineError(f"{lacking}: take another engine or server, or the protocol self_consistency")
    return rows


LOOK = ("vote weighted by likelihood", "#F0E442")
PROTOCOL = Protocol("weighted_consistency", *LOOK, run, samples, order=6, method="teacher_weighted_majority")
