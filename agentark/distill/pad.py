"""PAD (3.3.3): from a debate's steps to a process reward model, and from that to a policy.

Four methods of distill/methods/ (`pad`, `ppo`, `pad_shuffled`, `rlvr`) share this path and differ in their reward or
their optimiser, which separates the value of the reward from that of training by rewards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.mas import prompts

from .artifacts import STUDENTS
from .data import refuse_pictures
from .method import methods

if TYPE_CHECKING:
    import pandas as pd

SCORED = 64  # completions that go through the reward model together


def train_reward_model(
    folder: Path, cell: Cell, steps: pd.DataFrame, steps_id: str, n: int, config: params.Prm, shuffled: bool = False
) -> Path:
    """Train the process reward model of a cell, or its control on shuffled labels, on the steps of `n` problems.

    Returns its folder; a finished model is kept.
    """
    from . import prm  # imports torch

    base = cell.student if config.backbone == "student" else config.backbone
    config = config.model_copy(update={"shuffled_labels": shuffled})
    data: dict[str, Any] = {"steps_id": steps_id, "task": cell.train, "split": "train", "n": n}
    prm.run(folder, steps, base=base, config=config, seed=cell.seed, **data)
    return folder


def scorer(folder: Path, task: str) -> Callable[[list[tasks.Problem], list[str]], list[list[float]]]:
    """Return a saved reward model as a function of (problems, traces) to the scores of each trace's steps."""
    from . import prm_model

    model, prompt = prm_model.StepScorer(prm_model.load_prm(folder)), tasks.get(task).prompt
    return lambda problems, traces: model.score([prompts.user_turn(prompt(p)) for p in problems], list(traces), SCORED)


def train_policy(
    checkpoint: Path,
    cell: Cell,
    policy: str,
    reward_model: Path | None,
    problems: list[tasks.Problem],
    dev_n: int,
    config: params.Params,
) -> dict:
    """Train the cell's student from the initial `policy` by its method's reward and optimiser; save to `checkpoint`.

    reward_model: the folder of the process reward model; None if the reward is whether the answer is right.  problems:
    those of the prompts.  dev_n: the number of dev problems on which true accuracy is measured during training.
    Returns the training log.
    """
    from agentark.models.load import load_tokenizer

    from . import grpo, ppo, prm_model

    refuse_pictures(problems, f"the method {cell.method}")
    method, grader, by_id = methods()[cell.method], tasks.get(cell.train), {p.id: p for p in problems}
    rl = config.rl.model_copy(update={"verifiable_weight": 1.0}) if method.reward == "answer" else config.rl
    sources = tasks.sources(cell.train)
    reward = store.identity(reward_model) if reward_model else "none"
    about = {"reward": reward, "dev": dev_n, "tasks": source_hash(*sources["problems"], *sources["grader"])}

    @cache
    def prm() -> prm_model.StepScorer:
        return prm_model.StepScorer(prm_model.load_prm(cast(Path, reward_model)), load_tokenizer(policy))

    def score(chats, completions):
        if reward_model is None:
            return [[0.0]] * len(completions)
        if not prm().takes_ids:
            completions = load_tokenizer(policy).batch_decode(completions, skip_special_tokens=True)
        return prm().score(chats, completions, SCORED)

    options: dict[str, Any] = {"reward_head_width": prm_model.head_width(reward_model)} if reward_model else {}
    if method.optimiser == "ppo":
        options["step_ends"] = lambda ids: prm().prm.ends(ids)
    return {"grpo": grpo, "ppo": ppo}[method.optimiser].run(
        checkpoint,
        policy=policy,
        prompts={p.id: grader.prompt(p) for p in problems},
        score=score,
        verify=lambda text, name: grader.verify(text, by_id[name])[2],
        evaluate_dev=_dev_accuracy(config, cell.train, dev_n),
        config=rl,
        seed=cell.seed,
        about={**about, **STUDENTS.of(cell).columns()},
        **options,
    )


def _dev_accuracy(config: params.Params, task: str, n: int) -> Callable:
    """Return a function of (model, tokenizer) to the greedy accuracy on `n` dev problems."""
    problems, grader = tasks.problems(task, "dev", n), tasks.get(task)
    chats = [prompts.user_turn(grader.prompt(p)) for p in problems]
    sampling = engines.Sampling(0.0, config.evaluate.max_new_tokens)

    def measure(model, tokenizer) -> float:
        from agentark.engines.transformers_engine import TransformersEngine

        completions = TransformersEngine.around(model, tokenizer, config.engine).generate(chats, sampling, 0)
        return sum(grader.verify(c.text, p)[2] for c, p in zip(completions, problems, strict=True)) / n

    return measure
