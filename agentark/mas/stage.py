"""The debate stage: problems of a task and a teacher go in, the table `debates` comes out."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.models import load
from agentark.source import source_hash

from . import protocols


def say(label: str, done: int, of: int) -> None:
    """One line of progress on stderr."""
    print(f"{time.strftime('%H:%M:%S')} {label}: chunk {done} of {of}", file=sys.stderr, flush=True)


def run(
    path: Path,
    *,
    model: str,
    task: str,
    split: str,
    n: int,
    protocol: str,
    seed: int,
    told: params.Debate,
    engine: params.Engine,
    progress: Callable[[str, int, int], None] = say,
) -> pd.DataFrame:
    """Let agents answer the first `n` problems of a split and write their log to `path` (Parquet).

    Returns the log: problem, round (from 1), agent (from 1; 0 is the aggregator), text, answer, strict (whether an answer line
    was found), finish, tokens_in, tokens_cached, tokens_out, and the problem's gold, template and held_out.  What is there
    already is read; a killed run goes on at its first unfinished chunk.
    """
    about = {
        "stage": "debate",
        "source": source_hash(__name__, *tasks.modules(task)),
        "model": model,
        "revision": load.revision(model),
        "task": task,
        "split": split,
        "n": n,
        "protocol": protocol,
        "seed": seed,
        "debate": told.model_dump(),
        "engine": engine.about(),
    }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started, met = time.time(), tasks.counts(task)
    problems = tasks.problems(task, split, n)
    journal = store.Journal(path.with_suffix(".journal"), about)
    found = len(journal.chunks)
    log = protocols.Logger(cache(lambda: engines.make(model, engine)), tasks.get(task), told, seed, journal, progress)
    if protocol in ("debate", "shuffled"):
        rows = protocols.debate(problems, log, protocol == "shuffled")
    else:
        rows = protocols.independent(
            problems, protocols.completions_of(told) if protocol == "self_consistency" else 1, log
        )
    known = pd.DataFrame(
        [{"problem": p.id, "gold": p.answer, "template": p.template, "held_out": p.held_out} for p in problems]
    )
    table = pd.DataFrame(rows).merge(known, on="problem", validate="many_to_one")
    store.finish(
        table,
        path,
        about,
        started,
        journal,
        chunks_found=found,
        truncated=int((table.finish == "length").sum()),
        unparsed=int(table.answer.isna().sum()),
        **tasks.counts(task, met),
    )
    return table
