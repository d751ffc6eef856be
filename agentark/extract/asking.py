"""Asking a language model for one of a few words: a verdict, a number.  Constrained where the engine can, parsed where it cannot.

A reply that is none of the choices is None, and is counted by whoever asked; it is never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentark import store
from agentark.engines import Chat, Engine, Sampling
from agentark.params import Ask


@dataclass(frozen=True)
class Reply:
    """What was said, and which choice it is; None where it is none of them."""

    choice: str | None
    text: str


_MARKUP = " \t*_`\"'()[]{}.,:;!#>$"
_LABEL = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:verdict|answer|score|rating|choice|selection|solution)\s*(?::|=|is\b|)[\s*_]*",
    re.IGNORECASE,
)


def parse(text: str, choices: Sequence[str]) -> str | None:
    """The choice that a reply gives: alone on its first or its last line, bare, marked up ("**Correct.**") or labelled ("Score: 4/5").

    None where there is none, where the two lines differ, and where more is said on the line ("correct, or not"): no guessing.
    """
    lines = [line for line in text.splitlines() if line.strip(_MARKUP)]
    found = set()
    for line in lines[:1] + lines[-1:]:
        said = _LABEL.sub("", line.strip(_MARKUP)).strip(_MARKUP).casefold()
        said = re.sub(rf"\s*(?:/|out of)\s*{re.escape(choices[-1])}$", "", said)  # 4/5, on a scale that ends with 5
        found.update(choice for choice in choices if said == choice.casefold())
    return found.pop() if len(found) == 1 else None


def ask(engine: Engine, chats: Sequence[Chat], choices: Sequence[tuple[str, ...]], told: Ask, seed: int) -> list[Reply]:
    """A reply to each chat, in order; `choices` are each chat's own.  Chats with equal choices go to the engine together, in order."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for n, mine in enumerate(choices):
        groups.setdefault(tuple(mine), []).append(n)
    found: dict[int, Reply] = {}
    for mine, numbers in groups.items():
        sampling = Sampling(told.temperature, told.max_new_tokens, choices=mine if told.constrained else None)
        made = engine.generate([chats[n] for n in numbers], sampling, store.chunk_seed(seed, *mine))
        found |= {
            n: Reply(parse(completion.text, mine), completion.text) for n, completion in zip(numbers, made, strict=True)
        }
    return [found[n] for n in range(len(chats))]


def in_chunks(
    journal: store.Journal,
    label: str,
    items: Sequence,
    told: Ask,
    seed: int,
    make: Callable[[Sequence, int], list[dict]],
    progress: Callable[[str, int, int], None],
) -> list[dict]:
    """The rows of `make(items of a chunk, its seed)`, a chunk after the other; finished chunks are read from the journal."""
    rows: list[dict] = []
    chunks = [items[at : at + told.chunk] for at in range(0, len(items), told.chunk)]
    for n, chunk in enumerate(chunks):
        key = f"{label} {n}"
        if key not in journal.chunks:
            journal.add(key, make(chunk, store.chunk_seed(seed, key)))
        rows += journal.chunks[key]
        progress(label, n + 1, len(chunks))
    return rows
