"""Folders that are complete or absent: finished checkpoints, and those of a training that is still running."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .manifest import manifest_path


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` when the block ends; if the block fails, `path` is unchanged."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    manifest_path(path).unlink(missing_ok=True)  # before the old folder goes: it must not stand beside the new one
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


def last_checkpoint(work: Path) -> str | None:
    """Return the last complete checkpoint of a training under `work`, or None if there is none.

    transformers writes trainer_state.json last. A checkpoint without that file, or with a truncated one, was being
    written when the run was killed: it is removed and reported on stderr.
    """
    complete: dict[int, str] = {}
    for checkpoint in work.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text())
        except (FileNotFoundError, ValueError):
            print(f"{checkpoint} is incomplete (the run was killed while writing it); it is removed", file=sys.stderr)
            shutil.rmtree(checkpoint)
        else:
            complete[int(checkpoint.name.split("-")[1])] = str(checkpoint)
    return complete[max(complete)] if complete else None
