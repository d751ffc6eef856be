"""PAD's cells (3.3.3): from a debate's steps to a process reward model, from that to a policy, from that to answers.

Four methods share the one path and differ in their reward or their optimiser, so that what the reward is worth can be told from
what training by rewards is worth:

| method         | reward                                             | optimiser |
|----------------|----------------------------------------------------|-----------|
| `pad`          | the process reward model's                         | GRPO      |
| `ppo`          | the process reward model's                         | PPO       |
| `pad_shuffled` | that of a reward model trained on shuffled labels  | GRPO      |
| `rlvr`         | whether the answer is right; no reward model       | GRPO      |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pandas as pd

from . import cells, engines, params, store, study, tasks
from .evaluate import predict, process
from .extract import steps as known_steps
from .mas import prompts
from .source import source_hash

SCORED = 64  # completions that go through the reward model together


def reward(
    files: study.Files,
    told: params.Params,
    steps: pd.DataFrame,
    steps_id: str,
    *,
    teacher: str,
    student: str,
    task: str,
    n: int,
    seed: int,
    shuffled: bool = False,
) -> Path:
    """Train the process reward model of a cell, or its control on shuffled labels, from a table of steps of `n` problems.  Returns its folder."""
    from .distill import prm

    folder = files.prm(teacher, student, task, seed, shuffled)
    base = student if told.prm.backbone == "student" else told.prm.backbone
    prm.run(
        folder,
        steps,
        steps_id=steps_id,
        base=base,
        task=task,
        split="train",
        n=n,
        seed=seed,
        told=told.prm.model_copy(update={"shuffled_labels": shuffled}),
    )
    return folder


def scorer(folder: Path, task: str) -> process.Score:
    """A saved reward model as `process` and the notebooks want it: (problems, traces) to step scores."""
    from .distill import prm_model

    model, ask = prm_model.StepScorer(prm_model.load_prm(folder)), tasks.get(task).prompt
    return lambda problems, traces: model.score([prompts.ask(ask(p)) for p in problems], list(traces), SCORED)


def own_rollouts(
    files: study.Files, told: params.Params, *, student: str, task: str, split: str, n: int, seed: int
) -> pd.DataFrame:
    """The student's own sampled solutions of a split, `base_votes` a problem: what the reward model will judge."""
    return predict.run(
        files.rollouts(student, task, split, seed),
        model=student,
        who={"student": student},
        task=task,
        split=split,
        n=n,
        samples=told.evaluate.base_votes,
        seed=seed,
        told=told.evaluate,
        engine=told.engine,
    )


