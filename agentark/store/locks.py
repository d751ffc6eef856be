"""Locks that keep a second run of the same work away; a lock ends with its process, also if that is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from .digests import digest
from .files import StoreError


@contextmanager
def hold(path: Path, busy: str) -> Iterator[None]:
    """Hold the lock of a file until the block ends.

    Raises StoreError with the sentence `busy` if another process holds it, and OSError if the file cannot be opened.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StoreError(busy) from None
        yield


@contextmanager
def lock(work: Any, busy: str) -> Iterator[None]:
    """Hold the lock of some work of this user on this machine until the block ends.

    work: a JSON-able value that identifies it.  Raises StoreError with the sentence `busy` if another process holds it.
    """
    # not beside the results, where a folder may be read-only and a leftover would be in the way
    with hold(Path(gettempdir()) / f"agentark-{os.getuid()}-{digest(work)}.lock", busy):
        yield


def alive(pid: int) -> bool:
    """Whether a process with this number runs, of whatever user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
