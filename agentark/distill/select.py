"""Learning from a reward by selection (DECISIONS 23b): a policy imitates the best of its own samples.

For each problem the policy writes G completions; the one with the highest reward is kept, and the policy is fine-tuned
on the kept ones (`sft`).  This takes the optimiser of RL out of the comparison: what a student gains is what the reward
knows.  A completion that was cut off, or that has no reward, is never kept.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from agentark import engines, params, store
from agentark.engines import Sampling
from agentark.graph.source import source_hash
from agentark.mas.prompts import user_turn
from agentark.models.load import load_tokenizer, revision
from agentark.store.progress import print_progress

from . import data
from .rewards import RewardFunction, Score

CHUNK = 128  # problems whose completions are journaled together


def run(
    folder: Path,
    *,
    policy: str,
    prompts: dict[str, str],
    score: Score,
    verify: Callable[[str, str], bool],
    evaluate_dev: Callable[[Any, Any], float] | None,
    config: params.Rl,
    distill: params.Distill,
    engine: params.Engine,
    seed: int,
    about: dict | None = None,
    progress: Callable[[str, int, int], None] = print_progress,
) -> dict:
    """Train `policy` on the best of its own completions and save it to `folder`; an existing result is read.

    prompts: the user's message by problem id.  score, verify: see `rewards`.  config: the number of completions of a
    problem (`generations`), their sampling, and the aggregation of step scores.  distill: how the kept completions are
    imitated.  A killed run continues with its first unfinished chunk.  Returns the log of `sft.train` with `selection`:

    - problems, completions; truncated: completions that were cut off; left_out: problems of which none was kept;
    - right_completions: share of all completions that are right; right_kept: share of the kept ones; right_at_best: of
      the problems, those with a right completion, which is the most that a reward could reach.

    Raises DistillError if nothing was kept.
    """
    from . import sft  # imports torch

    code = source_hash(f"{__name__}:run")
    given = {"policy": policy, "rl": config.model_dump(), "seed": seed, "prompts": store.digest(prompts)}
    about = {"stage": "select", "source": code, "revision": revision(policy), **given, **(about or {})}
    about |= {"distill": distill.model_dump(), "engine": engine.identity()}
    if store.is_done(folder, about):
        return json.loads((folder / "training.json").read_text())
    started, busy = time.time(), time.process_time()
    journal = store.Journal(folder.with_name(folder.name + ".journal"), about)
    reward = RewardFunction(score, config.aggregation, config.generations, verify, config.verifiable_weight)
    writer = cache(lambda: engines.make(policy, engine))
    names = list(prompts)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    for index, chunk in enumerate(chunks):
        if str(index) not in journal.chunks:
            journal.add(str(index), _sampled(writer(), chunk, prompts, reward, config, store.chunk_seed(seed, index)))
        progress(f"{folder.name} samples", index + 1, len(chunks))
    rows = [row for index in range(len(chunks)) for row in journal.chunks[str(index)]]
    kept, counts = best(rows)
    if not kept:
        raise data.DistillError(f"no completion can be kept: {counts}; allow longer ones by rl.max_new_tokens")
    examples = [data.Example(name, prompts[name], text) for name, text in kept.items()]
    limits = (distill.max_length, distill.max_dropped_share)
    encoded, dropped = data.encode_all(examples, load_tokenizer(policy), distill.answer_weight, *limits)
    log: dict[str, Any] = sft.train(policy, encoded, folder, about, distill, seed)
    log |= {"selection": counts, "dropped": dropped, "completions": len(rows), "log": []}
    log["completion_tokens"] += sum(row["tokens"] for row in rows)
    if evaluate_dev:
        log["dev"] = _on_dev(evaluate_dev, policy, folder, log["steps"])
    log |= {"seconds": round(time.time() - started, 1), "core_seconds": round(time.process_time() - busy, 1)}
    (folder / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(folder, about, started, **counts)
    journal.path.unlink()
    return log


def _sampled(
    writer: engines.Engine, names: list[str], prompts: dict[str, str], reward: RewardFunction, config: params.Rl, seed
) -> list[dict]:
    """Return `generations` completions of each problem with their rewards (None: it has no steps)."""
    work = [name for name in names for _ in range(config.generations)]
    chats = [user_turn(prompts[name]) for name in work]
    completions = writer.generate(chats, Sampling(config.temperature, config.max_new_tokens), seed)
    texts, ids = [c.text for c in completions], [list(c.token_ids) for c in completions]
    rewards = reward(chats, texts, ids, problem=work)
    assert reward.right is not None, "selection counts right answers"
    return [
        {"problem": name, "text": c.text, "reward": r, "right": ok, "tokens": c.tokens_out, "cut": c.finish == "length"}
        for name, c, r, ok in zip(work, completions, rewards, reward.right, strict=True)
    ]


def best(rows: list[dict]) -> tuple[dict[str, str], dict[str, float]]:
    """Return the text with the highest reward of each problem (the first of equal ones), and the counts of `run`."""
    by_problem: dict[str, list[dict]] = {}
    for row in rows:
        by_problem.setdefault(row["problem"], []).append(row)
    kept = {}
    for name, group in by_problem.items():
        usable = [row for row in group if row["reward"] is not None and math.isfinite(row["reward"]) and not row["cut"]]
        if usable:
            kept[name] = max(usable, key=lambda row: row["reward"])
    counts = {
        "problems": len(by_problem),
        "completions": len(rows),
        "truncated": sum(row["cut"] for row in rows),
        "left_out": len(by_problem) - len(kept),
        "right_completions": sum(row["right"] for row in rows) / len(rows),
        "right_kept": sum(row["right"] for row in kept.values()) / max(1, len(kept)),
        "right_at_best": sum(any(row["right"] for row in group) for group in by_problem.values()) / len(by_problem),
    }
    return {name: row["text"].strip() for name, row in kept.items()}, counts


def _on_dev(evaluate_dev: Callable[[Any, Any], float], policy: str, folder: Path, steps: int) -> list[dict]:
    """Return the accuracy on dev before and after the training."""
    from agentark.models.load import load

    pairs = ((0, policy), (steps, str(folder)))
    return [{"step": step, "accuracy": evaluate_dev(*load(name))} for step, name in pairs]
