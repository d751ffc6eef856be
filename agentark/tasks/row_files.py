"""The rows of a data file: JSON Lines, CSV, Parquet, or a dataset of the Hugging Face Hub.

A file that is none of these is refused in one sentence that says what it is and how to convert it.  A single line that
cannot be read is a row with a `RowError`, so that the caller decides between refusing the file and leaving the row out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

JSONL = 'JSON Lines: one object per line, as in {"question": "1+1?", "answer": 2}'
# How files begin that are no text -> what they are, and what to do.
BEGINNINGS = {
    b"\x1f\x8b": ("compressed with gzip", "unpack it with gunzip"),
    b"BZh": ("compressed with bzip2", "unpack it with bunzip2"),
    b"\xfd7zXZ": ("compressed with xz", "unpack it with unxz"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it with unzstd"),
    b"PK\x03\x04": ("a ZIP archive or a spreadsheet", "unpack it, or export the sheet as CSV"),
    b"PAR1": ("a Parquet file", "give it a name that ends in .parquet"),
    b"ARROW1": ("an Arrow file", "write it as Parquet or as JSON Lines"),
    b"SQLite format 3": ("an SQLite database", "export its table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS and not the file itself", "run git lfs pull"),
}  # fmt: skip
# Byte-order marks -> encodings; those of four bytes first, because two of them begin alike.
MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
TABLES = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv"}  # suffix -> builder of the datasets library
HUB = re.compile(r"hf://(?:datasets/)?(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.+))?")
# Names of splits on the Hub -> ours.
HUB_SPLITS = {"train": "train", "validation": "dev", "valid": "dev", "val": "dev", "dev": "dev", "test": "test"}


class RowError(Exception):
    """Why a row cannot be used: `kind`, by which such rows are counted, and the end of a sentence about this row."""

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


@dataclass(frozen=True)
class Row:
    """A row as the file has it, or why it cannot be read.  place: where it stands; number: counted from 1."""

    place: str
    number: int
    values: dict[str, Any] | RowError


def read(name: str) -> tuple[list[Row], str]:
    """Return the rows of a file or of a dataset (hf://OWNER/NAME), and their sha256.  A pipe is read once.

    Numbers of JSON are Decimal.  Raises ValueError, in one sentence, for what is not there or is no such file.
    """
    hub = HUB.fullmatch(name)
    if hub and not hub["path"]:
        rows = _table(name, _hub_splits(name, hub["repo"], hub["revision"]))
        data = json.dumps([row.values for row in rows], default=str, sort_keys=True).encode()
    else:
        path = _hub_file(name, hub) if hub else name
        builder = TABLES.get(Path(path).suffix.lower())
        data = _bytes(name, path)
        if builder != "parquet":
            _refuse_binary(name, data, "CSV" if builder else "JSON Lines")
        rows = _table(name, {"": lambda: _file(path, builder)}) if builder else _lines(name, data)
    if not rows:
        raise ValueError(f"{name} has no rows: it must have at least one question and its answer")
    return rows, hashlib.sha256(data).hexdigest()


def _bytes(name: str, path: str) -> bytes:
    try:
        return Path("/dev/stdin" if path == "-" else path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
        advice = "give a file of it" if isinstance(error, IsADirectoryError) else "check its name and the permissions"
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot read the task file {name} ({reason}): {advice}") from None


def _refuse_binary(name: str, data: bytes, form: str) -> None:
    """Raise ValueError if the bytes of a file are no UTF-8 text as a whole."""
    for beginning, (what, remedy) in BEGINNINGS.items():
        if data.startswith(beginning):
            raise ValueError(f"{name} is {what}, not {form}: {remedy}")
    marked = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), None)
    if marked or b"\0" in data[:200]:
        encoding = marked or ("UTF-16BE" if data.startswith(b"\0") else "UTF-16LE")
        raise ValueError(f"{name} is {encoding}, not UTF-8: {_convert(name, encoding)}")
    if form == "CSV":
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            advice = f"if it is Latin-1, {_convert(name, 'LATIN1')}"
            raise ValueError(f"{name} is not UTF-8 (line {line}): {advice}") from None


# JSON Lines


def _lines(name: str, data: bytes) -> list[Row]:
    _refuse_other_forms(name, data)
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return [Row(f"line {k}", k, _parsed(line)) for k, line in enumerate(lines, 1) if line.strip()]


def _refuse_other_forms(name: str, data: bytes) -> None:
    """Raise ValueError if a text is not JSON Lines as a whole."""
    text = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not text:
        raise ValueError(f"{name} is empty: it must be {JSONL}")
    first = re.split(rb"[\r\n]", text, maxsplit=1)[0].strip()
    if text.startswith(b"[") and (first == text or not _is_json(first)):
        command = f"jq -c '.[]' {quote(name)} > new.jsonl"
        raise ValueError(f"{name} is one JSON array, not JSON Lines: convert it with {command}")
    if first == b"{":
        command = f"jq -c . {quote(name)} > new.jsonl"
        raise ValueError(f"{name} has JSON objects over several lines, not one per line: convert it with {command}")
    columns = re.split(rb"[,;\t]", first.lower().replace(b'"', b""))
    if not text.startswith(b"{") and {b"question", b"answer"} <= {column.strip() for column in columns}:
        raise ValueError(f"{name} is a table (CSV), not JSON Lines: give it a name that ends in .csv")


def _convert(name: str, encoding: str) -> str:
    return f"convert it with iconv -f {encoding} -t UTF-8 {quote(name)} > new{Path(name).suffix}"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(line: bytes) -> dict[str, Any] | RowError:
    """Return the object of a line, or why it has none."""
    try:
        values = json.loads(line.decode("utf-8").strip("\ufeff \t"), parse_int=_number, parse_float=_number,
                            parse_constant=_constant, object_pairs_hook=_object)  # fmt: skip
    except RowError as error:
        return error
    except UnicodeDecodeError as error:
        return RowError("not UTF-8", f"is not UTF-8 (byte 0x{line[error.start]:02x}; if the file is Latin-1, convert "
                                     "it with iconv -f LATIN1 -t UTF-8)")  # fmt: skip
    except json.JSONDecodeError as error:
        return RowError("not JSON", f"is not JSON ({error.msg})")
    except RecursionError:
        return RowError("nested too deeply", "is nested too deeply to be read")
    return values if isinstance(values, dict) else RowError("not an object", "is not an object")


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise RowError("a number that is too large", f"has a number that is too large ({text[:30]})") from None


def _constant(text: str) -> None:
    raise RowError("NaN or Infinity", f"contains {text}, which is no number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise RowError("a key twice", f"has the key {twice!r} twice")
    return values


# CSV, Parquet and the Hub, through the datasets library


def _table(name: str, parts: dict[str, Callable[[], Iterable[dict]]]) -> list[Row]:
    """Return the rows of splits, which are given by our name of each: "" for rows without one."""
    rows: list[Row] = []
    for split, load in parts.items():
        try:
            for k, values in enumerate(load(), 1):
                place = f"row {k} of {split}" if split else f"row {k}"
                rows.append(Row(place, len(rows) + 1, values | {"split": values.get("split") or split}))
        except Exception as error:  # the library raises those of pandas, pyarrow, fsspec and its own
            raise ValueError(_explanation(name, error)) from error
    return rows


def _explanation(name: str, error: Exception) -> str:
    advice = "check that it is such a file, or convert it to JSON Lines"
    if name.startswith("hf://"):
        advice = ("check its name, connect if this machine is offline, log in (hf auth login) if it is gated, and name "
                  "one file (hf://datasets/OWNER/NAME/train.parquet) if it has several configurations")  # fmt: skip
    return f"{name} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]}): {advice}"


def _file(path: str, builder: str) -> Iterable[dict]:
    """The rows of a Parquet or CSV file; every cell of a CSV is a text, as it stands there."""
    import datasets

    load = partial(datasets.load_dataset, builder, data_files=path, split="train", streaming=True)
    if builder == "parquet":
        return load()
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline()
    options = {"sep": max(",;\t", key=header.count), "keep_default_na": False, "encoding": "utf-8-sig"}
    columns: dict = next(iter(load(**options)), {})
    if "__index_level_0__" in columns:  # pandas takes the first cells for names of the rows
        raise ValueError("a row has more cells than the header; texts that contain the separator need quotes")
    return load(**options, features=datasets.Features({column: datasets.Value("string") for column in columns}))


def _hub_file(name: str, hub: re.Match) -> str:
    """The path of a file of a dataset, in a folder `owner/name` of the working directory or in the Hub's cache."""
    if (copy := Path(hub["repo"]) / hub["path"]).is_file():
        return str(copy)
    import huggingface_hub

    try:
        return huggingface_hub.hf_hub_download(hub["repo"], hub["path"], repo_type="dataset", revision=hub["revision"])
    except (OSError, ValueError) as error:
        raise ValueError(_explanation(name, error)) from error


def _hub_splits(name: str, repo: str, revision: str | None) -> dict[str, Callable[[], Iterable[dict]]]:
    """The splits of a dataset, as functions that return their rows; a single split has no name."""
    import datasets

    try:
        splits = datasets.load_dataset(repo, revision=revision, streaming=True)
    except Exception as error:
        raise ValueError(_explanation(name, error)) from error
    if len(splits) == 1:
        return {"": partial(iter, next(iter(splits.values())))}
    if unknown := [split for split in splits if split not in HUB_SPLITS]:
        raise ValueError(f"{name} has splits that are none of {', '.join(HUB_SPLITS)} ({', '.join(unknown[:5])}): name "
                         f"one file of it, such as hf://datasets/{repo}/train.parquet")  # fmt: skip
    return {HUB_SPLITS[split]: partial(iter, rows) for split, rows in splits.items()}
