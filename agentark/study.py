"""A study: its files, and the notebook runs that make them.

`Files` says where each artifact lies under results/<name>/; `jobs` turns a params file's study into notebook runs, each with
what it reads, what it writes and a key of all that it depends on (parameters, its own code cells, the source of its stage with
everything that this imports, the weights it loads).  Snakemake runs a job when its key or its inputs change, and no other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from . import params, source, store, tasks
from .models import load


@dataclass(frozen=True)
class Files:
    """Where a study's artifacts lie, below `root`: names are coordinates joined by dots, "-" for one that means nothing."""

    root: Path

    def debates(self, teacher: str, task: str, split: str, protocol: str, seed: int) -> Path:
        return self.root / "debates" / f"{load.slug(teacher)}.{load.slug(task)}.{split}.{protocol}.s{seed}.parquet"

    def traces(self, teacher: str, task: str, seed: int) -> Path:
        return self.root / "traces" / f"{load.slug(teacher)}.{load.slug(task)}.s{seed}.parquet"

    def steps(self, teacher: str, task: str, seed: int) -> Path:
        return self.root / "steps" / f"{load.slug(teacher)}.{load.slug(task)}.s{seed}.parquet"

    def prm(self, teacher: str, student: str, task: str, seed: int, shuffled: bool = False) -> Path:
        return (
            self.root
            / "prms"
            / f"{load.slug(teacher)}.{load.slug(student)}.{load.slug(task)}.s{seed}{'.shuffled' if shuffled else ''}"
        )

    def judged(self, teacher: str, student: str, task: str, seed: int) -> Path:
        return self.root / "prms" / f"{load.slug(teacher)}.{load.slug(student)}.{load.slug(task)}.s{seed}.csv"

    def rollouts(self, student: str, task: str, split: str, seed: int) -> Path:
        return self.root / "rollouts" / f"{load.slug(student)}.{load.slug(task)}.{split}.s{seed}.parquet"

    def checkpoint(self, teacher: str, student: str, method: str, train: str, seed: int) -> Path:
        return self.root / "students" / f"{load.slug(teacher)}.{load.slug(student)}.{method}.{load.slug(train)}.s{seed}"

    def predictions(self, teacher: str, student: str, method: str, train: str, test: str, seed: int) -> Path:
        name = f"{load.slug(teacher)}.{load.slug(student)}.{method}.{load.slug(train)}.{load.slug(test)}.s{seed}"
        return self.root / "predictions" / f"{name}.parquet"


def output_name(name: str, limit: int) -> str:
    """The folder of a run: the study's name, and for a slice how much of it."""
    return f"{name}-first{limit}" if limit else name


@dataclass(frozen=True)
class Job:
    """One run of a notebook."""

    notebook: str
    at: dict[str, Any]  # its flat coordinates
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    key: str
    parts: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return "-".join([self.notebook, *self.parts])


# The modules that make each notebook's rows; what only shows them is not among these.
STAGES = {
    "01_debate_generation": ("agentark.mas.stage",),
    "02_filtering": ("agentark.extract.stage", "agentark.extract.decontaminate"),
    "03_sft_baseline": ("agentark.cells",),
    "04_rsft": ("agentark.cells",),
    "05_da": ("agentark.cells",),
    "06_prm": ("agentark.pad", "agentark.extract.label", "agentark.extract.decontaminate", "agentark.distill.prm"),
    "07_pad": ("agentark.pad", "agentark.distill.prm", "agentark.distill.ppo"),
    "08_main_results": ("agentark.report.collect",),
    "10_ppo_vs_grpo": ("agentark.report.collect", "agentark.report.seeds"),
    "18_mini_zoo": ("agentark.report.collect", "agentark.report.debating"),
}
NOTEBOOK_OF = {
    "base": "03_sft_baseline",
    "sft": "03_sft_baseline",
    "continued": "03_sft_baseline",
    "rsft": "04_rsft",
    "rsft_single": "04_rsft",
    "da": "05_da",
    **dict.fromkeys(params.RL_METHODS, "07_pad"),
}


def of_teachers(told: params.Params, teachers: list[str]) -> params.Params:
    """The study with only some of its teachers; all where none is named.  ParamsError for one that it does not have."""
    strange = sorted(set(teachers) - set(told.study.teachers))
    if strange:
        raise params.ParamsError(
            f"the study {told.study.name} has no teacher {', '.join(strange)}; it has {', '.join(told.study.teachers)}"
        )
    kept = [t for t in told.study.teachers if t in teachers] or told.study.teachers
    return told.model_copy(update={"study": told.study.model_copy(update={"teachers": kept})})


