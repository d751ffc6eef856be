"""Snakemake's side of a study: the command that runs it, what is left to do, its targets, and its lock."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from . import params, store
from .graph import graph
from .graph.job import Job, output_name
from .store import locks

UNTIL = ("--until", "-U")


def command(path: Path, limit: int, teachers: list[str], *more: str) -> list[str]:
    """Return the command that runs Snakemake on a study.

    It reads the values of --config as YAML, and loses quotes at their ends; so they are written as parts of a URL.
    Raises ParamsError for folders in which Snakemake cannot work.
    """
    for folder in (store.ROOT, Path(path).resolve().parent):
        if set("{}") & set(str(folder)):
            raise params.ParamsError(f"Snakemake takes braces for wildcards, and {folder} has some: rename the folder")
    texts = {"params": os.path.abspath(path), "teachers": ",".join(teachers)}
    config = [f"limit={limit}", *(f"{key}={quote(text, safe='/,')}" for key, text in texts.items())]
    program = [sys.executable, "-m", "snakemake", "--snakefile", str(store.ROOT / "Snakefile")]
    return [*program, "--directory", str(store.ROOT), "--config", *config, *more]


def outputs(jobs: list[Job]) -> set[str]:
    """Return the outputs of jobs, relative to the root."""
    return {os.path.relpath(output, store.ROOT) for job in jobs for output in job.outputs}


def pending(path: Path, limit: int, teachers: list[str], jobs: list[Job]) -> set[str]:
    """Return the outputs that Snakemake would recompute; all, without asking it, if the study has no results yet."""
    if not (store.ROOT / "results" / output_name(path.stem, limit)).exists():
        return outputs(jobs)
    summary = command(path, limit, teachers, "--summary", "--cores", "1")
    process = subprocess.run(summary, capture_output=True, text=True)
    if process.returncode:
        raise params.ParamsError(f"Snakemake cannot read the study:\n{process.stderr.strip()[-2000:]}")
    table = csv.DictReader(process.stdout.splitlines(), delimiter="\t")
    return {row["output_file"] for row in table if row["plan"] != "no update"}


def targets(more: list[str], jobs: list[Job]) -> list[str]:
    """Return Snakemake's options with the names of its rules for those of notebooks and of their runs.

    Snakemake starts nothing that waits for a rule of --until: of these, the ones are left out for which others wait.
    """
    rules: dict[str, list[str]] = {}
    for job in jobs:
        for name in {job.name, job.notebook}:
            rules.setdefault(name, []).append(graph.rule_name(job))
    named, option = [], ""
    for word in more:
        option = word if word.startswith("-") else option
        named += [(option, rule) for rule in rules.get(word, [word])]
    until = {rule for option, rule in named if option in UNTIL}
    read: set[Path] = set()
    before: set[str] = set()
    for job in reversed(jobs):  # each stands after those whose outputs it reads
        rule = graph.rule_name(job)
        before |= {rule} if read & set(job.outputs) else set()
        read |= set(job.inputs) if rule in until | before else set()
    return [rule for option, rule in named if option not in UNTIL or rule not in before]


def unlock(path: Path, limit: int, teachers: list[str]) -> None:
    """Remove Snakemake's lock if the run that left it is dead.

    Raises StoreError if that run is alive: two runs would write the same files.
    """
    mine = owner()
    if mine.exists() and (pid := int(mine.read_text() or 0)) != os.getpid() and locks.alive(pid):
        raise store.StoreError(f"another run is at work here (process {pid}): wait for it, or stop it")
    if any((store.ROOT / ".snakemake" / "locks").glob("*")):
        subprocess.run(command(path, limit, teachers, "--unlock", "--cores", "1"), capture_output=True)
    mine.parent.mkdir(exist_ok=True)
    mine.write_text(str(os.getpid()))


def owner() -> Path:
    """Return the file that holds the process number of a run while it lasts."""
    return store.ROOT / ".snakemake" / "agentark.pid"
