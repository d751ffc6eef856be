"""Where rows live: journals while a stage runs, Parquet tables with a manifest when it is done.

A journal is append-only JSONL.  Its first line says what it is a journal of (all that the rows depend on); every other line
is one finished chunk with a checksum.  A run that is killed, at any moment, finds its finished chunks again; a line that
was cut off or damaged is dropped, reported and made anew, with the same seed and so with the same rows.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
import shutil
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(os.environ.get("AGENTARK_ROOT") or Path(__file__).resolve().parents[1])
PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "tokenizers", "numpy", "pandas", "pyarrow")


class StoreError(RuntimeError):
    """Rows that cannot be written or must not be mixed: the message says which, why and what to do."""


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def digest(value: Any) -> str:
    """Twelve hex digits that stand for a JSON-able value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def chunk_seed(*parts: Any) -> int:
    """The seed of a chunk, made from (seed, stage, round, chunk): 31 bits."""
    return int(digest(parts), 16) % (2**31)


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """Where two nested mappings differ, as sentences "key: was 1, now 2"."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys(), key=str)
            for line in differences(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
        ]
    return [] if old == new else [f"{at}: was {old!r}, now {new!r}"]


class Journal:
    """Finished chunks of one artifact, on disk as soon as they are finished."""

    def __init__(self, path: Path, about: dict[str, Any]):
        """Open or start the journal at `path` for the work that `about` describes.

        Raises StoreError where the file is a journal of something else.
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
        head = _line(lines[0])
        if head is None or "journal" not in head:
            if b"\n" not in data and re.fullmatch(
                rb"[0-9a-f]{0,8}( (\{.*)?)?", data, re.DOTALL
            ):  # killed while the first line was written: nothing is lost
                self.path.unlink()
                return
            raise StoreError(
                f"{self.path} is no journal of this program (its first line cannot be read); move it away to start anew"
            )
        if head["about"] != about:
            changed = "; ".join(differences(head["about"], about)[:6])
            raise StoreError(
                f"{self.path} was made with other parameters ({changed}). Delete it to start anew, or give the study another name"
            )
        good = [lines[0]]
        for line in lines[1:]:
            if not line:
                continue
            entry = _line(line)
            if entry is None:
                self.dropped += 1
                continue
            self.chunks[entry["chunk"]] = entry["rows"]
            good.append(line)
        if self.dropped or not data.endswith(b"\n"):
            print(
                f"{self.path}: {self.dropped} damaged or half-written line(s) dropped; their chunks are made anew",
                file=sys.stderr,
            )
            _replace(self.path, b"\n".join(good) + b"\n")

    def _append(self, entry: dict, mode: str = "ab") -> None:
        """Write one line and force it to disk; StoreError where the disk does not take it."""
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
            raise StoreError(
                f"could not write to {self.path} ({error.strerror}): {len(self.chunks)} finished chunks are kept; "
                "make room and run again"
            ) from error

    def add(self, chunk: str, rows: list[dict]) -> None:
        """Record a finished chunk."""
        self._append({"chunk": chunk, "rows": rows})
        self.chunks[chunk] = json.loads(canonical(rows))


def _line(line: bytes) -> dict | None:
    """A journal's line, or None where it is damaged."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(text):
            return None
        return json.loads(text)
    except ValueError:
        return None


def manifest_path(table: Path) -> Path:
    """The manifest that lies beside an artifact."""
    return table.with_name(table.name + ".manifest.json")


def is_done(artifact: Path, about: dict[str, Any]) -> bool:
    """Whether the artifact is there and was made from the same `about`.

    A finished artifact that was made from something else is said to be so, and is made anew.
    """
    manifest = manifest_path(artifact)
    if not (artifact.exists() and manifest.exists()):
        return False
    changed = differences(json.loads(manifest.read_text())["about"], json.loads(canonical(about)))
    if changed:
        print(f"{artifact} was made from other parameters and is made anew: {'; '.join(changed[:6])}", file=sys.stderr)
    return not changed


def identity(artifact: Path) -> str:
    """What stands for a finished artifact in the manifests of those made from it.  StoreError where it has no manifest."""
    try:
        return digest(json.loads(manifest_path(artifact).read_text())["about"])
    except FileNotFoundError:
        raise StoreError(f"{artifact} has no manifest beside it: run the stage that makes it") from None


def write_manifest(artifact: Path, about: dict[str, Any], started: float, **more: Any) -> None:
    """Write, beside an artifact, what it was made from, with what and on what.  `started` is a time.time()."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    _replace(
        manifest_path(artifact),
        json.dumps(
            {
                "about": json.loads(canonical(about)),
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(time.time() - started, 1),
                "peak_memory_mb": peak_memory_mb(),
                "versions": versions,
                "python": platform.python_version(),
                "machine": machine(),
                **more,
            },
            indent=1,
        ).encode()
        + b"\n",
    )


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table in one move: Parquet, or CSV by its suffix.  Raises StoreError where the disk does not take it."""
    _replace(path, frame.to_csv(index=False).encode() if path.suffix == ".csv" else frame.to_parquet(index=False))


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(
            f"could not write {path} ({error.strerror}): make room and run again; journaled chunks are kept"
        ) from error


def finish(
    frame: pd.DataFrame, path: Path, about: dict[str, Any], started: float, journal: Journal | None = None, **more: Any
) -> None:
    """Write a stage's table and manifest, then let its journal go."""
    write_table(frame, path)
    write_manifest(path, about, started, rows=len(frame), repaired_lines=journal.dropped if journal else 0, **more)
    if journal:
        journal.path.unlink(missing_ok=True)


@contextmanager
def folder(path: Path) -> Iterator[Path]:
    """A folder in the place of `path`: what is written to the one that is yielded stands there, all of it, or nothing does."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(path, ignore_errors=True)
    part.rename(path)


def last_checkpoint(work: Path) -> str | None:
    """The last whole checkpoint of a training under `work`, None where there is none.

    transformers writes trainer_state.json last: a folder without it was being written when the run was killed, and is removed.
    """
    found: dict[int, str] = {}
    for folder in work.glob("checkpoint-*"):
        if (folder / "trainer_state.json").exists():
            found[int(folder.name.split("-")[1])] = str(folder)
        else:
            shutil.rmtree(folder)
    return found[max(found)] if found else None


def peak_memory_mb() -> int:
    """The largest resident size that this process has had, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


def machine() -> str:
    """This machine in words: processor, cores, memory, accelerator."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        named = [
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        model = named[0] if named else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    torch = sys.modules.get("torch")
    gpu = f", {torch.cuda.get_device_name()}" if torch and torch.cuda.is_available() else ", no GPU"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB{gpu}"
