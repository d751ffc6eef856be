"""Tasks: the questions, and what counts as a right answer.

A benchmark is one file of this folder, which declares its `Task` records in `TASKS`.  No other file lists benchmarks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import cache, partial
from importlib import import_module

from agentark.discovery import discover

from .problem import SPLITS, Parsed, Problem, Task

FILES = (".jsonl", ".csv", ".tsv", ".parquet")  # how the names of files of questions end


@cache
def _by_name() -> dict[str, Task]:
    """All tasks that the files of this folder declare; ValueError if two of them have the same name."""
    tasks: dict[str, Task] = {}
    declared_in: dict[str, str] = {}
    for module, declared in discover(__name__, "TASKS").items():
        for task in declared:
            if task.name in tasks:
                both = f"{declared_in[task.name]} and {module}"
                raise ValueError(f"{both} both declare the task {task.name!r}: rename one of them")
            tasks[task.name], declared_in[task.name] = task, module
    return tasks


def names() -> list[str]:
    """The names of all benchmarks, in the order of their files."""
    return list(_by_name())


def get(name: str) -> Task:
    """The task of this name, or of a file of questions if the name is a path that ends like one of FILES.

    An unknown name raises ValueError with the nearest name and the list of all.
    """
    if is_file(name):
        # By name, not by an import statement: a stage depends on the code of the tasks that it reads (`sources`) alone.
        return import_module(f"{__name__}.jsonl").task(name)
    if name not in _by_name():
        near = get_close_matches(name, names(), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        known = f"the path of a file ({', '.join(FILES)}) or one of {', '.join(names())}"
        raise ValueError(f"unknown task {name!r}{hint}: give {known}")
    return _by_name()[name]


def problems(name: str, split: str, n: int) -> list[Problem]:
    """The first `n` problems of a task's split; ValueError if there is no such split or `n` is not positive."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of {name}: the splits are {', '.join(SPLITS)}")
    if n < 1:
        raise ValueError(f"{name}/{split}: the number of problems must be at least 1, not {n}")
    return get(name).problems(split, n)


def in_domain(train: str, test: str) -> bool:
    """Whether a test set has a family of problems in common with a training set: a gain on it is no transfer.

    MetaMathQA, for one, rewrites training questions of GSM8K (DECISIONS 12).
    """
    return not set(_family(train)).isdisjoint(_family(test))


def has_pictures(name: str) -> bool:
    """Whether the problems of a benchmark have pictures, which not every network can see (`models.fit.tests_of`)."""
    return not is_file(name) and get(name).pictures


def shared_problems(train: str, test: str) -> str | None:
    """Why some problems of a training set are also in a test set; None if none are."""
    return None if is_file(train) else get(train).shares_problems.get(test)


def _family(name: str) -> tuple[str, ...]:
    return (name,) if is_file(name) else get(name).family


def is_file(name: str) -> bool:
    """Whether the name of a task is the path of a file of questions."""
    return name.lower().endswith(FILES)


def sources(name: str) -> dict[str, list[str]]:
    """The code that a task's problems ("problems") and their grading ("grader") depend on.

    Each list holds functions as "module:qualified name".  Bound arguments of a functools.partial follow as
    "partial:…", and the instruction is among the problems as "instruction:…".  Raises ValueError for a function that
    is not defined at the top level of a module of this package.
    """
    task = get(name)
    instruction = [f"instruction:{task.instruction}"] if task.instruction else []
    return {"problems": [*_roots(task.problems), *instruction], "grader": [*_roots(task.parse), *_roots(task.equal)]}


def _roots(function: Callable) -> list[str]:
    bound: list[str] = []
    while isinstance(function, partial):
        bound.append(f"partial:{(function.args, function.keywords)!r}")
        function = function.func
    module, qualified = function.__module__, function.__qualname__
    if module.split(".")[0] != "agentark" or "<" in qualified:
        raise ValueError(f"{module}:{qualified} must be defined at the top level of a module of agentark to have a "
                         "known source")  # fmt: skip
    return [f"{module}:{qualified}", *bound]


def counts(name: str, before: Mapping[str, dict[str, int]] | None = None) -> dict[str, dict[str, int]]:
    """What a task has counted in this process, for manifests: only the counters that hold anything.

    dropped: the number of rows that its data left out, by reason.  compared: the number of answers by how they were
    compared (answers.COUNTS).  All tasks share that counter, so that only its increase over `before`, an earlier
    result of this function, is returned.
    """
    task = get(name)
    compared = task.compared - Counter((before or {}).get("compared"))
    return {key: dict(counter) for key, counter in (("dropped", task.dropped), ("compared", compared)) if counter}


__all__ = [
    "FILES", "SPLITS", "Parsed", "Problem", "Task", "counts", "get", "in_domain", "is_file", "names", "problems",
    "shared_problems", "sources",
]  # fmt: skip
