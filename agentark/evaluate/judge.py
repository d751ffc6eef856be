"""Scores the quality of a model's reasoning with a language model as judge (4.4, Table 1; DECISIONS 28).

Each solution gets a score from 1 to 5 in four dimensions, on 100 problems; judge_program.py fills the same table with a
program (for the mini tier), judge_scores.py evaluates it.  The paper gives no scale, prompt or number of repeats.  Here
the judge scores one dimension at a time, the reply is constrained to 1 … 5, and every score is repeated with the scale
in reverse order (above temperature 0 with another sample), which measures the noise of the judge.  The judge sees
neither who wrote a solution nor the gold answer.  A model that labelled the training data of a process reward model may
not judge its students, because it would recognise its own preferences.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from agentark import engines, params, prompts, store, tasks
from agentark.extract import llm_choice
from agentark.graph.source import source_hash
from agentark.params import Judge
from agentark.store.progress import print_progress
from agentark.tasks import Problem

DIMENSIONS = ("step_decomposition", "intermediate_verification", "error_localization", "reasoning_coherence")
SCALE = ("1", "2", "3", "4", "5")
COLUMNS = ["item", "model", "dimension", "repeat", "score", "reason", "reply"]


class JudgeError(RuntimeError):
    """A judgement that is impossible or not allowed; the message says why and what to do."""


_QUANTISATION = re.compile(r"[-_.](?:awq|gptq|gguf|fp8|bf16|bnb|int[48]|[48]bit|q\d\w*)(?:[-_.]\w+)*$")


def _base_name(model: str) -> str:
    """Return a model's lower-case name without owner and quantisation, which do not change its preferences."""
    from agentark.models import registry

    entry = registry.find(model)
    return _QUANTISATION.sub("", (entry.hub if entry else model).rstrip("/").rsplit("/", 1)[-1].casefold())


def check_independent(judge: str, labelled_by: Sequence[str]) -> None:
    """Raise JudgeError if the judge (a model, or judge_program.NAME) labelled the training data of a reward model."""
    name = _base_name(judge)
    if same := [labeller for labeller in labelled_by if _base_name(labeller) == name]:
        raise JudgeError(
            f"{judge} may not judge: {same[0]} labelled the training data of a process reward model whose student is "
            "judged (DECISIONS 28); choose another judge (judge.model), or leave that student out"
        )


def sample_items(predictions: Mapping[str, pd.DataFrame], items: int, seed: int) -> list[str]:
    """Draw the ids of `items` problems from those that all models answered (4.4: "we randomly sample 100 examples").

    Raises JudgeError if there are too few such problems.
    """
    if not predictions:
        raise JudgeError("there is nothing to judge: pass the predictions of at least one model")
    shared = sorted(set.intersection(*(set(rows[rows["sample"] == -1].item) for rows in predictions.values())))
    if len(shared) < items:
        few = f"only {len(shared)} were answered by all of {', '.join(predictions)}"
        raise JudgeError(f"judge.items asks for {items} problems, but {few}: lower judge.items")
    return sorted(Random(f"{seed} judged items").sample(shared, items))


def gold_predictions(problems: Sequence[Problem]) -> pd.DataFrame:
    """Return the gold solutions in the form of predictions, to show what score the judge gives to a perfect model."""
    return pd.DataFrame([{"item": p.id, "sample": -1, "text": p.solution} for p in problems])


