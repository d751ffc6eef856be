"""Requests to a server that speaks OpenAI's chat completions: its key, its rate, repeated tries, and its errors.

The transport is httpx, which JupyterLab already requires; the package `openai` would add ten dependencies for one
request.  tenacity, which papermill already requires, repeats the tries.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import random
import ssl
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import tenacity

from agentark import params

from . import EngineError, refusals, replies

# Seconds between tries, doubled each time; a wait that the server asks for takes precedence.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
REPORTED_WAIT_S = 10.0  # a longer wait is reported on stderr
PATIENCE_S = 3600.0  # a server that asks for a longer wait than this is not waited for
RETRIED = (408, 409, 424, 425, 429)  # statuses below 500 after which another try may succeed, as all from 500 on
NO_HTTPS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")  # errors of https to an http server
REDIRECTS = 5  # that are followed for one request


@dataclass(frozen=True)
class Answer:
    """A response: the status that it means (see `replies.status`), its JSON or None, and what it says in one line."""

    status: int
    body: Any
    message: str
    problem: str  # how an error of ours begins: what the server does


class _Passing(Exception):
    """A failure after which another try may succeed; wait: the seconds that the server asks for."""

    def __init__(self, problem: str, wait: float | None = None):
        super().__init__(problem)
        self.wait = wait


class Server:
    """A server at `config.base_url`; every failure that another try does not resolve is an EngineError."""

    def __init__(self, model: str, config: params.Engine):
        """Reads the key from the environment; nothing is requested yet."""
        self.model, self.config = model, config
        assert config.base_url is not None and config.retries is not None  # the params of this engine have them
        self.url, self.retries = config.base_url.rstrip("/"), config.retries
        self.where = f"{model}: the server at {self.url}"
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
        trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        return httpx.AsyncClient(headers=headers, timeout=None, limits=limits, verify=trusted)

    async def models(self) -> tuple[str, set[str]]:
        """(the owner that the server gives for its models, their names); both empty if it does not list them."""
        async with self.client() as client:
            answer = await self._send(client, "GET", "/models", None)
        if answer.status == 401:
            self._refuse(answer, None)
        if answer.status >= 300:  # not every server or key may list models
            return "", set()
        found = replies.models(answer.body)
        if found is None:
            raise EngineError(f"{self.where} does not answer like OpenAI's: {self.url}/models gives "
                              f"{self._quote(answer.message)}; does base_url end in /v1?")  # fmt: skip
        return found

    async def complete(
        self, client: httpx.AsyncClient, index: int, make_body: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The chat completion for request number `index`.

        make_body: the body of the request without what the server has refused so far; it is called again whenever the
        server refuses a parameter.
        """
        while True:
            body = make_body()
            answer = await self._send(client, "POST", "/chat/completions", body)
            if answer.status < 300:
                return answer.body
            if replies.is_filtered(answer.status, answer.message):
                print(
                    f"{self.where} {answer.problem} (prompt {index}, which has no reply)", file=sys.stderr, flush=True
                )
                return replies.NO_REPLY
            known = refusals.of(self.url, self.model)
            if not known.learn(self._droppable(body), answer.body, self._hide_key(answer.message), self.where):
                self._refuse(answer, index, body)

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        """The server's answer, after as many tries as engine.retries allows.

        Another try is made if there is no connection, no response in time, a passing error, no JSON or no reply.
        """
        tries = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.retries + 1), wait=_wait, before_sleep=self._report,
            retry=tenacity.retry_if_exception_type(_Passing), reraise=True)  # fmt: skip
        try:
            return await tries(self._try, client, method, path, body)
        except _Passing as failure:
            raise EngineError(f"{self.where} {failure}; tried {self.retries + 1} times. Finished chunks are kept: run "
                              "again when the server works") from None  # fmt: skip

    async def _try(self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, Any] | None) -> Answer:
        await self._wait_for_turn()
        try:
            async with asyncio.timeout(self.config.timeout_s):
                response = await self._follow(client, method, self.url + path, body)
        except TimeoutError:
            raise _Passing(f"gave no answer in {self.config.timeout_s:g} s (engine.timeout_s)") from None
        except httpx.RequestError as error:
            cause = self._hide_key(str(error)) or type(error).__name__
            if "CERTIFICATE_VERIFY_FAILED" in cause:
                raise EngineError(f"{self.where} has a certificate that this machine does not trust ({cause}): save "
                                  "the certificate, or that of its authority, as a PEM file and name the file in the "
                                  "environment variable SSL_CERT_FILE") from None  # fmt: skip
            if any(words in cause for words in NO_HTTPS):
                raise EngineError(f"{self.where} does not speak https ({cause}): write http:// in engine.base_url, "
                                  "or check its port") from None  # fmt: skip
            raise _Passing(f"cannot be reached ({cause}): is it running?") from None
        return self._read(response, body)

    async def _follow(
        self, client: httpx.AsyncClient, method: str, url: str, body: dict[str, Any] | None
    ) -> httpx.Response:
        """The response, after redirects, which get the same request again; a key is not sent to another host."""
        for _ in range(REDIRECTS):
            response = await client.request(method, url, json=body)
            if response.next_request is None:
                return response
            old, new = response.url, response.next_request.url
            if self._key and (old.host != new.host or (old.scheme, new.scheme) == ("https", "http")):
                break
            url = str(new)
        target = self._hide_key(str(response.next_request and response.next_request.url))
        raise EngineError(f"{self.where} redirects to {target}, which is not followed (another host, or in a circle): "
                          "set engine.base_url to the address that answers")  # fmt: skip

    def _read(self, response: httpx.Response, request: dict[str, Any] | None) -> Answer:
        """The answer in the response to a request for a completion (or for the models, if it has no body).

        Raises _Passing if another try may give another answer.
        """
        try:
            body = json.loads(response.content)
        except ValueError:  # no JSON, or text in no encoding
            body = None
        sent, message = response.status_code, replies.message(body, response.text)
        status = sent if request is None else replies.status(sent, body)
        code = f" with error {status}" if status != sent else ""
        answer = Answer(status, body, message, f"answers {sent}{code}: {self._quote(message)}")
        if status < 300:
            if body is None:
                raise _Passing(f"{answer.problem}; does base_url end in /v1?")
            if request is not None and not replies.is_completion(body):
                raise _Passing(f"answers {sent} without a reply: {self._quote(message)}")
            return answer
        lasting = replies.is_too_long(message) or "insufficient_quota" in response.text
        if status >= 500 and request is not None and refusals.refused(self._droppable(request), body, message):
            lasting = True
        if (status in RETRIED or status >= 500) and not lasting:
            raise _Passing(answer.problem, _asked_wait(response))
        return answer

    def _droppable(self, request: dict[str, Any]) -> dict[str, Any]:
        """A request without what engine.extra asks for."""
        return {name: value for name, value in request.items() if name not in (self.config.extra or {})}

    async def _wait_for_turn(self) -> None:
        """Wait until requests_per_minute allows another request; repeated tries count, too."""
        if self.config.requests_per_minute:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + 60 / self.config.requests_per_minute
            await asyncio.sleep(start - now)

    def _report(self, state: tenacity.RetryCallState) -> None:
        """Report a long wait; refuse to wait for longer than PATIENCE_S."""
        assert state.outcome is not None and state.next_action is not None
        problem, wait = state.outcome.exception(), state.next_action.sleep
        if wait > PATIENCE_S:
            raise EngineError(f"{self.where} {problem}; it asks to wait for {wait:.0f} s. Finished chunks are kept: "
                              "run again after that time")  # fmt: skip
        if wait >= REPORTED_WAIT_S:
            print(f"{self.where} {problem}; trying again in {wait:.0f} s", file=sys.stderr, flush=True)

    def _refuse(self, answer: Answer, index: int | None, body: dict[str, Any] | None = None) -> None:
        """Raise EngineError for a request that the server refuses, with advice."""
        problem = f"{self.where} {answer.problem}"
        if replies.is_too_long(answer.message):
            raise EngineError(f"prompt {index} with its reply is more than the context of the model: {problem}; fewer "
                              "agents, shorter replies or another model")  # fmt: skip
        if answer.status in (401, 403):
            missing = "it requires a key: name its environment variable in engine.api_key_env"
            refused = f"the key in {self.config.api_key_env} is not accepted"
            raise EngineError(f"{problem}; {refused if self._key else missing}")
        if answer.status in (402, 429):
            raise EngineError(f"{problem}; its account has no credit left. Finished chunks are kept: run again when it "
                              "has")  # fmt: skip
        if answer.status in (404, 405):
            raise EngineError(f"{problem}; check engine.base_url (it ends in /v1) and the model's name, {self.model!r}")
        sent = ", ".join(name for name in body or () if name not in ("model", "messages"))
        raise EngineError(f"{problem} (prompt {index}); if it does not have one of the parameters {sent}, leave it out "
                          "by engine.omit or give its name there by engine.rename")  # fmt: skip

    def _quote(self, message: str) -> str:
        return repr(self._hide_key(message)[:300])

    def _hide_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