def judged(
    told: params.Params, *, model: Path, control: Path, task: str, logs: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Does this reward model deserve to be a reward?  `process.verdict` of it and its control on dev problems, from which neither learnt.

    logs: verified logs by whose traces they are ("teacher", "own").  The first half of their problems fixes the threshold, on the other
    half all is measured.  Columns: traces, measure, prm, control, good, passed.
    """
    aggregate = partial(_aggregate, how=told.rl.aggregation)
    found = []
    for whose, log in logs.items():
        problems = tasks.problems(task, "dev", log.problem.nunique())
        steps = known_steps.table(log, task, "dev", told.debate.wording)
        fixing = steps.problem.isin([p.id for p in problems[: len(problems) // 2]])
        ours, theirs = (
            process.examine(scorer(folder, task), steps[fixing], steps[~fixing], task, problems, aggregate=aggregate)
            for folder in (model, control)
        )
        found.append(process.verdict(ours, theirs).reset_index().assign(traces=whose))
    return pd.concat(found, ignore_index=True)[["traces", "measure", "prm", "control", "good", "passed"]]


def _aggregate(scores: list[float], how: str) -> float:
    from .distill import rewards

    return rewards.aggregate(scores, how)


def taught(
    files: study.Files,
    told: params.Params,
    steps: pd.DataFrame,
    steps_id: str,
    *,
    teacher: str,
    students: list[str],
    method: str,
    task: str,
    train_n: int,
    dev_n: int,
    tests: dict[str, int],
    seed: int,
) -> tuple[pd.DataFrame, dict[str, dict]]:
    """Teach each student by a reward on the training problems and let it answer every test set.

    A slice of the training set (`train_n` below `sizes.train`) gets as many passes over its problems, so fewer steps.  Returns (per-item
    rows, each student's training log).
    """
    steps_of_slice = max(1, round(told.rl.steps * train_n / told.sizes.of("train", task)))
    told = told.model_copy(update={"rl": told.rl.model_copy(update={"steps": steps_of_slice})})
    rows, logs, known = [], {}, set(steps.problem)  # what labelling left out is not practised
    for student in students:
        model = (
            None
            if method == "rlvr"
            else reward(
                files,
                told,
                steps,
                steps_id,
                teacher=teacher,
                student=student,
                task=task,
                n=train_n,
                seed=seed,
                shuffled=method == "pad_shuffled",
            )
        )
        policy = str(files.checkpoint(teacher, student, "rsft", task, seed)) if told.rl.init == "rsft" else student
        checkpoint = files.checkpoint(teacher, student, method, task, seed)
        logs[student] = _train(
            checkpoint,
            told,
            model,
            policy=policy,
            method=method,
            task=task,
            problems=[p for p in tasks.problems(task, "train", train_n) if p.id in known],
            dev_n=min(dev_n, told.rl.dev_problems),
            seed=seed,
            who={"teacher": teacher, "student": student, "method": method, "task": task},
        )
        rows.append(
            cells.answers(
                files, told, student, str(checkpoint), (teacher, method, task), tests, told.evaluate.samples, seed
            )
        )
    return pd.concat(rows), logs


def _train(
    checkpoint: Path,
    told: params.Params,
    model: Path | None,
    *,
    policy: str,
    method: str,
    task: str,
    problems: list[tasks.Problem],
    dev_n: int,
    seed: int,
    who: dict,
) -> dict:
    from .distill import grpo, ppo, prm_model  # import torch and TRL
    from .models.load import load_tokenizer

    grader, known = tasks.get(task), {p.id: p for p in problems}
    rl = told.rl.model_copy(update={"verifiable_weight": 1.0}) if method == "rlvr" else told.rl
    identity = store.identity(model) if model else "none"
    about = {**who, "reward": identity, "dev": dev_n, "tasks": source_hash(*tasks.modules(task))}

    @cache
    def prm() -> prm_model.StepScorer:
        return prm_model.StepScorer(prm_model.load_prm(model), load_tokenizer(policy))

    def score(chats, completions):
        if model is None:
            return [[0.0]] * len(completions)
        ids = (
            completions
            if prm().takes_ids
            else load_tokenizer(policy).batch_decode(completions, skip_special_tokens=True)
        )
        return prm().score(chats, ids, SCORED)

    options = {"step_ends": lambda ids: prm().prm.ends(ids)} if method == "ppo" else {}
    return (ppo if method == "ppo" else grpo).run(
        checkpoint,
        policy=policy,
        prompts={p.id: grader.prompt(p) for p in problems},
        score=score,
        verify=lambda text, name: grader.verify(text, known[name])[2],
        evaluate_dev=_accuracy(told, task, dev_n),
        told=rl,
        seed=seed,
        about=about,
        **options,
    )


def _accuracy(told: params.Params, task: str, n: int) -> Callable:
    """What measures a network in training on the first `n` dev problems, greedily: (model, tokenizer) to a share."""
    problems, grader = tasks.problems(task, "dev", n), tasks.get(task)
    chats, sampling = (
        [prompts.ask(grader.prompt(p)) for p in problems],
        engines.Sampling(0.0, told.evaluate.max_new_tokens),
    )

    def measure(model, tokenizer) -> float:
        from .engines.transformers_engine import TransformersEngine

        made = TransformersEngine.around(model, tokenizer, told.engine).generate(chats, sampling, 0)
        return sum(grader.verify(c.text, p)[2] for c, p in zip(made, problems)) / n

    return measure
