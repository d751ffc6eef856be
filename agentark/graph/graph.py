"""The graph of a study: the jobs that all stages declare, checked, keyed and ordered.

A stage is a module that defines `jobs(study)`.  Snakemake runs a job only if its key or one of its inputs changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from agentark import params, store
from agentark.cells import Files
from agentark.discovery import discover

from . import source
from .job import Job, Study


class GraphError(RuntimeError):
    """Declarations that contradict each other; the message names them."""


def of_teachers(config: params.Params, teachers: list[str]) -> params.Params:
    """Return the params with only some of the study's teachers (all if none is named); ParamsError for another one."""
    unknown = sorted(set(teachers) - set(config.study.teachers))
    if unknown:
        existing = ", ".join(config.study.teachers)
        raise params.ParamsError(f"the study {config.study.name} has no teacher {', '.join(unknown)}; it has "
                                 f"{existing}")  # fmt: skip
    kept = [teacher for teacher in config.study.teachers if teacher in teachers] or config.study.teachers
    return config.model_copy(update={"study": config.study.model_copy(update={"teachers": kept})})


def all_jobs(config: params.Params, limit: int) -> list[Job]:
    """Return all notebook runs of a study, each after those whose outputs it reads.

    Raises GraphError if two stages write one file, if a stage reads its own results, or if a notebook does not exist.
    """
    study = Study(config, limit)
    declared: dict[str, tuple[str, Job]] = {}  # by the job's name
    writers: dict[str, str] = {}
    for module, declare in discover("agentark", "jobs").items():
        for job in declare(study):
            where = f"{module} ({job.name})"
            if job.name in declared:
                if declared[job.name][1] == job:
                    continue
                raise GraphError(f"two jobs are called {job.name}: {declared[job.name][0]} and {module} declare them")
            declared[job.name] = module, job
            if not notebook_path(job.notebook).exists():
                raise GraphError(f"{where} names a notebook that does not exist: notebooks/{job.notebook}.ipynb")
            for output in job.outputs:
                if str(output) in writers:
                    raise GraphError(f"{where} writes {output}, which {writers[str(output)]} writes too")
                writers[str(output)] = where
    return _ordered([job for _, job in declared.values()])


def _ordered(unordered: list[Job]) -> list[Job]:
    """The jobs in an order that respects what they read."""
    by_output = {output: job for job in unordered for output in job.outputs}
    by_name = {job.name: job for job in unordered}
    before = {job.name: [by_output[path].name for path in job.inputs if path in by_output] for job in unordered}
    try:
        return [by_name[name] for name in TopologicalSorter(before).static_order()]
    except CycleError as error:
        raise GraphError(f"these jobs wait for one another: {' -> '.join(error.args[1])}") from None


@dataclass(frozen=True)
class StudyFiles(Files):
    """The files of a study, which know those of its own runs from those that an earlier run left in its folder."""

    study: Study = field(kw_only=True, hash=False)

    @cached_property
    def written(self) -> set[Path]:
        """All files that the runs of the study write."""
        return {path for job in all_jobs(self.study.base, self.study.limit) for path in job.outputs}


def files(study: Study) -> StudyFiles:
    """Return the files of a study."""
    return StudyFiles(study.files.root, study.files.defaults, study=study)


def notebook_path(name: str):
    """Return the file of a notebook."""
    return store.ROOT / "notebooks" / f"{name}.ipynb"


@cache
def notebook_code(name: str) -> tuple[str, ...]:
    """Return the code cells of a notebook, on which a job's key depends, without its text and outputs."""
    cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
    return tuple("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def rule_name(job: Job) -> str:
    """Return the name of a job's rule in the Snakefile."""
    return "".join(character if character.isalnum() else "_" for character in job.name)


def key(job: Job, limit: int, revision: Callable[[str], str]) -> str:
    """Return twelve hex digits for everything on which a job depends, besides its inputs.

    revision: the function that identifies a network's weights (`models.load.revision`).
    """
    values = {name: job.params.value(name) for name in ("sizes", *job.sections)} if job.params else {}
    about = {"coordinates": job.coordinates, "limit": limit, "cells": notebook_code(job.notebook), "params": values}
    served = _served(job)
    weights = {model: model if model in served else revision(model) for model in job.models}
    return store.digest({**about, "source": source.source_hash(*job.source), "weights": weights})


def _served(job: Job) -> set[str]:
    """Return the networks of a job that are on a server, under the server's names for them."""
    if job.params is None:
        return set()
    study = job.params.study
    teachers = study.teachers if job.params.teacher_engine.serves else []
    return {*teachers, *(study.students if job.params.engine.serves else [])}


def priorities(ordered: list[Job], minutes: Callable[[Job], float]) -> dict[str, int]:
    """For each job, the expected seconds of the longest chain of jobs that begins with it: the longest runs first."""
    chain: dict[str, float] = {}
    for job in reversed(ordered):
        outputs = set(job.outputs)
        waiting = [chain[other.name] for other in ordered if other.name in chain and outputs & set(other.inputs)]
        chain[job.name] = minutes(job) + max(waiting, default=0.0)
    return {name: round(60 * value) for name, value in chain.items()}
