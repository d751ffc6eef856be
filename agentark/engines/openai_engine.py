"""The `openai` engine: any server that speaks OpenAI's chat completions, such as `vllm serve`, ollama or llama.cpp.

Requests are sent in the order of the chats, at most `concurrency` at a time, so that the agents of a problem are with
the server together and it can share their prefix.  The server is asked once, at `/models`, what it is and whether it
has the model.  vLLM reports token ids, continues half-written turns and constrains replies natively.  Elsewhere
`choices` are requested as a JSON schema.  If a server refuses the schema as well, the reply is free text, which is
accepted as a choice only if it differs from it in nothing but case, quotes and punctuation.

Each sampled request has a seed; whether the same seed gives the same reply is up to the server.  Cached tokens are
those that it reports (`vllm serve` does with --enable-prompt-tokens-details).  A parameter that the server refuses is
left out from then on (`refusals`); `notes` has what was left out, for the manifest.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from agentark import params, pictures, store
from agentark.models import load as models

from . import Chat, Completion, EngineError, Sampling, check_text, refusals, replies
from .server import Server

CONTINUING = ("vllm", "sglang")  # servers that support continue_final_message, by the owner in /models
NO_REASONING = (
    "switch the reasoning off, where the server was started (vLLM: --default-chat-template-kwargs "
    "'{\"enable_thinking\": false}', llama.cpp: --reasoning-budget 0) or by a field of each request (engine.extra: "
    "{reasoning_effort: none} for ollama and OpenAI, {chat_template_kwargs: {enable_thinking: false}} for vLLM, SGLang "
    "and llama.cpp), or allow longer replies (max_new_tokens)"
)


class OpenAIEngine:
    """Generates with requests to a server."""

    name = "openai"

    def __init__(self, model: str, config: params.Engine):
        """Raises EngineError if the server cannot be reached, refuses the key or does not serve `model`."""
        self.model, self.config = model, config
        self.server = Server(model, config)
        self._answers = False  # whether a reply had any text
        self.kind, names = _run(self.server.models())
        if names and not serves(model, names):
            near = get_close_matches(model, names, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else "choose one of these, or load it there"
            raise EngineError(f"the server at {self.server.url} does not serve {model!r}; it has "
                              f"{', '.join(sorted(names)[:8])}; {hint}")  # fmt: skip

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  The first request that fails after all its tries ends the call: EngineError."""
        for index, chat in enumerate(chats):
            check_text(index, chat)
            if chat[-1]["role"] == "assistant" and self.kind not in CONTINUING:
                raise EngineError(f"prompt {index} ends with a half-written reply, which the server at "
                                  f"{self.server.url} is not known to continue ({' and '.join(CONTINUING)} do): use "
                                  "one of these, or engine.name: transformers or vllm")  # fmt: skip
        bodies = _run(self._complete_all(chats, sampling, seed))
        completions = [replies.completion(body, sampling) for body in bodies]
        silent = [replies.is_silent(body) for body in bodies]
        self._answers |= not all(silent)
        if any(silent):
            found = f"{self.server.where} gives reasoning without an answer in {sum(silent)} of {len(silent)} replies"
            if not self._answers:  # before hours of empty replies
                raise EngineError(f"{found}: {NO_REASONING}")
            print(f"{found}: {NO_REASONING}", file=sys.stderr, flush=True)
        if sampling.choices:
            texts = [replies.chosen(c.text, sampling.choices) for c in completions]
            completions = [replace(c, text=text) for c, text in zip(completions, texts, strict=True)]
        return completions

    async def _complete_all(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[dict[str, Any]]:
        slots = asyncio.Semaphore(self.config.concurrency or 1)
        async with self.server.client() as client:

            async def complete(index: int, chat: Chat) -> dict[str, Any]:
                async with slots:
                    request_seed = store.chunk_seed(seed, index)
                    return await self.server.complete(client, index, lambda: self._body(chat, sampling, request_seed))

            tasks = [asyncio.ensure_future(complete(index, chat)) for index, chat in enumerate(chats)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:  # if one has failed, the others are cancelled
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _body(self, chat: Chat, sampling: Sampling, seed: int) -> dict[str, Any]:
        """The body of a request for a chat completion, without what the params or the server leave out."""
        omit, rename, extra = self.config.omit or [], self.config.rename or {}, self.config.extra or {}
        known = refusals.of(self.server.url, self.model)
        body: dict[str, Any] = {"model": self.model, "messages": [_message(turn) for turn in chat]}
        body |= {"temperature": sampling.temperature, "max_tokens": sampling.max_new_tokens}
        if sampling.temperature > 0:
            body["seed"] = seed
            if sampling.top_p < 1 and not sampling.choices:
                body["top_p"] = sampling.top_p
        if sampling.logprobs:
            body["logprobs"] = True
        if self.kind == "vllm":
            body["return_token_ids"] = True
        if self.kind in CONTINUING:
            if options := models.template_options(self.model):
                body["chat_template_kwargs"] = options
            if chat[-1]["role"] == "assistant":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if sampling.choices:
            forms = {"structured_outputs": {"choice": list(sampling.choices)}} if self.kind == "vllm" else {}
            forms["response_format"] = _schema(sampling.choices)
            if usable := [name for name in forms if name not in {*omit, *known.omitted}]:
                # A token has at least one byte; the JSON around a choice needs a few more.
                longest = max(len(choice.encode()) for choice in sampling.choices) + 32
                body |= {usable[0]: forms[usable[0]], "max_tokens": max(longest, sampling.max_new_tokens)}
        return known.apply({rename.get(name, name): body[name] for name in body if name not in omit}) | extra


def serves(model: str, names: Iterable[str]) -> bool:
    """Whether a server that lists `names` has a model.

    ollama adds a default tag, Gemini a prefix, llama.cpp the folder of a file; litellm lists patterns.
    """
    own = (model, f"{model}:latest", f"models/{model}")
    in_folder = f"/{model}" if model.endswith(".gguf") else None
    return any(name in own or fnmatchcase(model, name) or (in_folder and name.endswith(in_folder)) for name in names)


def notes(model: str, config: params.Engine) -> dict[str, Any]:
    """What a manifest says about a server: the parameters that it refused, and what was sent instead."""
    assert config.base_url is not None
    known = refusals.of(config.base_url.rstrip("/"), model)
    refused = {"omitted": sorted(known.omitted), "renamed": known.renamed}
    return {"server_refused": refused} if known.omitted or known.renamed else {}


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


def _schema(choices: tuple[str, ...]) -> dict:
    """A response_format of {"choice": one of the choices}."""
    choice = {"type": "string", "enum": list(choices)}
    schema = {"type": "object", "properties": {"choice": choice}, "required": ["choice"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}
