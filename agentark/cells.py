"""Cells of the study: a student taught by one method on one training set, and what it then answers on every test set."""

from __future__ import annotations

from functools import cache

import pandas as pd

from . import engines, params, study
from .distill import stage as distill
from .evaluate import predict


def base(
    files: study.Files, told: params.Params, *, students: list[str], tests: dict[str, int], seed: int
) -> pd.DataFrame:
    """Every student as it is: greedy answers and `base_votes` samples on so many problems of each of the `tests`.  Returns their per-item rows."""
    return pd.concat(
        [
            answers(files, told, student, student, ("-", "base", "-"), tests, told.evaluate.base_votes, seed)
            for student in students
        ]
    )


def taught(
    files: study.Files,
    told: params.Params,
    traces: pd.DataFrame,
    traces_id: str,
    *,
    teacher: str,
    students: list[str],
    method: str,
    task: str,
    train_n: int,
    tests: dict[str, int],
    seed: int,
) -> tuple[pd.DataFrame, dict[str, dict]]:
    """Teach each student by `method` from `traces` and let it answer so many problems of each of the `tests`.

    Returns (per-item rows, each student's training log).
    """
    rows, logs = [], {}
    for student in students:
        checkpoint = files.checkpoint(teacher, student, method, task, seed)
        logs[student] = distill.run(
            checkpoint,
            traces,
            traces_id=traces_id,
            student=student,
            method=method,
            task=task,
            n=train_n,
            seed=seed,
            told=told.distill,
        )
        rows.append(
            answers(files, told, student, str(checkpoint), (teacher, method, task), tests, told.evaluate.samples, seed)
        )
    return pd.concat(rows), logs


def answers(
    files: study.Files,
    told: params.Params,
    student: str,
    model: str,
    at: tuple[str, str, str],
    tests: dict[str, int],
    samples: int,
    seed: int,
) -> pd.DataFrame:
    """One network on so many problems of each of the `tests`; it is loaded once, and only where there is something to answer.

    `at` is its teacher, method and training set.
    """
    teacher, method, train = at
    load = cache(lambda: engines.make(model, told.engine))
    return pd.concat(
        [
            predict.run(
                files.predictions(teacher, student, method, train, test, seed),
                model=model,
                task=test,
                split="test",
                n=n,
                samples=samples,
                seed=seed,
                who={
                    "teacher": teacher,
                    "student": student,
                    "method": method,
                    "train": train,
                    "test": test,
                    "seed": seed,
                },
                told=told.evaluate,
                engine=told.engine,
                make_engine=load,
            )
            for test, n in tests.items()
        ]
    )
