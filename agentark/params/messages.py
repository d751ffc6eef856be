"""Error messages: one sentence for each mistake in a params file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def unknown(name: Any, allowed: Iterable[str], kind: str = "key") -> str:
    """Return the sentence for a name that is not allowed, with the nearest allowed name, or all if none is near.

    `kind` says what the names stand for: "key", "method", "task".
    """
    allowed = tuple(allowed)
    near = get_close_matches(str(name), allowed, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(allowed) or 'none'}"
    return f"unknown {kind} {name!r}; {hint}"


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one sentence, which names the key, for each mistake that pydantic found in the values of `model`."""
    return [_sentence(details, model) for details in error.errors()]


def located(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield for each mistake that pydantic found the keys that lead to it, and one sentence.

    Values are shortened, and one that may hold a key of a server is not shown.
    """
    for details in error.errors():
        *above, last = location = details["loc"] or ("",)
        details["input"] = shown(details["input"], *location)
        name = ".".join(map(str, location))
        if details["type"] in ("extra_forbidden", "invalid_key"):  # an invalid key is not a text
            key = shown(last) if details["type"] == "extra_forbidden" else details["input"]
            sentence = f"in {'.'.join(map(str, above))}: {unknown(key, _keys_below(model, above))}"
        elif details["type"] == "string_pattern_mismatch" and last in FORMS:
            sentence = f"{name} must be {FORMS[str(last)]}, not {details['input']!r}"
        else:
            sentence = _sentence(details, model)
        yield location, shortened(sentence)


# What a text of a certain form has to be, in words.
FORMS = {
    "api_key_env": "the name of the environment variable that holds the key (never the key)",
    "base_url": "the address of a server, such as http://localhost:8000/v1, without user, key or question mark",
    "name": "a name of at most 100 letters, digits, '.', '_' and '-' that begins with a letter, a digit or '_'",
}
SECRETS = ("api_key", "api_key_env", "base_url", "key", "token", "password", "secret")  # their values are not shown
KEY = re.compile(r"\b(sk|pk|hf|gsk|xai|nvapi|ghp|github_pat|AIza|eyJ)[-_]?[\w-]{16,}|(?<=://)[^/\s@]+(?=@)")
LONGEST, LONGEST_SENTENCE = 60, 1_000  # characters


@dataclass(frozen=True)
class _Words:
    """Words that stand for a value in a message."""

    words: str

    def __repr__(self) -> str:
        return self.words


HIDDEN = _Words("this value (it is not shown, because it may hold a key)")


def shown(value: Any, *location: str | int) -> Any:
    """Return what stands for a value in a message, by its `repr`: short, and without a key of a server.

    location: the keys that lead to the value, or its dotted path.
    """
    if value is not None and any(str(part).rpartition(".")[2] in SECRETS for part in location):
        return HIDDEN
    if isinstance(value, str):
        text = censored(value)
        return text if len(text) <= LONGEST else f"{text[:40]} … {text[-10:]}"
    if isinstance(value, list | tuple | dict) and value:
        kind = "mapping with" if isinstance(value, dict) else "list of"
        return _Words(f"a {kind} {len(value)} {'key' if isinstance(value, dict) else 'value'}{'s'[: len(value) > 1]}")
    if isinstance(value, int) and value.bit_length() > 128:
        return _Words(f"a number of about {value.bit_length() * 3 // 10:,} digits")
    return value


def censored(text: str) -> str:
    """Return a text without keys of servers."""
    return KEY.sub("***", text)


def shortened(sentence: str) -> str:
    """Return a sentence on one line, without keys of servers, and without its middle if it is very long."""
    sentence = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in censored(sentence))
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[:300]} … {sentence[-300:]}"


def _keys_below(model: Any, location: Sequence[str | int]) -> list[str]:
    """Return the keys of the section at a location below `model`, which may lie in mappings and lists."""
    for part in (*location, None):
        # of a type such as `Section | None`, `dict[str, Section]` or `list[Section]`, the part that may have keys
        kinds = (model, *get_args(model))
        section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        inner = next((get_args(kind)[-1] for kind in kinds if get_origin(kind) in (dict, list)), None)
        if inner is not None:
            model = inner
        elif part is None or section is None:
            return list(section.model_fields) if section else []
        else:
            model = section.model_fields[str(part)].annotation
    return []


def _sentence(details: ErrorDetails, model: type[BaseModel]) -> str:
    location, kind, value = [str(part) for part in details["loc"]], details["type"], details["input"]
    key = f"a key of {'.'.join(location[:-2])}" if location[-1:] == ["[key]"] else ".".join(location)
    if kind in ("extra_forbidden", "invalid_key"):  # an invalid key is not a text
        name = location[-1] if kind == "extra_forbidden" else value
        return f"in {'.'.join(location[:-1])}: {unknown(name, _keys(model, location[:-1]))}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "value_error":  # raised by a validator of ours; one of the whole file names the keys itself
        message = details["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    requirement = re.sub(r"^\w+ should ", "must ", details["msg"])
    requirement = re.sub(r" or instance of \w+| after validation.*", "", requirement)
    return f"{key} {requirement}, not {value!r}{_hint(kind, value, details.get('ctx', {}).get('expected', ''))}"


def _hint(kind: str, value: Any, expected: str) -> str:
    """Return the end of a sentence about a text: how YAML writes numbers, or the nearest of the expected words."""
    if not isinstance(value, str):
        return ""
    if kind in ("float_type", "int_type", "bool_type"):
        return " (text; YAML reads 1e-5 as text, write 1.0e-5)"
    near = get_close_matches(value, re.findall(r"'([^']*)'", expected), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _keys(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys of the section at a location below `model`."""
    for key in location:
        annotation = model.model_fields[key].annotation
        types = (annotation, *get_args(annotation))  # a section, or a section or null
        model = next(kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(model.model_fields)