def texts(predictions: Mapping[str, pd.DataFrame], items: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the greedy completion of each (item, model); the completions of a problem are adjacent."""
    greedy = {model: rows[rows["sample"] == -1].drop_duplicates("item") for model, rows in predictions.items()}
    completions = {model: rows.set_index("item").text for model, rows in greedy.items()}
    return {(item, model): completions[model][item] for item in items for model in predictions}


def chat(problem: Problem, text: str, dimension: str, repeat: int) -> engines.Chat:
    """Return the prompt of the judge.  Odd repeats list the scale from 5 to 1."""
    sections = prompts.read("judge")
    scale = sections["scale"].splitlines()
    written = {"question": prompts.quote(problem.question), "trace": prompts.quote(text)}
    ordered = "\n".join(scale[::-1] if repeat % 2 else scale)
    content = prompts.fill(sections["user"], **written, quality=sections[dimension], scale=ordered)
    return [{"role": "user", "content": content}]


def run(
    path: Path,
    predictions: Mapping[str, pd.DataFrame],
    *,
    task: str,
    split: str,
    n: int,
    seed: int,
    config: Judge,
    engine: params.Engine,
    labelled_by: Sequence[str],
    make_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = print_progress,
) -> pd.DataFrame:
    """Let a language model score the solutions of several models and write the scores to `path`; a killed run resumes.

    predictions: maps the label of each model to its rows (from evaluate.predict) on the first `n` problems of a split.
    labelled_by: the labellers of the process reward models behind these students.  Returns one row per score: item,
    model, dimension, repeat (from 0), score (1 … 5, or NaN), reason (why there is no score: "unparsed") and reply.
    Raises JudgeError if the judge is not independent, too few problems were answered, or repeats would be identical.
    """
    check_independent(config.model, labelled_by)
    if config.temperature == 0 and config.repeats > 2:
        reason = "there are two orders of the scale, so that more repeats would be copies"
        advice = "set judge.repeats to at most 2, or raise judge.temperature"
        raise JudgeError(f"judge.repeats = {config.repeats} with judge.temperature = 0: {reason}; {advice}")
    ids = sample_items(predictions, config.items, seed)
    solutions = texts(predictions, ids)
    code = source_hash(f"{__name__}:run", *tasks.sources(task)["problems"])
    digest = store.digest([[*key, text] for key, text in solutions.items()])
    about: dict[str, Any] = {"stage": "judge", "source": code, "prompts": prompts.identity("judge"), "texts": digest}
    about |= {"task": task, "split": split, "n": n, "seed": seed, "revision": engines.revision(config.model, engine)}
    about |= {"judge": config.identity(), "engine": engine.identity()}
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    problems = load_problems(task, split, n, ids)
    keys = [(*solution, *key) for solution in solutions for key in product(DIMENSIONS, range(config.repeats))]
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda: engines.make(config.model, engine)))

    def score_chunk(chunk: Sequence[tuple[str, str, str, int]], chunk_seed: int) -> list[dict]:
        chats = [chat(problems[item], solutions[item, model], dim, repeat) for item, model, dim, repeat in chunk]
        replies = llm_choice.choose(load(), chats, [SCALE] * len(chats), config, chunk_seed)
        scores = [(float(r.choice), "", r.text) if r.choice else (None, "unparsed", r.text) for r in replies]
        return [dict(zip(COLUMNS, (*key, *score), strict=True)) for key, score in zip(chunk, scores, strict=True)]

    rows = llm_choice.map_chunks(journal, "judge", keys, config, seed, score_chunk, progress)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"score": float})
    unread = table[table.reason == "unparsed"]
    if len(unread):
        found = f"{len(unread)} of {len(table)} scores of {config.model} could not be read"
        print(f"{found}, such as {unread.reply.iloc[0][:200]!r}", file=sys.stderr)
    store.finish(table, path, about, started, journal, unparsed=len(unread), **engines.notes(config.model, engine))
    return table


def load_problems(task: str, split: str, n: int, ids: Sequence[str]) -> dict[str, Problem]:
    """Return the first `n` problems of a split by id.  Raises JudgeError if some of `ids` are not among them."""
    problems = {p.id: p for p in tasks.problems(task, split, n)}
    if unknown := [item for item in ids if item not in problems]:
        missing = f"{len(unknown)} of the judged problems are not among the first {n} of {task}/{split}"
        raise JudgeError(f"{missing}, first {unknown[0]!r}: the predictions come from other data")
    return problems
