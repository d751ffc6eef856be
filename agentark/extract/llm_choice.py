"""Lets a language model choose one of a few words, such as a verdict or a number.

The engine constrains the reply if the configuration asks for it.  A reply that matches none of the choices gives None,
which the caller counts; the choice is never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentark import store
from agentark.engines import Chat, Engine, Sampling
from agentark.params import LanguageModel


@dataclass(frozen=True)
class Reply:
    """The text of a reply and the choice that it stands for, or None if it stands for none of them."""

    choice: str | None
    text: str


_MARKUP = " \t*_`\"'()[]{}.,:;!#>$"
_LABEL = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:verdict|answer|score|rating|choice|selection|solution)\s*(?::|=|is\b|)[\s*_]*",
    re.IGNORECASE,
)


def parse(text: str, choices: Sequence[str]) -> str | None:
    """Return the choice that stands alone on the first or the last line of a reply.

    The choice may be bare, marked up ("**Correct.**") or labelled ("Score: 4/5").  Returns None if there is no choice,
    if the two lines differ, or if the line contains anything else ("correct, or not").
    """
    lines = [line for line in text.splitlines() if line.strip(_MARKUP)]
    matches: set[str] = set()
    for line in lines[:1] + lines[-1:]:
        word = _LABEL.sub("", line.strip(_MARKUP)).strip(_MARKUP).casefold()
        word = re.sub(rf"\s*(?:/|out of)\s*{re.escape(choices[-1])}$", "", word)  # 4/5, on a scale that ends with 5
        matches.update(choice for choice in choices if word == choice.casefold())
    return matches.pop() if len(matches) == 1 else None


def choose(
    engine: Engine, chats: Sequence[Chat], choices: Sequence[tuple[str, ...]], config: LanguageModel, seed: int
) -> list[Reply]:
    """Return one reply per chat; `choices` has one tuple per chat, and chats with equal ones are generated together."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, options in enumerate(choices):
        groups.setdefault(tuple(options), []).append(index)
    replies: dict[int, Reply] = {}
    for options, indices in groups.items():
        sampling = Sampling(config.temperature, config.max_new_tokens, choices=options if config.constrained else None)
        completions = engine.generate([chats[i] for i in indices], sampling, store.chunk_seed(seed, *options))
        for i, completion in zip(indices, completions, strict=True):
            replies[i] = Reply(parse(completion.text, options), completion.text)
    return [replies[i] for i in range(len(chats))]


def map_chunks(
    journal: store.Journal,
    label: str,
    items: Sequence,
    config: LanguageModel,
    seed: int,
    make_rows: Callable[[Sequence, int], list[dict]],
    progress: Callable[[str, int, int], None],
) -> list[dict]:
    """Return the rows of `make_rows(chunk, chunk_seed)` over all chunks; finished chunks are read from the journal."""
    rows: list[dict] = []
    chunks = [items[start : start + config.chunk] for start in range(0, len(items), config.chunk)]
    for n, chunk in enumerate(chunks):
        key = f"{label} {n}"
        if key not in journal.chunks:
            journal.add(key, make_rows(chunk, store.chunk_seed(seed, key)))
        rows += journal.chunks[key]
        progress(label, n + 1, len(chunks))
    return rows
