"""Requests to a server that speaks OpenAI's chat completions: its key, its rate, repeated tries, and its errors.

The transport is httpx, which JupyterLab already requires; the package `openai` would add ten dependencies for one
request.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import sys
import time
from contextlib import suppress

import httpx

from agentark import params

from . import EngineError

# Seconds between tries, doubled each time; the Retry-After of a server takes precedence.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
REPORTED_WAIT_S = 10.0  # a longer wait is reported on stderr
RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}  # statuses after which another try may succeed
# How servers report a prompt that exceeds the context.
TOO_LONG = ("context length", "context_length", "context window", "context size", "maximum model length",
            "max_tokens' is too large", "max_tokens is too large")  # fmt: skip


class Server:
    """A server at `config.base_url`; every failure that another try does not resolve is an EngineError."""

    def __init__(self, model: str, config: params.Engine):
        """Reads the key from the environment; nothing is requested yet."""
        self.model, self.config = model, config
        assert config.base_url is not None and config.retries is not None  # the params of this engine have them
        self.url, self.retries = config.base_url.rstrip("/"), config.retries
        self._key = os.environ.get(config.api_key_env, "").strip() if config.api_key_env else ""
        if config.api_key_env and not self._key:
            raise EngineError(f"engine.api_key_env names {config.api_key_env}, but no such environment variable is "
                              f"set: export {config.api_key_env}=...")  # fmt: skip
        if not (self._key.isascii() and self._key.isprintable()):
            raise EngineError(f"{config.api_key_env} holds a character that no key has, such as a line break or a long "
                              "dash: set it again")  # fmt: skip
        self._next_start = 0.0  # time.monotonic() of the next request that requests_per_minute allows

    def client(self) -> httpx.AsyncClient:
        """A client for the requests of one event loop, to be used as a context manager."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=self.config.concurrency)
        return httpx.AsyncClient(headers=headers, timeout=None, limits=limits)

    async def models(self) -> tuple[str, set[str]]:
        """(the owner that the server gives for its models, their names); both empty if it has no list of models."""
        async with self.client() as client:
            response = await self._send(client, "GET", "/models", None)
        if response.status_code == 404:
            return "", set()
        self._check(response, None)
        body = _json(response)
        models = body.get("data") if isinstance(body, dict) else None
        if not isinstance(models, list) or not all(isinstance(model, dict) for model in models):
            raise EngineError(f"the server at {self.url} does not answer like OpenAI's: {self.url}/models gives "
                              f"{self._excerpt(response)}; does base_url end in /v1?")  # fmt: skip
        return next((str(model.get("owned_by")) for model in models), ""), {str(model.get("id")) for model in models}

    async def complete(self, client: httpx.AsyncClient, index: int, body: dict) -> dict | None:
        """The chat completion for the body of request number `index`.

        None if the body has a `response_format` and the server does not support it.
        """
        response = await self._send(client, "POST", "/chat/completions", body)
        refused = response.status_code in (400, 422) and not _is_too_long(response)
        names_schema = any(word in response.text for word in ("response_format", "schema"))
        if "response_format" in body and refused and names_schema:
            return None
        self._check(response, index)
        completion = _json(response)
        if not _is_completion(completion):
            raise EngineError(f"the server at {self.url} does not answer with a chat completion and its usage, but "
                              f"with {self._excerpt(response)}")  # fmt: skip
        return completion

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, body: dict | None) -> httpx.Response:
        """The server's response.

        Another try is made if there is no connection, no response in time, a status among RETRIED, or no JSON.
        """
        for tries in range(self.retries + 1):
            await self._wait_for_turn()
            try:
                async with asyncio.timeout(self.config.timeout_s):
                    response: httpx.Response | None = await client.request(method, self.url + path, json=body)
            except TimeoutError:
                response, problem = None, f"gave no answer in {self.config.timeout_s:g} s (engine.timeout_s)"
            except httpx.TransportError as error:
                cause = self._hide_key(str(error)) or type(error).__name__
                response, problem = None, f"cannot be reached ({cause}): is it running?"
            else:
                assert response is not None
                if response.status_code not in RETRIED and (response.status_code >= 300 or _json(response) is not None):
                    return response
                problem = f"answers {response.status_code}: {self._excerpt(response)}"
            if tries < self.retries:
                wait = retry_wait(response, tries)
                if wait >= REPORTED_WAIT_S:
                    message = f"the server at {self.url} {problem}; trying again in {wait:.0f} s"
                    print(message, file=sys.stderr, flush=True)
                await asyncio.sleep(wait)
        raise EngineError(f"the server at {self.url} {problem}; tried {self.retries + 1} times. Finished chunks are "
                          "kept: run again when the server works")  # fmt: skip

    async def _wait_for_turn(self) -> None:
        """Wait until requests_per_minute allows another request; repeated tries count, too."""
        if self.config.requests_per_minute:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self.config.requests_per_minute
            await asyncio.sleep(start - now)

    def _check(self, response: httpx.Response, index: int | None) -> None:
        """Raises EngineError for a request that the server refuses, with advice."""
        if response.status_code < 300:
            return
        answer = f"the server at {self.url} answers {response.status_code}: {self._excerpt(response)}"
        if response.status_code in (401, 403):
            missing = "it requires a key: name its environment variable in engine.api_key_env"
            refused = f"the key in {self.config.api_key_env} is not accepted"
            raise EngineError(f"{answer}; {refused if self._key else missing}")
        if _is_too_long(response):
            raise EngineError(f"prompt {index} with its reply is more than the context of the model: {answer}; fewer "
                              "agents, shorter replies or another model")  # fmt: skip
        if response.status_code == 404:
            raise EngineError(f"{answer}; check engine.base_url (it ends in /v1) and the model's name, {self.model!r}")
        raise EngineError(answer if index is None else f"{answer} (prompt {index})")

    def _excerpt(self, response: httpx.Response) -> str:
        """The message of a response in one short line."""
        body = _json(response)
        error = body.get("error", body.get("detail", body)) if isinstance(body, dict) else response.text
        text = error.get("message", error) if isinstance(error, dict) else error
        return repr(self._hide_key(" ".join(str(text).split())[:300]))

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def retry_wait(response: httpx.Response | None, tries: int) -> float:
    """Seconds before another try, after `tries` repeated ones.

    It is the server's Retry-After, in seconds or as a date, or else doubled with each try; random seconds are added.
    """
    wait = min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S)
    retry_after = response.headers.get("retry-after", "") if response is not None else ""
    if retry_after.isdigit():
        wait = float(retry_after)
    elif retry_after:
        with suppress(ValueError):  # neither seconds nor a date
            wait = max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    return wait + random.uniform(0, min(wait, FIRST_WAIT_S) / 2 if retry_after else wait / 2)


def _json(response: httpx.Response):
    """The JSON of a response, or None if it has none."""
    try:
        return response.json()
    except ValueError:
        return None


def _is_too_long(response: httpx.Response) -> bool:
    return response.status_code in (400, 413, 422) and any(words in response.text for words in TOO_LONG)


def _is_completion(body) -> bool:
    try:
        [choice], usage = body["choices"], body["usage"]
        counts = usage["prompt_tokens"] + usage["completion_tokens"]
        return isinstance(choice["message"].get("content") or "", str) and isinstance(counts, int)
    except (TypeError, KeyError, ValueError, AttributeError):
        return False