def jobs(told: params.Params, at: params.Coordinates) -> list[Job]:
    """All notebook runs of a study, in an order that respects what they read."""
    study, limit = told.study, at.limit
    files = Files(store.ROOT / "results" / output_name(study.name, limit))
    size = {what: min(n, limit) if limit else n for what, n in told.sizes.model_dump(exclude={"tasks"}).items()}
    if told.sizes.tasks:
        size["tasks"] = told.sizes.tasks
    seed = study.seeds[0]
    made: list[Job] = []
    made_by = tasks.modules(*study.train_tasks, *study.test_tasks)
    code = cache(
        lambda notebook: {"source": source.source_hash(*STAGES[notebook], *made_by), "cells": _cells(notebook)}
    )

    def add(
        notebook: str,
        at: dict,
        inputs: list[Path],
        outputs: list[Path],
        sections: tuple[str, ...],
        models: list[str],
        *parts: str,
    ):
        key = {
            "at": at,
            "limit": limit,
            "sizes": size,
            "params": {name: _said(told, name) for name in sections},
            **code(notebook),
            "weights": {m: load.revision(m) for m in models},
        }
        made.append(Job(notebook, at, tuple(inputs), tuple(outputs), store.digest(key), parts))

    groups = [study.students] if study.grain == "students" else [[s] for s in study.students]
    for students in groups:
        outputs = [files.predictions("-", s, "base", "-", test, seed) for s in students for test in study.test_tasks]
        add(
            "03_sft_baseline",
            {"teacher": study.teachers[0], "method": "base", "students": students, "seed": seed},
            [],
            outputs,
            ("evaluate", "engine", "stats.level"),
            students,
            "base",
            *map(load.slug, students if len(groups) > 1 else []),
        )
    for teacher in study.teachers:
        t = load.slug(teacher)
        wanted = [(task, "train", "debate") for task in study.train_tasks]
        wanted += [(task, "test", protocol) for task in study.test_tasks for protocol in ("debate", "self_consistency")]
        wanted += [
            (task, "dev", protocol)
            for task in study.train_tasks
            for protocol in ("debate", "self_consistency", "shuffled")
        ]
        for task, split, protocol in wanted:
            add(
                "01_debate_generation",
                {"teacher": teacher, "task": task, "split": split, "protocol": protocol, "seed": seed},
                [],
                [files.debates(teacher, task, split, protocol, seed)],
                ("debate", "engine"),
                [teacher],
                t,
                load.slug(task),
                split,
                protocol,
            )
        for task in study.train_tasks:
            add(
                "02_filtering",
                {"teacher": teacher, "task": task, "seed": seed},
                [files.debates(teacher, task, "train", "debate", seed)],
                [files.traces(teacher, task, seed)],
                ("extract", "debate.wording", "judges"),
                [ask.model for ask in _asked(told)],
                t,
                load.slug(task),
            )
            for s in study.seeds if set(study.methods) & set(params.RL_METHODS) else []:
                outputs = [
                    files.steps(teacher, task, s),
                    *(files.judged(teacher, student, task, s) for student in study.students),
                ]
                outputs += [
                    store.manifest_path(files.prm(teacher, student, task, s, shuffled))
                    for student in study.students
                    for shuffled in (False, True)
                ]
                backbones = [] if told.prm.backbone == "student" else [told.prm.backbone]
                add(
                    "06_prm",
                    {"teacher": teacher, "students": study.students, "task": task, "seed": s},
                    [files.debates(teacher, task, split, "debate", seed) for split in ("train", "dev")],
                    outputs,
                    (
                        "debate" if told.prm.labeller == "rollout" else "debate.wording",
                        "prm",
                        "rl.aggregation",
                        "evaluate",
                        "engine",
                    ),
                    [teacher, *study.students, *backbones],
                    t,
                    load.slug(task),
                    f"s{s}",
                )
            for method in study.methods:
                for s in study.seeds:
                    for students in groups:
                        outputs = [
                            files.predictions(teacher, student, method, task, test, s)
                            for student in students
                            for test in study.test_tasks
                        ]
                        logs = [
                            store.manifest_path(files.checkpoint(teacher, student, method, task, s))
                            for student in students
                        ]
                        inputs, sections = [files.traces(teacher, task, seed)], ("distill",)
                        if method in params.RL_METHODS:
                            inputs, sections = (
                                _rewarded_by(files, told, teacher, students, task, method, s),
                                ("prm", "rl"),
                            )
                        add(
                            NOTEBOOK_OF[method],
                            {"teacher": teacher, "students": students, "task": task, "method": method, "seed": s},
                            inputs,
                            logs + outputs,
                            (*sections, "evaluate", "engine", "stats.level"),
                            students,
                            t,
                            method,
                            load.slug(task),
                            f"s{s}",
                            *map(load.slug, students if len(groups) > 1 else []),
                        )
    rows = [path for job in made for path in job.outputs if path.parent.name in ("predictions", "debates", "traces")]
    add(
        "08_main_results",
        {},
        rows,
        [files.root / name for name in ("main_results.csv", "debate_rounds.csv")],
        ("stats",),
        [],
    )
    add(
        "18_mini_zoo",
        {},
        [path for job in made if job.at.get("split") == "dev" for path in job.outputs],
        [files.root / "debate_on_dev.csv"],
        ("debate.wording", "stats"),
        [],
    )
    if {"pad", "ppo"} <= set(study.methods):
        add("10_ppo_vs_grpo", {}, [files.root / "main_results.csv"], [files.root / "ppo_vs_grpo.csv"], ("stats",), [])
    return made


def _rewarded_by(
    files: Files, told: params.Params, teacher: str, students: list[str], task: str, method: str, s: int
) -> list[Path]:
    """What training by rewards reads: the steps and the reward models made of them, and the initial policies."""
    found = [files.steps(teacher, task, s)]
    for student in students:
        if method != "rlvr":
            found.append(store.manifest_path(files.prm(teacher, student, task, s, method == "pad_shuffled")))
        if told.rl.init == "rsft":
            found.append(store.manifest_path(files.checkpoint(teacher, student, "rsft", task, s)))
    return found


def _asked(told: params.Params) -> list[params.Ask]:
    """The language models that extraction asks."""
    return [ask for ask in (told.judges.verifier, told.judges.diversity, told.judges.distiller) if ask]


def _said(told: params.Params, name: str) -> Any:
    """A section of the params, or with a dot one key of it."""
    section, _, key = name.partition(".")
    return getattr(getattr(told, section), key) if key else getattr(told, section).model_dump()


def _cells(notebook: str) -> list[str]:
    """A notebook's code: what its key depends on; text and outputs are not."""
    cells = json.loads((store.ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
