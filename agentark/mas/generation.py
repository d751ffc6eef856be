"""The first stage: from problems of a benchmark and a teacher to the log of a protocol, the table `debates`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.store.progress import print_progress

from .log import Logger
from .protocol import protocols

if TYPE_CHECKING:
    import pandas as pd

TOKENS = ["tokens_in", "tokens_out"]  # which not every server counts
ENDING = store.manifest_path(Path("log")).name.removeprefix("log")  # of manifests


def run(
    path: Path,
    cell: Cell,
    n: int,
    config: params.Debate,
    engine: params.Engine,
    progress: Callable[[str, int, int], None] = print_progress,
) -> pd.DataFrame:
    """Let the cell's teacher answer the first `n` problems of its split by its protocol, and write the log to `path`.

    engine: that of the study; `config` may have another for the teacher.

    Returns the log, one row per completion: the cell's coordinates, problem, round (from 1), agent (from 1; 0 is the
    aggregator), text, answer (as the protocol read it), strict (whether it is on an answer line), finish, tokens_in,
    tokens_cached, tokens_out, and the problem's gold answer, template and held_out.  Finished rows are read; a killed
    run continues with its first unfinished chunk.  If the number of problems is an axis of the study, and a log of
    more of them lies beside it, its first `n` are taken: by a protocol that answers each by itself they are the same.
    """
    import pandas as pd

    engine = config.engine or engine
    about = {"stage": "debate", "source": source_hash(f"{__name__}:run", *roots(cell)), "n": n, **cell.log_columns()}
    about |= {"revision": engines.revision(cell.teacher, engine), "debate": config.identity()}
    about |= {"engine": engine.identity()}
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started, counts_before = time.time(), tasks.counts(cell.task)
    problems = tasks.problems(cell.task, cell.split, n)
    varied = any(axis.startswith("sizes.") for axis in dict(cell.axes)) and protocols()[cell.protocol].by_problem
    if varied and (larger := _larger(path, about)):
        table = pd.read_parquet(larger)
        table = table[table.problem.isin([p.id for p in problems])].assign(**cell.log_columns())
        table = table.reset_index(drop=True)
        store.finish(table, path, about, started, taken_from=larger.name)
        return table
    journal = store.Journal(path.with_suffix(".journal"), about)
    counts = {"chunks_found": len(journal.chunks)}
    load_engine = cache(lambda: engines.make(cell.teacher, engine))
    log = Logger(load_engine, tasks.get(cell.task), config, cell.seed, journal, progress)
    rows = pd.DataFrame(protocols()[cell.protocol].run(problems, log))
    columns = ["problem", "gold", "template", "held_out"]
    gold = pd.DataFrame([(p.id, p.answer, p.template, p.held_out) for p in problems], columns=columns)
    table = rows.merge(gold, on="problem", validate="many_to_one").assign(**cell.log_columns())
    table[TOKENS] = table[TOKENS].apply(pd.to_numeric)  # None, for what a server did not count, is NaN
    counts |= {"truncated": int((table.finish == "length").sum()), "unparsed": int(table.answer.isna().sum())}
    counts |= {"filtered": int((table.finish == "content_filter").sum())}
    counts |= {"unknown_usage": int(table[TOKENS].isna().any(axis=1).sum())}
    counts |= engines.notes(cell.teacher, engine)
    store.finish(table, path, about, started, journal, **counts, **tasks.counts(cell.task, counts_before))
    return table


def _larger(path: Path, about: dict) -> Path | None:
    """The finished log in the folder of `path` that has at least as many problems and is alike in everything else."""
    alike = _without_size(json.loads(store.canonical(about)))
    for manifest in sorted(path.parent.glob(f"*.parquet{ENDING}")):
        other, log = json.loads(manifest.read_text())["about"], manifest.with_name(manifest.name.removesuffix(ENDING))
        if log != path and _without_size(other) == alike and other["n"] >= about["n"] and store.is_done(log, other):
            return log
    return None


def _without_size(about: dict) -> dict:
    """What a log was made from, but for the number of its problems, also as an axis of the study."""
    return {key: value for key, value in about.items() if key != "n" and not key.startswith("sizes.")}


def roots(cell: Cell) -> list[str]:
    """Return the code on which a log depends besides this stage: its protocol and its problems, but no grader."""
    protocol = protocols()[cell.protocol].run
    return [f"{protocol.__module__}:{protocol.__qualname__}", *tasks.sources(cell.task)["problems"]]
