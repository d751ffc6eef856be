"""What the replies of servers mean that speak OpenAI's chat completions, each in its own way.

Servers differ in where they put an error (in the status, in the body of a 200, within a choice), in what they call the
end of a reply, and in whether they count tokens.
"""

from __future__ import annotations

import json
import re
from typing import Any

from . import Completion, Sampling

# How servers report a prompt that exceeds the context.
TOO_LONG = ("context length", "context_length", "context window", "context size", "context_size",
            "maximum model length", "max_tokens' is too large", "max_tokens is too large", "max_new_tokens` must be",
            "prompt is too long", "maximum number of tokens allowed", "reduce the length")  # fmt: skip
# What servers call the end of a reply (TGI, Anthropic, Gemini, Mistral, …), as OpenAI calls it.
FINISHES = dict.fromkeys(("", "none", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop")
FINISHES |= dict.fromkeys(("max_tokens", "max_length", "max_output_tokens", "model_length", "token_limit"), "length")
FINISHES |= dict.fromkeys(("safety", "refusal", "recitation", "blocklist", "prohibited_content"), "content_filter")
# How servers report, as an error, that they do not answer one prompt (Azure, OpenRouter).
FILTERED = ("content management policy", "content_filter", "input was flagged")
NO_REPLY = {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}  # to a prompt of that kind
FAILED = (
    "error",
    "abort",
    "cancelled",
    "insufficient_system_resource",
)  # finish reasons of a reply that the server did not end: another try may succeed
BAD_GATEWAY = 502  # the status that is meant by a 200 with an error that has no status, or without a reply


def status(sent: int, body: Any) -> int:
    """The status that a response means: the one that was sent, or that of the error in the body of a 200."""
    if sent >= 300:
        return sent
    errors = [body.get("error"), choice(body).get("error")] if isinstance(body, dict) else [None]
    if error := next(filter(None, errors), None):
        code = error.get("code") if isinstance(error, dict) else None
        is_status = isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code))
        return int(str(code)) if is_status else BAD_GATEWAY
    return sent


def is_completion(body: Any) -> bool:
    """Whether a body has a reply that the server ended."""
    message = choice(body).get("message")
    if not isinstance(message, dict) or _finish(choice(body)) in FAILED:
        return False
    return isinstance(message.get("content") or "", str | list | dict)


def choice(body: Any) -> dict:
    """The first choice of a completion; empty if there is none."""
    choices = body.get("choices") if isinstance(body, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def completion(body: dict, sampling: Sampling) -> Completion:
    """The completion in a server's body; tokens that the server does not count are None."""
    first = choice(body)
    usage = body["usage"] if isinstance(body.get("usage"), dict) else {}
    text = content(first["message"])
    tokens_in, tokens_out = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    finish = _finish(first)
    if not first.get("finish_reason") and tokens_out and tokens_out >= sampling.max_new_tokens:
        finish = "length"
    return Completion(
        text=text, token_ids=tuple(first.get("token_ids") or ()), finish=finish,
        tokens_in=tokens_in or None,  # no prompt has 0 tokens: that server does not count
        tokens_cached=_count(cached) or 0, tokens_out=tokens_out if tokens_out or not text else None,
        logprobs=_logprobs(first) if sampling.logprobs else None)  # fmt: skip


def content(message: dict) -> str:
    """The text of a message, whose content may be a list of parts; a refusal is the text if there is no other."""
    parts = message.get("content") or message.get("refusal") or ""
    if isinstance(parts, str):
        return parts
    parts = [parts] if isinstance(parts, dict) else parts
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def is_silent(body: Any) -> bool:
    """Whether a reply is reasoning without an answer, which servers put beside the content or at its beginning."""
    message = choice(body)["message"]
    text = content(message).strip()
    if text.startswith("<think>"):
        return not text.partition("</think>")[2].strip()
    return not text and any(message.get(name) for name in ("reasoning_content", "reasoning"))


def models(body: Any) -> tuple[str, set[str]] | None:
    """(the owner, the names) of the models in a server's list, as far as it gives them; None if it is no such list."""
    listed = next((body[key] for key in ("data", "models") if key in body), None) if isinstance(body, dict) else body
    if listed is None and isinstance(body, dict) and "data" in body:  # ollama without models
        return "", set()
    if not isinstance(listed, list) or not all(isinstance(record, dict) for record in listed):
        return None
    owner = next((str(record["owned_by"]) for record in listed if record.get("owned_by")), "")
    return owner, {record["id"] for record in listed if isinstance(record.get("id"), str)}


def message(body: Any, text: str) -> str:
    """What a server says in an error, in one line: its message, and what a provider behind it says."""
    body = body[0] if isinstance(body, list) and len(body) == 1 else body
    if not isinstance(body, dict):
        title = re.search(r"<title>(.*?)</title>", text, re.DOTALL | re.IGNORECASE)
        return _line(title[1] if title else text)
    error = body.get("error") or choice(body).get("error") or body.get("detail") or body
    if not isinstance(error, dict):
        return _line(error)
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return _line(f"{error.get('message') or error}{f' ({raw})' if raw else ''}")


def is_too_long(message: str) -> bool:
    """Whether the message of an error says that a prompt exceeds the context."""
    return any(words in message for words in TOO_LONG)


def is_filtered(status: int, message: str) -> bool:
    """Whether an error is about the content of one prompt, to which there is no reply then."""
    return status in (400, 403) and any(words in message for words in FILTERED)


def chosen(text: str, choices: tuple[str, ...]) -> str:
    """The choice that a reply makes, as JSON or as text; the unchanged reply if it makes none."""
    if text in choices:
        return text
    try:
        made = json.loads(re.sub(r"^\s*```(?:json)?|```\s*$", "", text))
    except ValueError:
        made = None
    if isinstance(made, dict) and len(made) == 1:
        [made] = made.values()
    if isinstance(made, str | int) and str(made) in choices:
        return str(made)
    bare = text.strip(" \t\n\"'`*.:;!()[]").casefold()
    matches = [each for each in choices if each.casefold() == bare]
    return matches[0] if len(matches) == 1 else text


def _finish(first: dict) -> str:
    reason = str(first.get("finish_reason") or "").lower()
    return FINISHES.get(reason, reason)


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def _logprobs(first: dict) -> tuple[float, ...] | None:
    """The log-probabilities of a choice, in OpenAI's form or in that of its former completions (Together)."""
    found = first.get("logprobs")
    if not isinstance(found, dict):
        return None
    steps = [step.get("logprob") for step in found.get("content") or ()] or found.get("token_logprobs") or []
    return tuple(map(float, steps)) if steps and None not in steps else None


def _line(text: Any) -> str:
    return " ".join(str(text).split())
