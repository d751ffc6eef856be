"""Writes the student, the model card and the report into the output folder, one run at a time."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentark import store
from agentark.store import locks

from .card import card
from .data import write
from .findings import Results
from .report import report

CARD, REPORT, MODEL = "README.md", "report.html", "model"


def publish(out: Path, checkpoint: Path, results: Results, about: dict) -> None:
    """Write the folder of the student, the report and finally the card with its manifest."""
    started, part = time.time(), out / f"{MODEL}.part"
    text = card(results, (checkpoint / "adapter_config.json").exists())
    shutil.rmtree(part, ignore_errors=True)
    try:
        # without training_args.bin, a pickle of the trainer that is not safe to distribute
        shutil.copytree(checkpoint, part, copy_function=_link, ignore=shutil.ignore_patterns("*.bin", CARD))
        write(part / CARD, text)
        shutil.rmtree(out / MODEL, ignore_errors=True)
        part.rename(out / MODEL)
    except (OSError, shutil.Error) as error:
        raise store.StoreError(f"cannot write {out / MODEL} ({error}): free some space and run again") from error
    write(out / REPORT, report(results))
    write(out / CARD, text)
    store.write_manifest(out / CARD, about, started)


def _link(source: str, target: str) -> None:
    """Create a hard link, or a copy if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Lock a folder for this run.  Raises StoreError if another run holds the lock; the lock ends with its process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".lock").touch()
    except OSError as error:
        raise store.StoreError(f"cannot write to {out} ({error.strerror}): choose another --out") from error
    busy = f"another agentark distill is running in {out}: wait for it, or choose another --out"
    with locks.hold(out / ".lock", busy):
        yield
