"""The runs of the first stage: each teacher answers problems of each benchmark, by the protocols and their controls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

from agentark.cells import Artifact, Cell
from agentark.grade import grading
from agentark.graph.job import Job, Study, Work, job
from agentark.models import fit

from . import generation
from .protocol import protocols

NOTEBOOK = "01_debate_generation"
SECTIONS = ("debate", "engine")
DEBATES = Artifact("debates", ("teacher", "task", "split", "protocol"), (*SECTIONS, "sizes.{size}"))


def jobs(study: Study) -> Iterator[Job]:
    """One run per teacher, task, split and protocol, and on dev and test their controls."""
    s, declared = study.base.study, protocols()
    for split, names in (("train", s.train_tasks), ("test", s.test_tasks), ("dev", s.train_tasks)):
        controls = [name for p in s.protocols for name in declared[p].controls.get(split, ())]
        run = dict.fromkeys([*s.protocols, *controls])
        variants = study.variants(DEBATES.sections_of(split), taught=split != "test")
        for variant, teacher, task, protocol in product(variants, s.teachers, names, run):
            if task not in fit.tests_of(teacher, [task], variant.params.teacher_engine):
                continue  # it cannot see the pictures of a test
            coordinates = {"teacher": teacher, "protocol": protocol, "split": split, "seed": s.seeds[0]}
            yield _job(variant, variant.cell(**coordinates, **{"test" if split == "test" else "train": task}))


def _job(study: Study, cell: Cell) -> Job:
    coordinates = {name: getattr(cell, name) for name in ("teacher", "task", "split", "protocol", "seed")}
    log, parts = study.path(DEBATES, cell), [cell.teacher, cell.task, cell.split, cell.protocol]
    source = ["agentark.mas.generation:run", *generation.roots(cell), *grading.roots(cell.task)]
    larger = _largest(study, cell)  # of which it takes the first problems (`generation.run`)
    files = {"inputs": larger, "outputs": [log, grading.path_of(log)], "sections": SECTIONS, "source": source}
    work = {"models": [cell.teacher], "tokens": lambda rates: {} if larger else tokens(study, cell, rates)}
    return job(study, NOTEBOOK, cell, coordinates, parts, **files, **work)


def _largest(study: Study, cell: Cell) -> list[Path]:
    """The log of the most problems, if the size of the split is an axis and this cell has fewer; else nothing."""
    axis = next((path for path in dict(cell.axes) if path.startswith("sizes.")), "")
    if not axis or not protocols()[cell.protocol].by_problem:
        return []
    most = max(study.values(taught=cell.split != "test")[axis])
    largest = cell.but(axes=tuple((path, most if path == axis else value) for path, value in cell.axes))
    return [] if largest == cell else [study.path(DEBATES, largest)]


def tokens(study: Study, cell: Cell, rates) -> Work:
    """The expected work: every completion has a mean reply; a share of the problems goes on to each later round."""
    debate, protocol = study.params.debate, protocols()[cell.protocol]
    n, first = study.generated(cell.split, cell.task), protocol.samples(study.params.debate)
    later = rates.debating * (debate.rounds - 1) if protocol.rounds else 0.0  # rounds after the first, per problem
    summaries = protocol.rounds and debate.aggregator == "llm"
    read = n * (rates.question + (later + summaries) * (rates.question + first * rates.reply))
    generated, revised = n * (first + summaries) * rates.reply, n * first * later * rates.revision
    work = {("generated", cell.teacher): generated, ("read", cell.teacher): read}
    return work | ({("revised", cell.teacher): revised} if revised else {})
