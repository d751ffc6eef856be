"""Journals: the finished chunks of a stage that is still running, kept through a kill at any moment.

A journal is append-only JSONL. Its first line holds everything that the rows depend on; every other line is one
finished chunk with a checksum. A run that was killed finds its finished chunks again. A truncated or damaged line is
dropped and reported, and its chunk is recomputed with the same seed, hence with the same rows.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zlib
from pathlib import Path
from typing import Any

from .digests import canonical, differences
from .files import StoreError, replace


class Journal:
    """The finished chunks of one artifact, on disk as soon as they are finished.

    `chunks` maps the name of each finished chunk to its rows; `dropped` counts the damaged lines that were removed.
    """

    def __init__(self, path: Path, about: dict[str, Any]):
        """Open or create the journal at `path` for the work that `about` describes.

        Raises StoreError if the file is not a journal, or is the journal of other work.
        """
        self.path = path
        self.chunks: dict[str, list[dict]] = {}
        self.dropped = 0
        about = json.loads(canonical(about))
        if path.exists():
            self._read(about)
        if not path.exists():
            self._append({"journal": 1, "about": about}, "xb")

    def _read(self, about: dict) -> None:
        data = self.path.read_bytes()
        lines = data.split(b"\n")
        head = _parse(lines[0])
        if head is None or "journal" not in head:
            if b"\n" not in data and re.fullmatch(rb"[0-9a-f]{0,8}( (\{.*)?)?", data, re.DOTALL):
                self.path.unlink()  # the run was killed while it wrote the first line: nothing is lost
                return
            raise StoreError(f"{self.path} is not a journal of this program (its first line is unreadable): move it "
                             "away to start over")  # fmt: skip
        if head["about"] != about:
            changed = "; ".join(differences(head["about"], about)[:6])
            raise StoreError(f"{self.path} was made with other parameters ({changed}). Delete it to start over, or "
                             "give the study another name")  # fmt: skip
        intact = [lines[0]]
        for line in filter(None, lines[1:]):
            entry = _parse(line)
            if entry is None:
                self.dropped += 1
                continue
            self.chunks[entry["chunk"]] = entry["rows"]
            intact.append(line)
        if self.dropped or not data.endswith(b"\n"):
            print(f"{self.path}: dropped {self.dropped} damaged or half-written line(s); their chunks are recomputed",
                  file=sys.stderr)  # fmt: skip
            replace(self.path, b"\n".join(intact) + b"\n")

    def _append(self, entry: dict, mode: str = "ab") -> None:
        """Write one line and force it to disk; raises StoreError if the disk does not accept it."""
        text = canonical(entry)
        line = f"{zlib.crc32(text.encode()):08x} {text}\n".encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, mode, buffering=0) as file:
                written = file.write(line)
                if written < len(line):
                    raise OSError(28, "No space left on device")
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"could not write to {self.path} ({error.strerror}): {len(self.chunks)} finished chunks "
                             "are kept; make room and run again") from error  # fmt: skip

    def add(self, chunk: str, rows: list[dict]) -> None:
        """Record a finished chunk."""
        self._append({"chunk": chunk, "rows": rows})
        self.chunks[chunk] = json.loads(canonical(rows))


def _parse(line: bytes) -> dict | None:
    """Return the content of a journal's line, or None if the line is damaged."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return json.loads(text)
    except ValueError:
        return None
