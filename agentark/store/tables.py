"""Tables of rows, Parquet or CSV, and the end of a stage that makes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .files import replace
from .journal import Journal
from .manifest import write_manifest

if TYPE_CHECKING:  # `agentark plan` starts without pandas
    import pandas as pd


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table in one move, as CSV if the suffix is .csv, or else as Parquet, compressed with Zstandard.

    Texts take two thirds of the bytes that they take with Parquet's usual Snappy, in about the same time.

    Raises StoreError if the disk does not accept it; the old table is then still there.
    """
    if path.suffix == ".csv":
        data = table.to_csv(index=False).encode()
    else:
        data = table.to_parquet(index=False, compression="zstd", compression_level=9)
    replace(path, data)


def finish(table: pd.DataFrame, path: Path, about: dict[str, Any], started: float, journal: Journal | None = None,
           **more: Any) -> None:  # fmt: skip
    """Write the table and the manifest of a stage (see `write_manifest`), then delete its journal."""
    write_table(table, path)
    write_manifest(path, about, started, rows=len(table), repaired_lines=journal.dropped if journal else 0, **more)
    if journal:
        journal.path.unlink(missing_ok=True)
