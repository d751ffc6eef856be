"""What a single model answers: greedy and sampled completions of a test set, a row for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.engines import Sampling
from agentark.mas import prompts
from agentark.mas.stage import say
from agentark.models.load import revision
from agentark.source import source_hash

from . import overlap

CHUNK = 256  # problems of a journaled chunk


def run(
    path: Path,
    *,
    model: str,
    who: dict,
    task: str,
    split: str,
    n: int,
    samples: int,
    seed: int,
    told: params.Evaluate,
    engine: params.Engine,
    make_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = say,
) -> pd.DataFrame:
    """Answer the first `n` problems of a split once greedily (sample -1) and `samples` times sampled (0, 1, …).

    `who` are the columns that name the model in the study (teacher, student, method, train, test, seed).  `make_engine` lets several
    test sets share one loaded model.  Returns, and writes to `path`, one row a completion; a killed run goes on at its first
    unfinished chunk.
    """
    about = {
        "stage": "evaluate",
        "source": source_hash(__name__, *tasks.modules(task)),
        "model": who,
        "revision": revision(model),
        "task": task,
        "split": split,
        "n": n,
        "samples": samples,
        "seed": seed,
        "evaluate": told.model_dump(),
        "engine": engine.about(),
    }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started, met = time.time(), tasks.counts(task)
    problems, grader = tasks.problems(task, split, n), tasks.get(task)
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda: engines.make(model, engine)))
    passes = {
        "greedy": (Sampling(0.0, told.max_new_tokens), [-1]),
        "sampled": (Sampling(told.temperature, told.max_new_tokens, told.top_p), list(range(samples))),
    }
    chunks = [problems[at : at + CHUNK] for at in range(0, n, CHUNK)]
    rows: list[dict] = []
    for label, (sampling, numbers) in passes.items():
        if not numbers:
            continue
        for at, chunk in enumerate(chunks):
            key = f"{label} {at}"
            if key not in journal.chunks:
                work = [(p, number) for p in chunk for number in numbers]
                made = load().generate(
                    [prompts.ask(grader.prompt(p)) for p, _ in work], sampling, store.chunk_seed(seed, path.stem, key)
                )
                journal.add(key, [_row(grader, p, number, c) for (p, number), c in zip(work, made)])
            rows += journal.chunks[key]
            progress(f"{path.stem} {label}", at + 1, len(chunks))
    table = pd.DataFrame(rows).assign(**who, calls=1)
    store.finish(
        table,
        path,
        about,
        started,
        journal,
        truncated=int((table.finish == "length").sum()),
        unparsed=int(table.answer_flexible.isna().sum()),
        **tasks.counts(task, met),
    )
    return table


def _row(grader: tasks.Task, problem: tasks.Problem, sample: int, made: engines.Completion) -> dict:
    parsed, strict, flexible = grader.verify(made.text, problem)
    score = float(flexible) if grader.measure == "accuracy" else overlap.score(parsed.flexible, problem, grader.measure)
    return {
        "item": problem.id,
        "template": problem.template,
        "held_out": problem.held_out,
        "sample": sample,
        "text": made.text,
        "answer_strict": parsed.strict,
        "answer_flexible": parsed.flexible,
        "gold": problem.answer,
        "correct_strict": strict,
        "correct_flexible": flexible,
        "score": score,
        "tokens_in": made.tokens_in,
        "tokens_cached": made.tokens_cached,
        "tokens_out": made.tokens_out,
        "finish": made.finish,
    }
