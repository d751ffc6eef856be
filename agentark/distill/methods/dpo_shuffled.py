"""`dpo_shuffled`, the control of DPO's preferences: the same pairs, of which a coin says which trace is preferred."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from agentark.distill.data import Pair
from agentark.distill.method import Method

from . import dpo


def pairs(task, problems, traces, most: int, seed: int) -> list[Pair]:
    """DPO's pairs, about half of them turned around."""
    coin = Random(f"preferences {seed}")
    turned = ((pair, coin.random() < 0.5) for pair in dpo.pairs(task, problems, traces, most, seed))
    return [replace(p, preferred=p.other, other=p.preferred) if turn else p for p, turn in turned]


LOOK = ("DPO, shuffled preferences", "#79C0C8", "$s$")
METHOD = Method("dpo_shuffled", *LOOK, 68, "05_dpo", controls=("rsft",), control_of="dpo", pairs=pairs)
