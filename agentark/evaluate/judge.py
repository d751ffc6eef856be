"""How well a model reasons, by a judge (4.4, Table 1; DECISIONS 28): four dimensions, 1 to 5, on 100 problems, and the judge's own noise.

Two judges fill the same table: a language model here, a program in judge_program.py (the mini tier's).  The paper gives no scale, prompt or
repeat; ours: each dimension is asked for by itself, the reply is constrained to 1 … 5, and everything is scored again with the scale written
in the other order (and, where the temperature is above 0, with another sample), so that differences between models can be read against
the judge's own noise.  The judge is not told whose solution it reads, nor the gold answer.  What has labelled the training of a process
reward model may not be its judge: it would find its own taste again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from agentark import agreement, engines, params, prompts, stats, store, tasks
from agentark.extract import asking
from agentark.mas.stage import say
from agentark.models.load import revision
from agentark.params import Judge
from agentark.source import source_hash
from agentark.tasks import Problem

DIMENSIONS = ("step_decomposition", "intermediate_verification", "error_localization", "reasoning_coherence")
SCALE = ("1", "2", "3", "4", "5")
COLUMNS = ["item", "model", "dimension", "repeat", "score", "why_none", "reply"]


class JudgeError(RuntimeError):
    """A judgement that cannot or must not be made: the message says why and what to do."""


_FORMS = re.compile(r"[-_.](?:awq|gptq|gguf|fp8|bf16|bnb|int[48]|[48]bit|q\d\w*)(?:[-_.]\w+)*$")


def _same_name(model: str) -> str:
    """A model's name without owner, case and quantisation: its quantised copy has the same taste."""
    from agentark.models import registry

    known = registry.find(model)
    return _FORMS.sub("", (known.hub if known else model).rstrip("/").rsplit("/", 1)[-1].casefold())


def check_independent(judge: str, labelled_by: Sequence[str]) -> None:
    """JudgeError where the judge (a model's name, or judge_program.NAME) is among those whose labels a process reward model learnt from."""
    mine = _same_name(judge)
    if same := [name for name in labelled_by if _same_name(name) == mine]:
        raise JudgeError(
            f"{judge} may not judge: {same[0]} labelled the training of a process reward model that is judged here (DECISIONS 28); "
            "choose another judge (judge.model), or leave that student out"
        )


def sample(predictions: Mapping[str, pd.DataFrame], items: int, seed: int) -> list[str]:
    """The ids of `items` problems, drawn by `seed` from those that all models answered greedily (4.4: "we randomly sample 100 examples")."""
    if not predictions:
        raise JudgeError("there is nothing to judge: no model's predictions were given")
    shared = sorted(set.intersection(*(set(rows[rows["sample"] == -1].item) for rows in predictions.values())))
    if len(shared) < items:
        raise JudgeError(
            f"{items} problems are to be judged, but only {len(shared)} were answered by all of {', '.join(predictions)}: "
            "lower judge.items"
        )
    return sorted(Random(f"{seed} judged items").sample(shared, items))


def gold(problems: Sequence[Problem]) -> pd.DataFrame:
    """The gold solutions in the form of a model's predictions: judged among them, they say where the top of a judge's scale lies."""
    return pd.DataFrame([{"item": p.id, "sample": -1, "text": p.solution} for p in problems])


def texts(predictions: Mapping[str, pd.DataFrame], items: Sequence[str]) -> dict[tuple[str, str], str]:
    """What is judged: the greedy completion of each (item, model); a problem's side by side."""
    said = {
        model: rows[rows["sample"] == -1].drop_duplicates("item").set_index("item").text
        for model, rows in predictions.items()
    }
    return {(item, model): said[model][item] for item in items for model in predictions}


def chat(problem: Problem, text: str, dimension: str, repeat: int) -> engines.Chat:
    """The judge's prompt.  Odd repeats write the scale from 5 to 1."""
    words = prompts.read("judge")
    scale = words["scale"].splitlines()
    return [
        {
            "role": "user",
            "content": prompts.fill(
                words["user"],
                question=prompts.quote(problem.question),
                trace=prompts.quote(text),
                quality=words[dimension],
                scale="\n".join(scale[::-1] if repeat % 2 else scale),
            ),
        }
    ]


