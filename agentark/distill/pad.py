"""PAD (3.3.3): from a debate's steps to a process reward model, and from that to a policy.

All methods with a `reward` take this path.  They differ in what judges a student's own samples (a reward model, its
control, plain likelihood, the right answer, chance, the teacher) and in the optimiser (GRPO, PPO, selection, on-policy
distillation), which separates the value of a reward from that of training by rewards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, cast

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.mas import prompts
from agentark.models.load import load_tokenizer, revision

from .artifacts import STUDENTS, backbone
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

    base = backbone(config, cell)
    config = config.model_copy(update={"shuffled_labels": shuffled})
    data: dict[str, Any] = {"steps_id": steps_id, "task": cell.train, "split": "train", "n": n}
    prm.run(folder, steps, base=base, config=config, seed=cell.seed, **data)
    return folder


def scorer(folder: Path, task: str) -> Callable[[list[tasks.Problem], list[str]], list[list[float]]]:
    """Return a saved reward model as a function of (problems, traces) to the scores of each trace's steps."""
    from . import prm_model, step_scorer

    return _of_problems(step_scorer.StepScorer(prm_model.load_prm(folder)), task)


def untrained(folder: Path, task: str) -> dict[str, Callable[[list[tasks.Problem], list[str]], list[list[float]]]]:
    """Return the controls of a saved reward model that need no training, as functions like that of `scorer`.

    These are a reward model as it was before its training, and the plain likelihood of its backbone.
    """
    from . import likelihood, prm_model, step_scorer

    card = json.loads((folder / "card.json").read_text())
    before = prm_model.make(card["base"], card["seed"], card["features"])
    scorers = {
        "untrained head": step_scorer.StepScorer(before),
        "likelihood": step_scorer.StepScorer(likelihood.Likelihood(card["base"])),
    }
    return {name: _of_problems(scorer, task) for name, scorer in scorers.items()}


def _of_problems(scorer, task: str) -> Callable[[list[tasks.Problem], list[str]], list[list[float]]]:
    prompt = tasks.get(task).prompt
    return lambda problems, traces: scorer.score([prompts.user_turn(prompt(p)) for p in problems], list(traces), SCORED)


def train_policy(
    checkpoint: Path,
    cell: Cell,
    policy: str,
    reward_model: Path | None,
    examined: str,
    problems: list[tasks.Problem],
    dev_n: int,
    config: params.Params,
) -> dict:
    """Train the cell's student from the initial `policy` by its method's reward and optimiser; save to `checkpoint`.

    reward_model: the folder of the process reward model, if the method's reward is one.  examined: what its examination
    has found, for the manifest.  problems: those of the prompts.  dev_n: the number of dev problems on which true
    accuracy is measured during training.  Returns the training log.
    """
    refuse_pictures(problems, f"the method {cell.method}")
    method, grader, by_id = methods()[cell.method], tasks.get(cell.train), {p.id: p for p in problems}
    rl, sources = config.rl.of(cell.method), tasks.sources(cell.train)
    about = {"dev": dev_n, "tasks": source_hash(*sources["problems"], *sources["grader"])}
    shared: dict[str, Any] = {"policy": policy, "prompts": {p.id: grader.prompt(p) for p in problems}}
    shared |= {"evaluate_dev": _dev_accuracy(config, cell.train, dev_n), "config": rl, "seed": cell.seed}
    shared["about"] = {**about, **STUDENTS.of(cell).columns()}
    if method.optimiser == "opd":
        from . import opd

        return opd.run(checkpoint, teacher=cell.teacher, **shared)

    from . import grpo, ppo, select

    judged = Judge(method.reward, reward_model, backbone(config.prm, cell), policy, cell.seed)
    shared["config"] = rl.model_copy(update={"verifiable_weight": 1.0}) if method.reward == "answer" else rl
    shared["about"] |= {"reward": judged.identity} | ({"examination": examined} if reward_model else {})
    shared |= {"score": judged, "verify": lambda text, name: grader.verify(text, by_id[name])[2]}
    if method.optimiser == "select":
        distill = config.distill.of(cell.method)
        return select.run(checkpoint, distill=distill, engine=config.engine, **shared)
    if config.engine.name == "transformers":
        shared["engine"] = config.engine
    if method.reward in ("prm", "shuffled", "likelihood"):
        shared["step_ends"] = lambda ids: judged.scorer.model.ends(ids)
    return {"grpo": grpo, "ppo": ppo}[method.optimiser].run(checkpoint, **shared)


class Judge:
    """What a method's reward says about the steps of completions, in the form of `rewards.Score`.

    reward: see `Method.reward`.  folder: of a reward model.  base: its backbone.  policy: who writes the completions.
    The network is loaded at the first call.
    """

    def __init__(self, reward: str, folder: Path | None, base: str, policy: str, seed: int):
        self.reward, self.folder, self.base, self.policy, self.seed = reward, folder, base, policy, seed

    @property
    def identity(self) -> str:
        """What the scores depend on, for manifests."""
        if self.folder:
            return store.identity(self.folder)
        return f"likelihood of {revision(self.base)}" if self.reward == "likelihood" else self.reward

    @cached_property
    def scorer(self):
        """The network that scores."""
        from . import likelihood, prm_model, step_scorer

        by_likelihood = self.reward == "likelihood"
        model = likelihood.Likelihood(self.base) if by_likelihood else prm_model.load_prm(cast(Path, self.folder))
        return step_scorer.StepScorer(model, load_tokenizer(self.policy))

    def __call__(self, chats: list, completions: list[list[int]]) -> list[list[float]]:
        """Return the scores of the steps of each completion (token ids); one of 0 if the right answer is the reward."""
        if self.reward == "answer":
            return [[0.0]] * len(completions)
        if self.reward == "chance":
            pairs = zip(chats, completions, strict=True)
            return [[Random(f"{self.seed} {chat[-1]['content']} {ids}").random()] for chat, ids in pairs]
        if not self.scorer.takes_ids:
            completions = load_tokenizer(self.policy).batch_decode(completions, skip_special_tokens=True)
        return self.scorer.score(chats, completions, SCORED)


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