@cache
def _trusted(file: str | None, folder: str | None) -> ssl.SSLContext:
    """The certificates that are trusted, which take long to read; by the environment variables that name others."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise EngineError(f"SSL_CERT_FILE = {file} (or SSL_CERT_DIR = {folder}) cannot be read ({error}): name a PEM "
                          "file") from None  # fmt: skip


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before another try: those that the server asks for, or else doubled with each try; random ones added."""
    assert state.outcome is not None
    failure = state.outcome.exception()
    return retry_wait(failure.wait if isinstance(failure, _Passing) else None, state.attempt_number - 1)


def retry_wait(asked: float | None, tries: int) -> float:
    """Seconds before another try, after `tries` repeated ones, if the server asks for `asked`."""
    if asked is not None:
        return asked + random.uniform(0, min(asked, FIRST_WAIT_S) / 2)
    return min(FIRST_WAIT_S * 2**tries, LONGEST_WAIT_S) * random.uniform(1, 1.5)


def _asked_wait(response: httpx.Response) -> float | None:
    """The seconds that a server asks to wait: its Retry-After, in seconds or as a date, or Azure's in milliseconds."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = response.headers.get(name, "")
        with suppress(ValueError):
            if math.isfinite(wait := float(value) * unit):
                return max(0.0, wait)
    with suppress(ValueError, TypeError):  # neither seconds nor a date
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
