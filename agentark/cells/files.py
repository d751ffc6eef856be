"""Where the artifacts of a study lie: every stage declares its artifacts, and their paths follow from a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .cell import NONE, Cell, slug

DEFAULT_PROTOCOL = "debate"  # left out of file names


@dataclass(frozen=True)
class Artifact:
    """A kind of file that a stage writes, one per cell.

    folder: below the study's results.  names: the cell's coordinates that its name consists of.  sections: the
    sections (or dotted keys) of the params on which its content depends; of a cell's axes, those appear in its name
    that touch one of them.  suffix: ".parquet", ".csv", or "" for a folder.  tail: an ending of the name.
    """

    folder: str
    names: tuple[str, ...]
    sections: tuple[str, ...]
    suffix: str = ".parquet"
    tail: str = ""

    def sections_of(self, split: str) -> tuple[str, ...]:
        """Its sections on a split: "{size}" in one stands for the key of `sizes` that counts the split's problems."""
        size = "debate_test" if split == "test" else split
        return tuple(section.format(size=size) for section in self.sections)

    def of(self, cell: Cell) -> Cell:
        """The cell with those of its axes on which this artifact depends."""
        sections = self.sections_of(cell.split)
        return cell.but(axes=tuple(axis for axis in cell.axes if touches(axis[0], sections)))


def touches(path: str, sections: Iterable[str]) -> bool:
    """Whether the params key `path` lies in one of `sections`, or one of them lies in it."""
    return any(path == s or path.startswith(f"{s}.") or s.startswith(f"{path}.") for s in sections)


@dataclass(frozen=True)
class Files:
    """The artifacts of a study below `root`; `defaults` are the params' own values of the study's axes."""

    root: Path
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def path(self, artifact: Artifact, cell: Cell) -> Path:
        """The path of an artifact of a cell: its coordinates joined by dots, with defaults left out."""
        parts = [slug(getattr(cell, name)) for name in artifact.names]
        if "protocol" not in artifact.names and cell.protocol not in (NONE, DEFAULT_PROTOCOL):
            parts.append(cell.protocol)
        axes = artifact.of(cell).axes
        parts += [f"{path}={slug(value)}" for path, value in axes if self.defaults.get(path) != value]
        name = ".".join([*parts, f"s{cell.seed}"]) + artifact.tail + artifact.suffix
        return self.root / artifact.folder / name
