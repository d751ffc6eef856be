"""The cells of a study: a student is trained by one method on one training set, and then answers every test set."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from agentark import engines, params, tasks
from agentark.cells import Cell, Files
from agentark.distill import chains, pad
from agentark.distill import students as imitation
from agentark.distill.artifacts import PRMS, SHUFFLED_PRMS, STUDENTS, scored_by
from agentark.distill.method import methods
from agentark.grade import grading
from agentark.graph.job import Sizes
from agentark.models import fit

from . import predict
from .jobs import PREDICTIONS, ROLLOUTS


def untrained(files: Files, config: params.Params, cell: Cell, students: list[str], sizes: Sizes) -> pd.DataFrame:
    """Return the graded answers of untrained students to each test set that they can take, and `base_votes` samples."""
    rows = []
    for student in students:
        base = Cell(student=student, method="base", seed=cell.seed, axes=cell.axes)
        rows.append(answers(files, config, base, student, _tests(config, student, sizes), config.evaluate.base_votes))
    return pd.concat(rows)


def train_and_evaluate(
    files: Files,
    config: params.Params,
    cell: Cell,
    students: list[str],
    learned_from: tuple[pd.DataFrame, str],
    sizes: Sizes,
) -> tuple[pd.DataFrame, dict[str, dict]]:
    """Train each student by the cell's method and let it answer each test set that it can take.

    learned_from: the table of steps (for a method that learns from rewards) or of traces (for any other), and its
    identity in manifests.  Returns (graded per-item rows, each student's training log).
    """
    rows, logs = [], {}
    for student in students:
        own = cell.but(student=student)
        checkpoint = files.path(STUDENTS, own)
        policy = chains.policy(files, own, config.rl.init)
        if methods()[cell.method].reward:
            logs[student] = _by_rewards(files, config, own, checkpoint, policy, *learned_from, sizes)
        else:
            start = "" if policy == student else policy
            logs[student] = _by_traces(config, own, checkpoint, start, *learned_from, sizes.train)
        tests = _tests(config, student, sizes)
        rows.append(answers(files, config, own, str(checkpoint), tests, config.evaluate.samples))
    return pd.concat(rows), logs


def _by_traces(
    config: params.Params, cell: Cell, checkpoint: Path, start: str, traces: pd.DataFrame, traces_id: str, n: int
) -> dict:
    """Train a student by imitation, or on pairs of traces."""
    if methods()[cell.method].pairs:
        from agentark.distill import dpo  # imports torch

        return dpo.run(checkpoint, cell, traces, traces_id, n, config.dpo, config.distill.lora, start)
    return imitation.run(checkpoint, cell, traces, traces_id, n, config.distill, start)


def _tests(config: params.Params, student: str, sizes: Sizes) -> dict[str, int]:
    """The tests that a student can take, and the number of problems of each."""
    return {test: sizes.tests[test] for test in fit.tests_of(student, sizes.tests, config.engine)}


def _by_rewards(
    files: Files,
    config: params.Params,
    cell: Cell,
    checkpoint: Path,
    policy: str,
    steps: pd.DataFrame,
    steps_id: str,
    sizes: Sizes,
) -> dict:
    """Train a policy by rewards: a slice of the training set gets as many passes over its problems as the whole one.

    A reward model of the whole training set has to be admitted; the examination of a slice decides nothing.
    """
    rl = config.rl.of(cell.method)
    rl_steps = max(1, round(rl.steps * sizes.train / config.sizes.count("train", cell.train)))
    config = config.model_copy(update={"rl": rl.model_copy(update={"steps": rl_steps})})
    labelled = set(steps.problem)  # problems that labelling left out are not practised
    practised = [p for p in tasks.problems(cell.train, "train", sizes.train) if p.id in labelled]
    dev_n = min(sizes.dev, config.rl.dev_problems)
    model = reward_model(files, config, cell, steps, steps_id, sizes.train)
    examined, is_slice = "not examined", sizes.train < config.sizes.count("train", cell.train)
    if methods()[cell.method].reward == "prm" and not is_slice:
        from . import examination  # which builds on this module

        examined = examination.admit(files, config, cell)
    return pad.train_policy(checkpoint, cell, policy, model, examined, practised, dev_n, config)


def reward_model(
    files: Files,
    config: params.Params,
    cell: Cell,
    steps: pd.DataFrame,
    steps_id: str,
    n: int,
    shuffled: bool | None = None,
) -> Path | None:
    """Return the reward model of a cell, trained if it does not exist yet; None for a method without one.

    shuffled: whether it learns from shuffled labels (by default as the cell's method says).
    """
    if shuffled is None:
        reward = methods()[cell.method].reward
        if reward not in ("prm", "shuffled"):
            return None
        shuffled = reward == "shuffled"
    folder = files.path(SHUFFLED_PRMS if shuffled else PRMS, scored_by(config.prm, cell))
    return pad.train_reward_model(folder, cell, steps, steps_id, n, config.prm, shuffled)


def answers(
    files: Files, config: params.Params, cell: Cell, model: str, tests: dict[str, int], samples: int
) -> pd.DataFrame:
    """Return the graded answers of a network, loaded at most once, to the `tests` (numbers of problems by name)."""
    shared: dict[str, Any] = {"model": model, "samples": samples, "seed": cell.seed, "config": config.evaluate}
    shared |= {"engine": config.engine, "load_engine": cache(lambda: engines.make(model, config.engine))}
    rows = []
    for test, n in tests.items():
        tested = cell.but(test=test, split="test")
        path, columns = files.path(PREDICTIONS, tested), tested.columns()
        rows.append(grading.run(predict.run(path, columns, task=test, split="test", n=n, **shared)))
    return pd.concat(rows)


def rollouts(files: Files, config: params.Params, cell: Cell, n: int) -> pd.DataFrame:
    """Return the untrained student's own solutions of the first `n` problems of the cell's split, graded.

    There are `base_votes` samples per problem, of the kind that a reward model has to judge.
    """
    columns = {name: getattr(cell, name) for name in ("student", "task", "split", "seed")}
    options: dict[str, Any] = {"task": cell.task, "split": cell.split, "n": n, "seed": cell.seed}
    options |= {"samples": config.evaluate.base_votes, "config": config.evaluate, "engine": config.engine}
    return grading.run(predict.run(files.path(ROLLOUTS, cell), columns, model=cell.student, **options))
