"""Tasks: what is asked and what counts as right.  A benchmark is a file; this table names them."""

from difflib import get_close_matches

from . import jsonl, mini_gsm, mini_hotpot, mini_math, mini_med, mini_meta, mini_qasper, mini_qmsum, mini_truthful
from .problem import SPLITS, Parsed, Problem, Task

# The first four have the paper's training roles; the others are never used for distillation.
TASKS = {task.name: task for task in (mini_gsm.TASK, mini_math.TASK, mini_meta.TASK, mini_med.TASK,
                                      mini_hotpot.TASK, mini_qasper.TASK, mini_qmsum.TASK, mini_truthful.TASK)}


def get(name: str) -> Task:
    """The task of that name, or of a JSONL file's path; ValueError, with the nearest one, where there is none."""
    if name.endswith(".jsonl"):
        return jsonl.task(name)
    if name not in TASKS:
        near = get_close_matches(name, TASKS, n=1)
        raise ValueError(f"unknown task {name!r}; there are {', '.join(TASKS)}, or a path that ends in .jsonl" + (f"; did you mean {near[0]!r}?" if near else ""))
    return TASKS[name]


def problems(name: str, split: str, n: int) -> list[Problem]:
    """The first `n` problems of a task's split; ValueError where the split is unknown or empty."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of {name}; there are {', '.join(SPLITS)}")
    if n < 1:
        raise ValueError(f"{name}/{split}: an empty set was asked for (n = {n})")
    return get(name).problems(split, n)


__all__ = ["TASKS", "Parsed", "Problem", "Task", "get", "problems"]
