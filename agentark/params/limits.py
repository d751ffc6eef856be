"""Values that have the right type and could not work, or that would work and be nonsense.

The sections say which types and signs are possible; here are the sizes, and the values that have to fit together. A run
would fail by them after hours, or never end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from .engine import Engine
from .messages import FORMS, HIDDEN, KEY, shown
from .sections import Params
from .training import Lora
from .yaml_file import Mistake, Place

SEEDS = 2**32  # NumPy's; transformers seeds it for every training

# The smallest and the largest value of a key, wherever it stands; 0 is decided by the sections.
RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-10, 1.0),
    "stage1_learning_rate": (1e-10, 1.0),
    "stage2_learning_rate": (1e-10, 1.0),
    "weight_decay": (1e-10, 1.0),
    "temperature": (0.01, 10.0),
    "top_p": (0.001, 1.0),
    "dropout": (1e-6, 0.9),
    "tau": (0.001, 1_000.0),
    "level": (0.5, 0.9999),
    "gpu_memory_utilization": (0.01, 1.0),
    "timeout_s": (0.01, 86_400.0),
    "retries": (1, 100),
    "max_length": (8, 10_000_000),
    "rounds": (1, 100),
    "epochs": (1, 10_000),
    "stage1_epochs": (1, 10_000),
    "stage2_epochs": (1, 10_000),
    "decontaminate_words": (3, 1_000),
    "tensor_parallel": (1, 1_024),
    "data_parallel": (1, 1_024),
    "concurrency": (1, 10_000),
    "samples": (1, 10_000),
    "base_votes": (1, 10_000),
    "repeats": (1, 10_000),
    "rollouts": (1, 10_000),
    "generations": (1, 10_000),
    "r": (1, 65_536),
    "seeds": (0, SEEDS - 1),
    "seed": (0, SEEDS - 1),
}
WHOLE, REAL = (1, 10_000_000), (1e-10, 1e6)  # of all other keys
LONGEST_NAME, LONGEST_TEXT = 100, 1_000  # characters of the study's name, which becomes a folder, and of other texts


def impossible(config: Params) -> Iterator[Mistake]:
    """Yield the keys that lead to each value that cannot work, and a sentence that names them."""
    yield from unusable(config.model_dump())
    if problem := _study_name(config.study.name):
        yield ("study", "name"), f"study.name {problem}"
    replies = {"debate.max_new_tokens": config.debate.max_new_tokens}
    replies["evaluate.max_new_tokens"] = config.evaluate.max_new_tokens
    engines: dict[Place, Engine] = {("engine",): config.engine}
    for name, judge in config.judges:
        if judge and judge.engine:
            engines["judges", name, "engine"] = judge.engine
            yield from _context(("judges", name, "engine"), judge.engine, {"its max_new_tokens": judge.max_new_tokens})
        elif judge:
            replies[f"judges.{name}.max_new_tokens"] = judge.max_new_tokens
    yield from _context(("engine",), config.engine, replies)
    for key, engine in engines.items():
        yield from _server(key, engine)
    if config.distill.lora and (problem := _targets(config.distill.lora)):
        yield ("distill", "lora", "target_modules"), f"distill.lora.target_modules {problem}"


def unusable(values: dict[str, Any]) -> Iterator[Mistake]:
    """Yield the same for each text and each number by itself."""
    for key, value in _leaves(values, ()):
        if problem := _text(value) if isinstance(value, str) else _number(key, value):
            yield key, f"{'.'.join(map(str, key))} {problem}"


def _leaves(value: Any, key: Place) -> Iterator[tuple[Place, Any]]:
    """Yield the numbers and texts below a value, with the keys that lead to them; not the axes."""
    if key in (("study", "axes"), ("study", "taught")):
        return
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _leaves(below, (*key, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*key, index))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield key, value


def _number(key: Place, value: float) -> str:
    """Return what is wrong with the size of a number; "" if nothing is."""
    name = next(str(part) for part in reversed(key) if not isinstance(part, int))
    least, most = RANGES.get(name, WHOLE if isinstance(value, int) else REAL)
    if value == 0 or least <= value <= most:
        return ""
    end = f"at least {least:,}" if value < least else f"at most {most:,}"
    return f"must be {end}, not {shown(value)!r}"


def _text(value: str) -> str:
    """Return what is wrong with a text, which is a name or a path everywhere; "" if nothing is."""
    if not value.strip():
        return "is empty: write a name"
    if not value.isprintable() or value != value.strip():
        return f"has a space at an end, or a character that is not printed: {shown(value)!r}"
    if len(value) > LONGEST_TEXT:
        return f"has {len(value):,} characters, more than {LONGEST_TEXT:,}: shorten it"
    if max(len(part.encode()) for part in value.split("/")) > 250:
        return f"is longer than the name of a file can be: shorten it ({shown(value)!r})"
    return ""


def _study_name(name: str) -> str:
    """Return why results cannot lie in a folder of this name; "" if they can."""
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, more than {LONGEST_NAME}: shorten it, since a folder has this name"
    if name.casefold() == "reference":
        return "is reference, the folder of the committed results: choose another name"
    if re.search(r"-first\d+$", name):
        return f"is {name!r}, the folder of a slice of another study (--limit): choose another name"
    return ""


def _context(key: Place, engine: Engine, replies: dict[str, int]) -> Iterator[Mistake]:
    """Yield the sentence for a context that holds no prompt beside a reply."""
    name, tokens = max(replies.items(), key=lambda item: item[1])
    if engine.max_model_len is not None and engine.max_model_len <= tokens:
        where = ".".join(map(str, (*key, "max_model_len")))
        yield (*key, "max_model_len"), (f"{where} ({engine.max_model_len}) leaves no room for a prompt beside a reply "
                                        f"of {name} = {shown(tokens)!r}: raise the one or lower the other")  # fmt: skip


def _server(key: Place, engine: Engine) -> Iterator[Mistake]:
    """Yield the sentences for an address that names no server, and for a key in place of its variable's name."""
    where = ".".join(map(str, key))
    if engine.base_url is not None:
        try:
            url = urlsplit(engine.base_url)
            named = bool(url.hostname) and url.port != 0 and not url.fragment and engine.base_url.isascii()
        except ValueError:  # a port that is no number, or half a pair of brackets
            named = False
        if not named:
            yield (*key, "base_url"), f"{where}.base_url must be {FORMS['base_url']}, not {HIDDEN}"
        elif url.path.rstrip("/").endswith(("/completions", "/models")):
            yield (*key, "base_url"), f"{where}.base_url must end before the name of a method, such as in …/v1"
    if engine.api_key_env is not None and (KEY.search(engine.api_key_env) or len(engine.api_key_env) > LONGEST_NAME):
        yield (*key, "api_key_env"), f"{where}.api_key_env must be {FORMS['api_key_env']}, not {HIDDEN}"


def _targets(lora: Lora) -> str:
    """Return what is wrong with the modules that adapters are added to, whatever the network; "" if nothing is."""
    if not lora.target_modules:
        return "is an empty list: write all-linear, or the names of modules"
    if isinstance(lora.target_modules, str):
        try:
            re.compile(lora.target_modules)
        except re.error as error:
            return f"is no regular expression ({error}): write all-linear, or a list of names of modules"
    elif len(set(lora.target_modules)) < len(lora.target_modules):
        return "has a name twice: remove one"
    return ""
