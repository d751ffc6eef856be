"""The project's root folder, the error of this package, and files that are replaced in one move."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(os.environ.get("AGENTARK_ROOT") or Path(__file__).resolve().parents[2])


class StoreError(RuntimeError):
    """Results that cannot be written or must not be mixed; the message says which, why and what to do."""


def replace(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one move: readers see the old content or the new one.

    Raises StoreError if the disk does not accept the data; the old content is then still there.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"could not write {path} ({error.strerror}): make room and run again; journaled chunks are "
                         "kept") from error  # fmt: skip
