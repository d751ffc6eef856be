"""The `openai` engine: any server that speaks OpenAI's chat completions, such as `vllm serve`.

Requests are sent in the order of the chats, at most `concurrency` at a time, so that the agents of a problem are with
the server together and it can share their prefix.  The server is asked once, at `/models`, what it is.  vLLM reports
token ids, continues half-written turns and constrains replies natively.  Elsewhere `choices` are requested as a JSON
schema.  If a server refuses the schema as well, the reply is free text, which is accepted as a choice only if it
differs from it in nothing but case, quotes and punctuation.

Each sampled request has a seed; whether the same seed gives the same reply is up to the server.  Cached tokens are
those that it reports (`vllm serve` does with --enable-prompt-tokens-details).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from agentark import params, pictures, store
from agentark.models import load as models

from . import Chat, Completion, EngineError, Sampling, check_text
from .server import Server

CONTINUING = ("vllm", "sglang")  # servers that support continue_final_message, by the owner in /models


class OpenAIEngine:
    """Generates with requests to a server."""

    name = "openai"

    def __init__(self, model: str, config: params.Engine):
        """Raises EngineError if the server cannot be reached, refuses the key or does not serve `model`."""
        self.model, self.config = model, config
        self.server = Server(model, config)
        self._supports_schemas = True  # until the server refuses response_format
        self.kind, names = _run(self.server.models())
        if names and model not in names:
            raise EngineError(f"the server at {self.server.url} does not serve {model!r}; it has "
                              f"{', '.join(sorted(names)[:8])}")  # fmt: skip

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  The first request that fails after all its tries ends the call: EngineError."""
        for index, chat in enumerate(chats):
            check_text(index, chat)
            if chat[-1]["role"] == "assistant" and self.kind not in CONTINUING:
                raise EngineError(f"prompt {index} ends with a half-written reply, which the server at "
                                  f"{self.server.url} is not known to continue ({' and '.join(CONTINUING)} do): use "
                                  "one of these, or engine.name: transformers or vllm")  # fmt: skip
        return _run(self._complete_all(chats, sampling, seed))

    async def _complete_all(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        slots = asyncio.Semaphore(self.config.concurrency or 1)
        async with self.server.client() as client:

            async def complete(index: int, chat: Chat) -> Completion:
                async with slots:
                    return await self._complete(client, index, chat, sampling, store.chunk_seed(seed, index))

            tasks = [asyncio.ensure_future(complete(index, chat)) for index, chat in enumerate(chats)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:  # if one has failed, the others are cancelled
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _complete(
        self, client: httpx.AsyncClient, index: int, chat: Chat, sampling: Sampling, seed: int
    ) -> Completion:
        body = self._body(chat, sampling, seed)
        reply = await self.server.complete(client, index, body)
        if reply is None:  # from now on, choices are requested as free text
            self._supports_schemas = False
            return await self._complete(client, index, chat, sampling, seed)
        return _completion(reply, sampling, "response_format" in body)

    def _body(self, chat: Chat, sampling: Sampling, seed: int) -> dict:
        """The body of a request for a chat completion."""
        body: dict[str, Any] = {"model": self.model, "messages": [_message(turn) for turn in chat]}
        body |= {"temperature": sampling.temperature, "max_tokens": sampling.max_new_tokens}
        if sampling.temperature > 0:
            body |= {"top_p": sampling.top_p, "seed": seed}
        if sampling.logprobs:
            body["logprobs"] = True
        if self.kind == "vllm":
            body["return_token_ids"] = True
        if self.kind in CONTINUING:
            if options := models.template_options(self.model):
                body["chat_template_kwargs"] = options
            if chat[-1]["role"] == "assistant":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if sampling.choices and (self.kind == "vllm" or self._supports_schemas):
            # A token has at least one byte; the JSON around a choice needs a few more.
            body |= {"top_p": 1.0, "max_tokens": max(len(choice.encode()) for choice in sampling.choices) + 32}
            if self.kind == "vllm":
                body["structured_outputs"] = {"choice": list(sampling.choices)}
            else:
                body["response_format"] = _schema(sampling.choices)
        return body


def _message(turn: dict[str, str]) -> dict[str, Any]:
    """A turn of a request; a picture is sent within it, as a PNG."""
    if not turn.get("image"):
        return turn
    image = {"type": "image_url", "image_url": {"url": pictures.data_url(turn["image"])}}
    return {"role": turn["role"], "content": [image, {"type": "text", "text": turn["content"]}]}


def _run(work: Coroutine):
    """The result of a coroutine, in a thread of its own if this thread has an event loop already, as in a notebook."""
    if not _has_event_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _has_event_loop() -> bool:
    try:
        return bool(asyncio.get_running_loop())
    except RuntimeError:
        return False


def _completion(reply: dict, sampling: Sampling, by_schema: bool) -> Completion:
    """The completion in a server's reply."""
    [choice], usage = reply["choices"], reply["usage"]
    text = choice["message"].get("content") or ""
    steps = (choice.get("logprobs") or {}).get("content") if sampling.logprobs else None
    return Completion(
        text=_choice(text, sampling.choices, by_schema) if sampling.choices else text,
        token_ids=tuple(choice.get("token_ids") or ()), finish=choice.get("finish_reason") or "stop",
        tokens_in=usage["prompt_tokens"],
        tokens_cached=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        tokens_out=usage["completion_tokens"],
        logprobs=tuple(step["logprob"] for step in steps) if steps else None)  # fmt: skip


def _schema(choices: tuple[str, ...]) -> dict:
    """A response_format of {"choice": one of the choices}."""
    choice = {"type": "string", "enum": list(choices)}
    schema = {"type": "object", "properties": {"choice": choice}, "required": ["choice"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}


def _choice(text: str, choices: tuple[str, ...], by_schema: bool) -> str:
    """The choice that a reply makes; the unchanged reply if it makes none."""
    if by_schema:
        try:
            choice = json.loads(text)["choice"]
            return choice if choice in choices else text
        except (ValueError, TypeError, KeyError):
            pass  # not all servers that accept a schema keep to it
    if text in choices:
        return text
    bare = text.strip(" \t\n\"'`*.:;!()[]").casefold()
    matches = [choice for choice in choices if choice.casefold() == bare]
    return matches[0] if len(matches) == 1 else text
