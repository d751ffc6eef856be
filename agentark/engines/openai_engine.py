"""The `openai` engine: any server that speaks OpenAI's chat completions, such as `vllm serve`.

Requests go out in the order of the chats, at most `concurrency` at a time, so that the agents of a problem are with the server together and it can
share their prefix.  What a server can is asked of it once, at `/models`: vLLM tells token ids, continues half-written turns and constrains replies by
itself; elsewhere `choices` are asked for as a JSON schema, and where a server refuses that as well the reply is free text, which is taken for a
choice only where it is one but for case, quotes and punctuation.

The transport is httpx, which JupyterLab brings already; the package `openai` would add ten dependencies for one request.  A seed goes with
each sampled request; whether the same seed gives the same reply is the server's affair.  Cached tokens are those that it reports
(`vllm serve` does with --enable-prompt-tokens-details).
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import random
import sys
import time
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx

from agentark import params, store
from agentark.models import load as models

from . import Chat, Completion, EngineError, Sampling, check_text

FIRST_WAIT_S, LONGEST_WAIT_S = (
    1.0,
    60.0,
)  # between tries: the first, doubled each time up to the longest; a server's Retry-After goes before
SAID_S = 10.0  # a longer wait is said on stderr
AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}  # statuses that another try may mend
CONTINUE = ("vllm", "sglang")  # servers that know continue_final_message, by what /models calls the owner
TOO_LONG = (
    "context length",
    "context_length",
    "context window",
    "context size",
    "maximum model length",
    "max_tokens' is too large",
    "max_tokens is too large",
)  # how servers say it


class OpenAIEngine:
    """Generates by asking a server."""

    name = "openai"

    def __init__(self, model: str, told: params.Engine):
        """Ask the server what it is.  Raises EngineError where it cannot be reached, refuses the key or does not serve `model`."""
        self.model, self.told = model, told
        self.url = told.base_url.rstrip("/")
        self._key = os.environ.get(told.api_key_env, "").strip() if told.api_key_env else ""
        if told.api_key_env and not self._key:
            raise EngineError(
                f"engine.api_key_env names {told.api_key_env}, but no such environment variable is set: export {told.api_key_env}=..."
            )
        if not (self._key.isascii() and self._key.isprintable()):
            raise EngineError(
                f"{told.api_key_env} holds a character that no key has, such as a line break or a long dash: set it anew"
            )
        self._next_start = 0.0  # time.monotonic() of the next request that requests_per_minute allows
        self._schema = True  # until the server refuses response_format
        self.kind, self.served = _run(self._ask_kind())
        if self.served and model not in self.served:
            raise EngineError(
                f"the server at {self.url} does not serve {model!r}; it has {', '.join(sorted(self.served)[:8])}"
            )

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  The first request that fails for good ends the call: EngineError."""
        for n, chat in enumerate(chats):
            check_text(n, chat)
            if chat[-1]["role"] == "assistant" and self.kind not in CONTINUE:
                raise EngineError(
                    f"prompt {n} ends with a half-written reply, which the server at {self.url} is not known to continue "
                    f"({' and '.join(CONTINUE)} do): use one of these, or engine.name: transformers or vllm"
                )
        return _run(self._all(chats, sampling, seed))

    async def _all(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        slots = asyncio.Semaphore(self.told.concurrency)
        async with self._client() as client:

            async def one(n: int, chat: Chat) -> Completion:
                async with slots:
                    return await self._one(client, n, chat, sampling, store.chunk_seed(seed, n))

            tasks = [asyncio.ensure_future(one(n, chat)) for n, chat in enumerate(chats)]
            try:
                return list(await asyncio.gather(*tasks))
            finally:  # where one has failed, the others are given up
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, client: httpx.AsyncClient, n: int, chat: Chat, sampling: Sampling, seed: int) -> Completion:
        schema = bool(sampling.choices) and self.kind != "vllm" and self._schema
        made = await self._post(client, n, self._body(chat, sampling, seed, schema), refusable=schema)
        if made is None:  # no schemas here: from now on choices are asked for as free text
            self._schema = False
            return await self._one(client, n, chat, sampling, seed)
        return _read(made, sampling, schema)

    def _body(self, chat: Chat, sampling: Sampling, seed: int, schema: bool) -> dict:
        body = {
            "model": self.model,
            "messages": list(chat),
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_new_tokens,
        }
        if sampling.temperature > 0:
            body |= {"top_p": sampling.top_p, "seed": seed}
        if sampling.logprobs:
            body["logprobs"] = True
        if self.kind == "vllm":
            body["return_token_ids"] = True
        if self.kind in CONTINUE:
            if options := models.template_options(self.model):
                body["chat_template_kwargs"] = options
            if chat[-1]["role"] == "assistant":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if sampling.choices and (schema or self.kind == "vllm"):
            body |= {
                "top_p": 1.0,
                "max_tokens": max(len(choice.encode()) for choice in sampling.choices) + 32,
            }  # a token is a byte at least
            body |= (
                {"response_format": _schema(sampling.choices)}
                if schema
                else {"structured_outputs": {"choice": list(sampling.choices)}}
            )
        return body

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return httpx.AsyncClient(
            headers=headers, timeout=None, limits=httpx.Limits(max_connections=self.told.concurrency)
        )

    async def _ask_kind(self) -> tuple[str, set[str]]:
        """(The owner that the server's models name, the names of its models); empty where it does not say."""
        async with self._client() as client:
            response = await self._send(client, "GET", "/models", None)
        if response.status_code == 404:
            return "", set()
        self._check(response, None)
        said = _json(response)
        listed = said.get("data") if isinstance(said, dict) else None
        if not isinstance(listed, list) or not all(isinstance(m, dict) for m in listed):
            raise EngineError(
                f"the server at {self.url} does not answer like OpenAI's: {self.url}/models gives {self._said(response)}; "
                "does base_url end in /v1?"
            )
        return next((str(m.get("owned_by")) for m in listed), ""), {str(m.get("id")) for m in listed}

    async def _post(self, client: httpx.AsyncClient, n: int, body: dict, refusable: bool) -> dict | None:
        """The server's answer to a request; None where it refuses response_format and may (`refusable`)."""
        response = await self._send(client, "POST", "/chat/completions", body)
        if refusable and response.status_code in (400, 422) and not _too_long(response):
            if any(word in response.text for word in ("response_format", "schema")):
                return None
        self._check(response, n)
        made = _json(response)
        if not _is_completion(made):
            raise EngineError(
                f"the server at {self.url} does not answer with a chat completion and its usage, but {self._said(response)}"
            )
        return made

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, body: dict | None) -> httpx.Response:
        """The server's answer, tried again after what may pass: no connection, no answer in time, AGAIN, an answer that is no JSON."""
        for left in range(self.told.retries, -1, -1):
            await self._my_turn()
            try:
                async with asyncio.timeout(self.told.timeout_s):
                    response = await client.request(method, self.url + path, json=body)
            except TimeoutError:
                response, trouble = None, f"gave no answer in {self.told.timeout_s:g} s (engine.timeout_s)"
            except httpx.TransportError as error:
                response, trouble = (
                    None,
                    f"cannot be reached ({self._hide(str(error)) or type(error).__name__}): is it running?",
                )
            else:
                if response.status_code not in AGAIN and (response.status_code >= 300 or _json(response) is not None):
                    return response
                trouble = f"answers {response.status_code}: {self._said(response)}"
            if left:
                wait = _wait(response, self.told.retries - left)
                if wait >= SAID_S:
                    print(
                        f"the server at {self.url} {trouble}; trying again in {wait:.0f} s", file=sys.stderr, flush=True
                    )
                await asyncio.sleep(wait)
        raise EngineError(
            f"the server at {self.url} {trouble}; tried {self.told.retries + 1} times. "
            "Finished chunks are kept: run again when it is well"
        )

    async def _my_turn(self) -> None:
        """Wait until requests_per_minute allows another request; tries count, too."""
        if self.told.requests_per_minute:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self.told.requests_per_minute
            await asyncio.sleep(start - now)

    def _check(self, response: httpx.Response, n: int | None) -> None:
        """EngineError for what the server refuses, with what to do."""
        if response.status_code < 300:
            return
        said = f"the server at {self.url} answers {response.status_code}: {self._said(response)}"
        if response.status_code in (401, 403):
            missing = "it wants a key: name its environment variable in engine.api_key_env"
            raise EngineError(
                f"{said}; " + (f"the key in {self.told.api_key_env} is not accepted" if self._key else missing)
            )
        if _too_long(response):
            raise EngineError(
                f"prompt {n} with its reply is more than the context of the model: {said}; "
                "fewer agents, shorter replies or another model"
            )
        if response.status_code == 404:
            raise EngineError(f"{said}; check engine.base_url (it ends in /v1) and the model's name, {self.model!r}")
        raise EngineError(said if n is None else f"{said} (prompt {n})")

    def _said(self, response: httpx.Response) -> str:
        """What a server says in an answer, in one short line."""
        said = _json(response)
        error = said.get("error", said.get("detail", said)) if isinstance(said, dict) else response.text
        text = error.get("message", error) if isinstance(error, dict) else error
        return repr(self._hide(" ".join(str(text).split())[:300]))

    def _hide(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _run(work: Coroutine):
    """The result of a coroutine; in a thread of its own where this one has an event loop already, as a notebook's has."""
    if not _in_loop():
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _wait(response: httpx.Response | None, tries: int) -> float:
    """Seconds before another try: what the server asks for (Retry-After, in seconds or as a date), else doubled each time; and up to half more."""
    wait = min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S)
    asked = response.headers.get("retry-after", "") if response is not None else ""
    if asked.isdigit():
        wait = float(asked)
    elif asked:
        try:
            wait = max(0.0, email.utils.parsedate_to_datetime(asked).timestamp() - time.time())
        except ValueError:
            pass  # it says nothing that can be read
    return wait + random.uniform(0, min(wait, FIRST_WAIT_S) / 2 if asked else wait / 2)


