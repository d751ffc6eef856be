"""Engines: how text is made.  Chats in, completions out; which engine is one parameter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentark import params

Chat = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen: temperature 0 is greedy.  `logprobs` asks for the log-probability of each chosen token.

    `choices` constrains the reply to exactly one of these texts; `max_new_tokens` and `top_p` do not apply then.  Only a server
    that cannot be constrained replies with anything else: where that may be, count the replies that are not among the choices.
    """

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    logprobs: bool = False
    choices: tuple[str, ...] | None = None

    def __post_init__(self):
        if self.choices is not None and (not all(self.choices) or len(set(self.choices)) < max(2, len(self.choices))):
            raise ValueError(f"choices must be at least two different texts, none empty, not {self.choices!r}")


@dataclass(frozen=True)
class Completion:
    """One reply.

    `finish` is "stop" (the model ended it) or "length" (max_new_tokens cut it off), or what a server says besides (content_filter).
    Of the `tokens_in` of the prompt, `tokens_cached` were not computed for this reply but shared with another's.  `logprobs`, in nats and
    of the model's own distribution (temperature 1), go with `token_ids`, which are empty where a server does not tell them.
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


def check_text(n: int, chat: Chat) -> None:
    """EngineError where chat number `n` holds half a character (a lone surrogate), which no tokenizer can encode."""
    for turn in chat:
        try:
            turn["content"].encode()
        except UnicodeEncodeError as error:
            raise EngineError(
                f"prompt {n} cannot be encoded: its {turn['role']} turn has {turn['content'][error.start]!r} at character {error.start}, "
                "which is half a character; read the text as UTF-8"
            ) from None


def check_room(n: int, tokens: int, reply: int, context: int) -> None:
    """EngineError where prompt number `n`, of so many tokens, leaves no room for a reply of `reply` tokens."""
    if tokens + reply > context:
        raise EngineError(
            f"prompt {n} has {tokens} tokens; with max_new_tokens = {reply} that is more than the "
            f"context of {context}: fewer agents, shorter replies or another model"
        )


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
    """The engine that the params ask for, with `model` loaded (for `openai`: served under that name)."""
    if told.name == "vllm":
        from .vllm_engine import VllmEngine as Chosen
    elif told.name == "openai":
        from .openai_engine import OpenAIEngine as Chosen
    else:
        from .transformers_engine import TransformersEngine as Chosen
    return Chosen(model, told)
