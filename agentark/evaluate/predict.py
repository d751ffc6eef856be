"""The answers of a single model: greedy and sampled completions of a split, one row per completion."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.engines import Sampling
from agentark.graph.source import source_hash
from agentark.mas import prompts
from agentark.store.progress import print_progress

TOKENS = ["tokens_in", "tokens_out"]  # which not every server counts
CHUNK = 256  # problems of a journaled chunk


def run(
    path: Path,
    columns: dict[str, Any],
    *,
    model: str,
    task: str,
    split: str,
    n: int,
    samples: int,
    seed: int,
    config: params.Evaluate,
    engine: params.Engine,
    load_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = print_progress,
) -> Path:
    """Answer the first `n` problems of a split once greedily (sample -1) and `samples` times sampled (0, 1, …).

    columns: the coordinates that are added to each row.  load_engine: a cached function, so that test sets can share
    one loaded model.  Writes one row per completion to `path` and returns it; `grading.run` grades it.  A killed run
    continues with its first unfinished chunk.
    """
    code = source_hash(f"{__name__}:run", *tasks.sources(task)["problems"])
    about: dict[str, Any] = {"stage": "evaluate", "source": code, "model": columns}
    about |= {"revision": engines.revision(model, engine)}
    about |= {"task": task, "split": split, "n": n, "samples": samples, "seed": seed}
    about |= {"evaluate": config.model_dump(), "engine": engine.identity()}
    if store.is_done(path, about):
        return path
    started = time.time()
    problems, grader = tasks.problems(task, split, n), tasks.get(task)
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(load_engine or (lambda: engines.make(model, engine)))
    passes = {
        "greedy": (Sampling(0.0, config.max_new_tokens), [-1]),
        "sampled": (Sampling(config.temperature, config.max_new_tokens, config.top_p), list(range(samples))),
    }
    chunks = [problems[start : start + CHUNK] for start in range(0, n, CHUNK)]
    rows: list[dict] = []
    for label, (sampling, numbers) in passes.items():
        if not numbers:
            continue
        for index, chunk in enumerate(chunks):
            key = f"{label} {index}"
            if key not in journal.chunks:
                work = [(p, number) for p in chunk for number in numbers]
                chats = [prompts.user_turn(grader.prompt(p), p.image) for p, _ in work]
                completions = load().generate(chats, sampling, store.chunk_seed(seed, path.stem, key))
                journal.add(key, [_row(p, number, c) for (p, number), c in zip(work, completions, strict=True)])
            rows += journal.chunks[key]
            progress(f"{path.stem} {label}", index + 1, len(chunks))
    table = pd.DataFrame(rows).assign(**columns, calls=1)
    table[TOKENS] = table[TOKENS].apply(pd.to_numeric)  # None, for what a server did not count, is NaN
    counts: dict[str, Any] = {"truncated": int((table.finish == "length").sum())}
    counts |= {"filtered": int((table.finish == "content_filter").sum())}
    counts |= {"unknown_usage": int(table[TOKENS].isna().any(axis=1).sum())}
    store.finish(table, path, about, started, journal, **counts, **engines.notes(model, engine))
    return path


def _row(p: tasks.Problem, sample: int, c: engines.Completion) -> dict:
    row = {"item": p.id, "template": p.template, "held_out": p.held_out, "sample": sample, "text": c.text}
    tokens = {"tokens_in": c.tokens_in, "tokens_cached": c.tokens_cached, "tokens_out": c.tokens_out}
    return {**row, "gold": p.answer, **tokens, "finish": c.finish}