def _json(response: httpx.Response):
    """The answer's JSON, or None where it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def _too_long(response: httpx.Response) -> bool:
    return response.status_code in (400, 413, 422) and any(words in response.text for words in TOO_LONG)


def _is_completion(made) -> bool:
    try:
        [choice], usage = made["choices"], made["usage"]
        return isinstance(choice["message"].get("content") or "", str) and isinstance(
            usage["prompt_tokens"] + usage["completion_tokens"], int
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        return False


def _read(made: dict, sampling: Sampling, schema: bool) -> Completion:
    """The completion in a server's answer."""
    [choice], usage = made["choices"], made["usage"]
    text = choice["message"].get("content") or ""
    steps = (choice.get("logprobs") or {}).get("content") if sampling.logprobs else None
    text = _choice(text, sampling.choices, schema) if sampling.choices else text
    return Completion(
        text,
        tuple(choice.get("token_ids") or ()),
        choice.get("finish_reason") or "stop",
        usage["prompt_tokens"],
        (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        usage["completion_tokens"],
        tuple(step["logprob"] for step in steps) if steps else None,
    )


def _schema(choices: tuple[str, ...]) -> dict:
    """A response_format of {"choice": one of the choices}."""
    one = {"type": "string", "enum": list(choices)}
    schema = {"type": "object", "properties": {"choice": one}, "required": ["choice"], "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "choice", "strict": True, "schema": schema}}


def _choice(text: str, choices: tuple[str, ...], schema: bool) -> str:
    """The choice that a reply makes; the reply as it is where it makes none."""
    if schema:
        try:
            said = json.loads(text)["choice"]
            return said if said in choices else text
        except (ValueError, TypeError, KeyError):
            pass  # not all that accept a schema keep to it
    if text in choices:
        return text
    bare = text.strip(" \t\n\"'`*.:;!()[]").casefold()
    meant = [choice for choice in choices if choice.casefold() == bare]
    return meant[0] if len(meant) == 1 else text
