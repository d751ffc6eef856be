"""Error messages: one sentence for each mistake in a params file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, get_args

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
