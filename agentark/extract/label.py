"""Labelling: a graded log goes in, the table of its steps with their labels comes out (`steps.table`).

`rollout` labels, for which the teacher completes the traces, are computed only if a reward model is to learn from them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash

from . import steps
from .jobs import STEPS


def run(
    path: Path,
    log: pd.DataFrame,
    log_id: str,
    cell: Cell,
    config: params.Params,
    overlapping: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Label the steps of a graded log and write them to `path`; the manifest has the counts.

    log, log_id: a log with its grades, and its identity in the manifest.  overlapping: training problems that are left
    out (`decontaminate.overlaps`).  Returns the table of `steps.table`; finished rows are read.
    """
    by_rollout, overlapping, wording = config.prm.labeller == "rollout", overlapping or {}, config.debate.wording
    cell = STEPS.of(cell)
    code = source_hash(f"{__name__}:run", *tasks.sources(cell.task)["problems"])
    about = {"stage": "label", "source": code, "log": log_id, **cell.log_columns(), "wording": wording}
    if overlapping:
        about["overlapping"] = sorted(overlapping)
    if by_rollout:
        about |= {"rollouts": config.prm.rollouts, "debate": config.debate.identity()}
        engine = config.teacher_engine
        about |= {"engine": engine.identity(), "revision": engines.revision(cell.teacher, engine)}
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    complete = completer(cell.teacher, config, cell.seed) if by_rollout else None
    options: dict[str, Any] = {"generate": complete, "samples": config.prm.rollouts, "excluded": overlapping}
    table = steps.table(log, cell.task, cell.split, wording, **options).assign(**cell.log_columns())
    store.finish(table, path, about, started, None, **steps.count(log[~log.problem.isin(overlapping)], table))
    return table


def completer(model: str, config: params.Params, seed: int) -> steps.Generate:
    """Return a function that completes half-written traces for `steps.rollout` by `model`, sampled as in the debate."""
    engine = engines.make(model, config.teacher_engine)
    sampling = engines.Sampling(config.debate.temperature, config.debate.max_new_tokens, config.debate.top_p)

    def generate(chats: list, samples: int) -> list[list[str]]:
        repeated = [chat for chat in chats for _ in range(samples)]
        completions = engine.generate(repeated, sampling, store.chunk_seed(seed, "rollout"))
        texts = [completion.text for completion in completions]
        return [texts[start : start + samples] for start in range(0, len(texts), samples)]

    return generate
