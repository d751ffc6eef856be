"""The labelling stage: a debate log goes in, the table of steps (`steps.table`) comes out, each step with what is known of it.

`rollout` labels cost generation and are made only where a reward model is to learn from them; the teacher, who wrote the traces,
completes them.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.models import load
from agentark.source import source_hash

from . import steps
from .verify import verify


def run(
    path: Path,
    log: pd.DataFrame,
    *,
    log_id: str,
    teacher: str,
    task: str,
    split: str,
    seed: int,
    told: params.Params,
    overlapping: dict[str, str] | None = None,
) -> pd.DataFrame:
    """Label the steps of a debate's `log` and write them to `path`; `log_id` stands for the log in the manifest, which has the counts.

    `overlapping` (`decontaminate.overlaps`) are problems that are left out.  What is there already is read.
    """
    rolled = told.prm.labeller == "rollout"
    about = {
        "stage": "label",
        "source": source_hash(__name__, *tasks.modules(task)),
        "log": log_id,
        "teacher": teacher,
        "task": task,
        "split": split,
        "wording": told.debate.wording,
    }
    if overlapping:
        about["overlapping"] = sorted(overlapping)
    if rolled:
        about |= {
            "seed": seed,
            "rollouts": told.prm.rollouts,
            "debate": told.debate.model_dump(),
            "engine": told.engine.about(),
            "revision": load.revision(teacher),
        }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    log, without = verify(log, task, split), overlapping or {}
    made = steps.table(
        log,
        task,
        split,
        told.debate.wording,
        completer(teacher, told, seed) if rolled else None,
        told.prm.rollouts,
        without=without,
    )
    store.finish(made, path, about, started, **steps.count(log[~log.problem.isin(without)], made))
    return made


def completer(model: str, told: params.Params, seed: int) -> steps.Generate:
    """What completes half-written traces for `steps.rollout`: `model`, sampled as in the debate."""
    engine = engines.make(model, told.engine)
    sampling = engines.Sampling(told.debate.temperature, told.debate.max_new_tokens, told.debate.top_p)

    def generate(chats: list, samples: int) -> list[list[str]]:
        made = engine.generate(
            [chat for chat in chats for _ in range(samples)], sampling, store.chunk_seed(seed, "rollout")
        )
        return [[c.text for c in made[at : at + samples]] for at in range(0, len(made), samples)]

    return generate
