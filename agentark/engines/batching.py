"""Groups of prompts that share a prefix, and batches of groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

LEAST_PREFIX = 16  # tokens: sharing fewer does not pay for the extra forward pass
Member = TypeVar("Member")


def common_length(prompts: list[list[int]]) -> int:
    """The number of tokens with which all prompts start alike."""
    first, last = min(prompts), max(prompts)  # in lexical order, these two differ earliest
    return next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def prefix_length(prompts: list[list[int]]) -> int:
    """The length of the common prefix that leaves each prompt at least one token of its own to continue from."""
    return min(common_length(prompts), min(map(len, prompts)) - 1)


def group_by_prefix(prompts: list[list[int]], batch: int) -> list[list[int]]:
    """Indices of at most `batch` neighbouring prompts per group: each has at least half of the prefix shared so far."""
    groups: list[list[int]] = []
    shared = 0
    for index, prompt in enumerate(prompts):
        if groups and len(groups[-1]) < batch:
            length = prefix_length([prompts[groups[-1][0]][: shared + 1], prompt])
            if length >= max(LEAST_PREFIX, shared // 2):
                groups[-1].append(index)
                shared = length
                continue
        groups.append([index])
        shared = len(prompt)
    return groups


def batches(groups: list[list[Member]], batch: int) -> Iterator[list[list[Member]]]:
    """Groups packed, in order, into batches of at most `batch` sequences; a larger group is a batch of its own."""
    packed: list[list[Member]] = []
    size = 0
    for group in groups:
        if packed and size + len(group) > batch:
            yield packed
            packed, size = [], 0
        packed.append(group)
        size += len(group)
    if packed:
        yield packed