def run(
    path: Path,
    predictions: Mapping[str, pd.DataFrame],
    *,
    task: str,
    split: str,
    n: int,
    seed: int,
    told: Judge,
    engine: params.Engine,
    labelled_by: Sequence[str],
    make_engine: Callable[[], engines.Engine] | None = None,
    progress: Callable[[str, int, int], None] = say,
) -> pd.DataFrame:
    """Let a language model score the solutions of several models and write the scores to `path`; a killed run goes on where it was.

    predictions: a model's label -> its rows (evaluate.predict's) on the first `n` problems of a split; labelled_by: whose labels the
    process reward models behind these students learnt from (empty where there are none).  Returns a row a score: item, model, dimension,
    repeat (from 0), score (1 … 5, NaN where none was read), why_none ("unparsed", else empty), reply.  Raises JudgeError where the judge
    is not independent, where too few problems were answered, or where more than two repeats would all be the same.
    """
    check_independent(told.model, labelled_by)
    if told.temperature == 0 and told.repeats > 2:
        raise JudgeError(
            f"judge.repeats = {told.repeats} with judge.temperature = 0: there are two orders of the scale, more repeats would copy "
            "them; ask for at most 2, or sample"
        )
    ids = sample(predictions, told.items, seed)
    judged = texts(predictions, ids)
    about = {
        "stage": "judge",
        "source": source_hash(__name__, *tasks.modules(task)),
        "prompts": prompts.identity("judge"),
        "revision": revision(told.model),
        "task": task,
        "split": split,
        "n": n,
        "seed": seed,
        "judge": told.model_dump(),
        "engine": engine.about(),
        "texts": store.digest([[*key, text] for key, text in judged.items()]),
    }
    if store.is_done(path, about):
        return pd.read_parquet(path)
    started = time.time()
    known = problems_of(task, split, n, ids)
    work = [
        (item, model, dimension, repeat)
        for item, model in judged
        for dimension in DIMENSIONS
        for repeat in range(told.repeats)
    ]
    journal = store.Journal(path.with_suffix(".journal"), about)
    load = cache(make_engine or (lambda: engines.make(told.model, engine)))

    def make(chunk: Sequence[tuple[str, str, str, int]], chunk_seed: int) -> list[dict]:
        chats = [chat(known[item], judged[item, model], dimension, repeat) for item, model, dimension, repeat in chunk]
        replies = asking.ask(load(), chats, [SCALE] * len(chats), told, chunk_seed)
        return [
            {
                **dict(zip(COLUMNS, key)),
                "score": reply.choice and float(reply.choice),
                "why_none": "" if reply.choice else "unparsed",
                "reply": reply.text,
            }
            for key, reply in zip(chunk, replies)
        ]

    table = pd.DataFrame(asking.in_chunks(journal, "judge", work, told, seed, make, progress), columns=COLUMNS).astype(
        {"score": float}
    )
    store.finish(table, path, about, started, journal, unparsed=int((table.why_none == "unparsed").sum()))
    return table


def problems_of(task: str, split: str, n: int, ids: Sequence[str]) -> dict[str, Problem]:
    """The problems to be judged, by id.  JudgeError where the split's first `n` are others."""
    known = {p.id: p for p in tasks.problems(task, split, n)}
    if strange := [item for item in ids if item not in known]:
        raise JudgeError(
            f"{len(strange)} of the judged problems are not among the first {n} of {task}/{split}, first {strange[0]!r}: these "
            "predictions are of other data"
        )
    return known


# What the scores say


def _item_means(scores: pd.DataFrame) -> pd.DataFrame:
    """The mean over its repeats of each (dimension, model, item); those without any score are left out."""
    return scores.dropna(subset="score").groupby(["dimension", "model", "item"], sort=False).score.mean().reset_index()


