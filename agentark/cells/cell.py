"""A cell: the coordinates of one run, from which file names, columns of rows and the plan follow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

COORDINATES = ("teacher", "student", "method", "train", "test", "protocol", "seed")  # the columns of every result row
NONE = "-"  # the value of a coordinate that a cell does not have


def slug(value: Any) -> str:
    """A coordinate as a part of a file name: the last part of a network's or a task file's name."""
    return Path(str(value)).name


@dataclass(frozen=True)
class Cell:
    """The coordinates of a run; "-" stands for one that the run does not have.

    teacher, student: names of networks.  method: how the student learned ("base": not at all).  train, test: names of
    benchmarks.  protocol: whose log the student learned from.  seed: of training and sampling.  split: which problems
    are answered ("train", "dev" or "test").  axes: the values of the parameters that a study varies besides, as
    (dotted path, value) pairs.
    """

    teacher: str = NONE
    student: str = NONE
    method: str = NONE
    train: str = NONE
    test: str = NONE
    protocol: str = NONE
    seed: int = 0
    split: str = "train"
    axes: tuple[tuple[str, Any], ...] = ()

    @property
    def task(self) -> str:
        """The benchmark whose problems are answered."""
        return self.test if self.split == "test" else self.train

    def but(self, **changes: Any) -> Cell:
        """A copy with other coordinates."""
        return replace(self, **changes)

    def columns(self) -> dict[str, Any]:
        """The cell as columns of a result row: `COORDINATES`, then one column per axis."""
        return {name: getattr(self, name) for name in COORDINATES} | dict(self.axes)

    def log_columns(self) -> dict[str, Any]:
        """The cell as columns of a generated log: teacher, task, split, protocol, seed, then one column per axis."""
        names = ("teacher", "task", "split", "protocol", "seed")
        return {name: getattr(self, name) for name in names} | dict(self.axes)


def fill_coordinates(rows: pd.DataFrame, axes: Iterable[str] = ()) -> pd.DataFrame:
    """Result rows with all of `COORDINATES`: rows that were written before a coordinate existed get its default.

    The protocol of a cell that was trained is "debate", of any other "-"; an axis that the rows lack is "-".
    """
    if "protocol" not in rows:
        position = list(rows.columns).index("test") + 1
        rows = rows.copy()
        rows.insert(position, "protocol", rows["train"].map(lambda train: NONE if train == NONE else "debate"))
    missing = {path: NONE for path in axes if path not in rows}
    return rows.assign(**missing) if missing else rows
