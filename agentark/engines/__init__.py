"""Engines generate text: chats in, completions out; which engine is one parameter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentark import params

Chat = Sequence[dict[str, str]]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.  Temperature 0 is greedy; `logprobs` requests the log-probability of each chosen token.

    `choices` constrains the reply to exactly one of these texts; `max_new_tokens` and `top_p` do not apply then.  Only
    a server that does not support constraints replies with anything else: count the replies that are not among them.
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

    `finish` is "stop" (the model ended it), "length" (max_new_tokens cut it off), or another reason that a server
    reports (content_filter).  Of the `tokens_in` of the prompt, `tokens_cached` were not computed for this reply but
    shared with another; `tokens_in` and `tokens_out` are None if a server does not count them.  `logprobs`, in nats and
    of the model's own distribution (temperature 1), belong to `token_ids`, which are empty if a server does not report
    them.
    """

    text: str
    token_ids: tuple[int, ...]
    finish: str
    tokens_in: int | None
    tokens_cached: int
    tokens_out: int | None
    logprobs: tuple[float, ...] | None = None


class EngineError(RuntimeError):
    """Text that cannot be generated: the message says why and what to do."""


def check_text(index: int, chat: Chat) -> None:
    """Raises EngineError if chat number `index` holds half a character (a lone surrogate): no tokenizer encodes it."""
    for turn in chat:
        try:
            turn["content"].encode()
        except UnicodeEncodeError as error:
            raise EngineError(
                f"prompt {index} cannot be encoded: its {turn['role']} turn has {turn['content'][error.start]!r} at "
                f"character {error.start}, which is half a character; read the text as UTF-8"
            ) from None


def refuse_pictures(chats: Sequence[Chat], why: str) -> None:
    """Raises EngineError, which says why, for the first chat with a picture."""
    for index, chat in enumerate(chats):
        if any(turn.get("image") for turn in chat):
            raise EngineError(f"prompt {index} has a picture, {why}")


def check_length(index: int, prompt_tokens: int, reply_tokens: int, context: int) -> None:
    """Raises EngineError if prompt number `index` and its reply, both in tokens, exceed the context."""
    if prompt_tokens + reply_tokens > context:
        raise EngineError(
            f"prompt {index} has {prompt_tokens} tokens; with max_new_tokens = {reply_tokens} that is more than the "
            f"context of {context}: fewer agents, shorter replies or another model"
        )


class Engine(Protocol):
    """What the other packages use of an engine."""

    name: str

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """One completion per chat, in order.

        Put chats that share a prefix next to each other: the prefix is then computed once.  The same chats with the
        same seed give the same completions on the same machine.  Raises EngineError if a prompt leaves no room for the
        reply.
        """
        ...


def make(model: str, config: params.Engine) -> Engine:
    """The engine that `config` names, with `model` loaded (for `openai`: served under that name)."""
    if config.name == "vllm":
        from .vllm_engine import VllmEngine

        return VllmEngine(model, config)
    if config.name == "openai":
        from .openai_engine import OpenAIEngine

        return OpenAIEngine(model, config)
    from .transformers_engine import TransformersEngine

    return TransformersEngine(model, config)


def check_served(models: Iterable[tuple[str, params.Engine]]) -> None:
    """Raises EngineError if a server cannot be reached or does not have a model: before hours of debate, not after."""
    for model, config in models:
        make(model, config)


def revision(model: str, config: params.Engine) -> str:
    """What identifies a network's weights in a manifest (see `models.load.revision`): of a served one, its name."""
    from agentark.models import load

    return model if config.serves else load.revision(model)


def notes(model: str, config: params.Engine) -> dict[str, Any]:
    """What the manifest of generated texts says besides `config`: the parameters that a server of `model` refused."""
    if not config.serves:
        return {}
    from . import openai_engine

    return openai_engine.notes(model, config)
