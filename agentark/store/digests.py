"""Digests of JSON-able values, the seeds derived from them, and the differences between two values."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """Return `value` as JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def digest(value: Any) -> str:
    """Return twelve hex digits that identify a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def chunk_seed(*parts: Any) -> int:
    """Return the seed of a chunk, 31 bits, derived from its parts (seed, stage, round, chunk)."""
    return int(digest(parts), 16) % (2**31)


def differences(old: Any, new: Any, key: str = "") -> list[str]:
    """Return the differences between two nested mappings, one "key: was 1, now 2" per entry."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for name in sorted(old.keys() | new.keys(), key=str)
                for line in differences(old.get(name), new.get(name), f"{key}.{name}" if key else str(name))
                ]  # fmt: skip
    return [] if old == new else [f"{key}: was {old!r}, now {new!r}"]