def means(scores: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Table 1's lower half: dimension, model, items (with a score), mean, low, high (percentile bootstrap over items), unscored.

    `unscored` counts the scores that are missing, for whatever reason; the table of scores says which.
    """
    missing = scores.score.isna().groupby([scores.dimension, scores.model]).sum()
    by_item, rows = _item_means(scores), []
    for dimension, model in scores[["dimension", "model"]].drop_duplicates().itertuples(index=False):
        mine = by_item[(by_item.dimension == dimension) & (by_item.model == model)].score.to_numpy()
        mean, low, high = (
            stats.paired_bootstrap(np.zeros(len(mine)), mine, resamples, seed, level) if len(mine) else (np.nan,) * 3
        )
        rows.append(
            {
                "dimension": dimension,
                "model": model,
                "items": len(mine),
                "mean": mean,
                "low": low,
                "high": high,
                "unscored": int(missing[dimension, model]),
            }
        )
    return pd.DataFrame(rows)


def compare(scores: pd.DataFrame, base: str, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """Each model against `base`, dimension by dimension, on the items where both have a score.

    Columns: dimension, model, items, difference (model minus base), low, high (paired bootstrap over items), p (Wilcoxon's signed ranks,
    zeros by Pratt), p_holm (over all rows), verdict.  JudgeError where `base` has no scores.
    """
    by_item = _item_means(scores)
    if base not in set(by_item.model):
        raise JudgeError(f"{base} has no scores to compare with; there are {', '.join(sorted(set(by_item.model)))}")
    rows = []
    for dimension, group in by_item.groupby("dimension", sort=False):
        wide = group.pivot(index="item", columns="model", values="score")
        for model in [model for model in wide.columns if model != base and base in wide]:
            pair = wide[[base, model]].dropna()
            if pair.empty:
                continue
            difference, low, high = stats.paired_bootstrap(pair[base], pair[model], resamples, seed, level)
            gaps = (pair[model] - pair[base]).to_numpy()
            p = float(wilcoxon(gaps, zero_method="pratt").pvalue) if gaps.any() else 1.0
            rows.append(
                {
                    "dimension": dimension,
                    "model": model,
                    "items": len(pair),
                    "difference": difference,
                    "low": low,
                    "high": high,
                    "p": p,
                }
            )
    table = pd.DataFrame(rows, columns=["dimension", "model", "items", "difference", "low", "high", "p"])
    if table.empty:
        return table.assign(p_holm=[], verdict=[])
    table["p_holm"] = stats.holm(table.p)
    table["verdict"] = [stats.verdict(r.difference, r.low, r.high, r.p_holm, 1 - level) for r in table.itertuples()]
    return table


def noise(scores: pd.DataFrame, *, level: float, resamples: int, seed: int = 0) -> pd.DataFrame:
    """How far a language model's repeats agree: a row a dimension and one for all together.

    Columns: dimension, pairs (of two repeats' scores of one solution), same (share that are equal), kappa (quadratic weights) with its
    bootstrap interval over items, and shift (mean of the later repeat minus the earlier: with two repeats, what the order of the scale does).
    JudgeError where there is only one repeat.
    """
    repeats = sorted(scores["repeat"].unique())
    if len(repeats) < 2:
        raise JudgeError(
            "one repeat tells nothing of the judge's noise: ask for judge.repeats = 2 (a program has no noise and needs none)"
        )
    wide = scores.pivot(index=["dimension", "item", "model"], columns="repeat", values="score")
    pairs = pd.concat(
        [wide[[a, b]].dropna().set_axis(["earlier", "later"], axis=1) for a, b in combinations(repeats, 2)]
    ).reset_index()
    rows = []
    for dimension in (*scores.dimension.unique(), "all"):
        mine = pairs if dimension == "all" else pairs[pairs.dimension == dimension]
        found = agreement.kappa(
            list(mine.earlier),
            list(mine.later),
            list(mine.item),
            [float(s) for s in SCALE],
            quadratic=True,
            resamples=resamples,
            seed=seed,
            level=level,
        )
        rows.append(
            {
                "dimension": dimension,
                "pairs": found["n"],
                "same": found["agreement"],
                "kappa": found["kappa"],
                "low": found["low"],
                "high": found["high"],
                "shift": float((mine.later - mine.earlier).mean()),
            }
        )
    return pd.DataFrame(rows)
