"""The questions of a data file: the problems of its good rows, and its bad rows with their places and reasons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from . import own_rows, row_files
from .own_rows import Equal, Parse
from .problem import Problem
from .row_files import RowError

SHOWN = 5  # places that a sentence lists of each kind of bad row


class Good(NamedTuple):
    """A row that can be used: its place in the file, its problem and split, and whether it names the split itself."""

    place: str
    problem: Problem
    split: str
    is_named: bool


class Bad(NamedTuple):
    """A row that cannot be used: its place in the file (with its id), the kind of its fault, and a phrase about it."""

    place: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Rows:
    """The rows of a file or dataset, in order, and its sha256."""

    good: list[Good]
    bad: list[Bad]
    sha256: str


def read(name: str, parse: Parse, equal: Equal) -> Rows:
    """Read a file (JSON Lines, CSV or Parquet; "-" is the standard input) or a dataset (hf://OWNER/NAME).

    parse, equal: how answers to its questions are judged, by which its own answers have to be right.  A row without an
    id gets its number, with "row " before it if another row has that id.  Raises ValueError, in one sentence, for a
    file that cannot be read as a whole.
    """
    found, sha256 = row_files.read(name)
    given = [_name(row) for row in found]
    taken: set[str] = {name for name in given if isinstance(name, str)}
    seen: set[str] = set()
    good: list[Good] = []
    bad: list[Bad] = []
    for row, own in zip(found, given, strict=True):
        try:
            if isinstance(row.values, RowError):
                raise row.values
            if isinstance(own, RowError):
                raise own
            if own in seen:
                raise RowError("an id a second time", f"has the id {own[:60]!r} a second time")
            made, split = own_rows.problem(row.values, own or free(str(row.number), "row ", taken), parse, equal)
            good.append(Good(_place(row.place, own), made, split, own_rows.value(row.values, "split") is not None))
            seen |= {own} - {""}
        except RowError as error:
            shown = "" if isinstance(own, RowError) or repr(own[:60]) in str(error) else own
            bad.append(Bad(_place(row.place, shown), error.kind, str(error)))
    return Rows(good, bad, sha256)


def _name(row: row_files.Row) -> str | RowError:
    try:
        return "" if isinstance(row.values, RowError) else own_rows.name_of(row.values)
    except RowError as error:
        return error


def _place(place: str, name: str) -> str:
    return f"{place} (id {name[:60]!r})" if name else place


def free(name: str, prefix: str, taken: set[str]) -> str:
    """Return a name with as many prefixes as it needs to be none of `taken`, and add it there."""
    while name in taken:
        name = prefix + name
    taken.add(name)
    return name


def listed(bad: Iterable[Bad]) -> str:
    """Return bad rows as a part of a sentence: of each kind how many there are, and where the first ones are."""
    kinds: dict[str, list[Bad]] = {}
    for row in bad:
        kinds.setdefault(row.kind, []).append(row)
    parts = []
    for same in kinds.values():
        others = ", ".join(row.place for row in same[1:SHOWN])
        more = f" (and {len(same) - 1} more: {others}{', …' if len(same) > SHOWN else ''})" if others else ""
        parts.append(f"{same[0].place} {same[0].reason}{more}")
    return "; ".join(parts)


def refusal(name: str, bad: list[Bad]) -> ValueError:
    """Return the error, in one sentence, about a file that is refused for its bad rows."""
    number = f"{len(bad)} bad row{'s' * (len(bad) > 1)}"
    return ValueError(f"{name} has {number}: {listed(bad)}; correct or remove {'them' if len(bad) > 1 else 'it'}")
