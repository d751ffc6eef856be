"""Engines: how text is made.  Chats in, completions out; which engine is one parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentark import params

Chat = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: temperature 0 is greedy.  `logprobs` asks for the log-probability of each chosen token."""

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    logprobs: bool = False


@dataclass(frozen=True)
class Completion:
    """One reply.

    `finish` is "stop" (the model ended it) or "length" (max_new_tokens cut it off).  Of the `tokens_in` of the prompt,
    `tokens_cached` were not computed for this reply but shared with another's.  `logprobs`, in nats and of the model's own
    distribution (temperature 1), go with `token_ids`.
    """

    text: str
    token_ids: tuple[int, ...]
    finish: str
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    logprobs: tuple[float, ...] | None = None


class EngineError(RuntimeError):
    """Text that cannot be made: the message says why and what to do."""


class Engine(Protocol):
    """What the rooms after this one use of an engine."""

    name: str

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """A completion for each chat, in order.

        Put chats that share a prefix side by side: their prefix is then computed once.  The same chats with the same
        seed give the same completions on the same machine.  Raises EngineError where a prompt leaves no room for the reply.
        """
        ...


def make(model: str, told: params.Engine) -> Engine:
    """The engine that the params ask for, with `model` loaded."""
    from .transformers_engine import TransformersEngine

    return TransformersEngine(model, told)
