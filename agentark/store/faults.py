"""Errors of the disk, however the library that wrote to it reports them."""

from __future__ import annotations

import errno
import os

REMEDIES = {errno.ENOSPC: "make room", errno.EDQUOT: "make room", errno.EROFS: "make the folder writable"}
TORCH = "PytorchStreamWriter failed writing"  # which does not say why


def of_the_disk(error: BaseException) -> str | None:
    """Return a sentence for an error of writing a file: which file, why, and what to do; None for another error."""
    text = str(error)
    code = error.errno if isinstance(error, OSError) and error.errno in REMEDIES else None
    if code is None:  # safetensors and PyTorch raise errors of their own
        code = next((each for each in REMEDIES if f"(os error {each})" in text), None)
    file = getattr(error, "filename", None) or "a checkpoint"
    if code is None and TORCH in text:
        return f"could not write {file} ({text}): make room, or make the folder writable; finished chunks are kept"
    if code is None:
        return None
    return f"could not write {file} ({os.strerror(code)}): {REMEDIES[code]}; finished chunks are kept"
