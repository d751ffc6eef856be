"""The runs of extraction: the traces of each log from which students learn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from agentark import tasks
from agentark.cells import Artifact, Cell
from agentark.grade import grading
from agentark.graph.job import Job, Study, Work, job
from agentark.mas.jobs import DEBATES, SECTIONS

NOTEBOOK = "02_filtering"
TRACES = Artifact("traces", ("teacher", "train"), (*SECTIONS, "sizes.train", "sizes.test", "extract", "judges"))
STEPS = Artifact("steps", ("teacher", "train"), (*SECTIONS, "sizes.train", "sizes.test", "extract", "prm.labeller"))
VERDICT = 60  # tokens that ask whether an answer is right, besides the question: assumed


def jobs(study: Study) -> Iterator[Job]:
    """One run per teacher, training set and protocol."""
    s = study.base.study
    names = product(study.variants(TRACES.sections, taught=True), s.teachers, s.train_tasks, s.protocols)
    for variant, teacher, task, protocol in names:
        yield _job(variant, variant.cell(teacher=teacher, train=task, protocol=protocol, seed=s.seeds[0]))


def _job(study: Study, cell: Cell) -> Job:
    log = study.path(DEBATES, cell)
    judges = study.params.judges
    coordinates = {"teacher": cell.teacher, "task": cell.train, "seed": cell.seed}
    source = ["agentark.extract.traces:run", "agentark.extract.decontaminate:overlaps", *decontaminated(study, cell)]
    models = [judge.model for judge in (judges.verifier, judges.diversity, judges.distiller) if judge]
    files = {"inputs": [log, grading.path_of(log)], "outputs": [study.path(TRACES, cell)], "source": source}
    work = {"models": models, "tokens": lambda rates: tokens(study, cell, rates)}
    files["sections"] = ("extract", "debate.wording", "judges")
    return job(study, NOTEBOOK, cell, coordinates, [cell.teacher, cell.train], **files, **work)


def decontaminated(study: Study, cell: Cell) -> list[str]:
    """The code that decides which training problems overlap with a test set: that of all these problems."""
    names = (cell.train, *study.base.study.test_tasks)
    return [root for name in names for root in tasks.sources(name)["problems"]]


def final_traces(study: Study, cell: Cell, rates) -> float:
    """The expected number of completions in a debate log of the training problems."""
    debate = study.params.debate
    return study.size("train", cell.train) * debate.agents * (1 + rates.debating * (debate.rounds - 1))


def tokens(study: Study, cell: Cell, rates) -> Work:
    """The expected work of the judges: a verdict per completion, a question per chosen trace, a rewritten trace."""
    judges, extract = study.params.judges, study.params.extract
    work: Work = {}
    chosen = study.size("train", cell.train) * extract.max_traces
    if judges.verifier:
        work["read", judges.verifier.model] = final_traces(study, cell, rates) * (rates.question + VERDICT)
    if extract.diversity != "structural" and judges.diversity:
        key = "read", judges.diversity.model
        work[key] = work.get(key, 0.0) + chosen * (rates.question + study.params.debate.agents * rates.reply)
    if extract.diversity == "extract" and judges.distiller:
        key = "read", judges.distiller.model
        work[key] = work.get(key, 0.0) + chosen * (rates.question + rates.reply)
        work["generated", judges.distiller.model] = chosen * rates.reply
    return work
