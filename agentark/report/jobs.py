"""The runs of the notebooks that report on a whole study: from the files of the stages to tables and figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from agentark.evaluate import jobs as evaluation
from agentark.evaluate.jobs import PREDICTIONS
from agentark.extract import jobs as extraction
from agentark.extract.jobs import TRACES
from agentark.grade import grading
from agentark.graph.job import Job, Study, report_job
from agentark.mas import jobs as generation
from agentark.mas.jobs import DEBATES

STAGES = (generation, extraction, evaluation)


def written(study: Study, *folders: str) -> list[Path]:
    """The files of some folders that the stages of a study write."""
    jobs = [job for stage in STAGES for job in stage.jobs(study)]
    places = {study.files.root / folder for folder in folders}
    return list(dict.fromkeys(path for job in jobs for path in job.outputs if path.parent in places))


def graded(study: Study, *folders: str) -> list[Path]:
    """The texts of some folders that the stages of a study write, and their grades."""
    texts = written(study, *folders)
    return [*texts, *map(grading.path_of, texts)]


def graders(study: Study) -> list[str]:
    """The code that grades the texts of a study."""
    names = dict.fromkeys((*study.base.study.train_tasks, *study.base.study.test_tasks))
    return [root for name in names for root in grading.roots(name)]


def jobs(study: Study) -> Iterator[Job]:
    """The main results, and the debates on dev."""
    root, code = study.files.root, graders(study)
    dev = [path for job in generation.jobs(study) if job.coordinates["split"] == "dev" for path in job.outputs]
    rows = [*graded(study, PREDICTIONS.folder, DEBATES.folder), *written(study, TRACES.folder)]
    rows = [path for path in rows if path not in dev]
    files = {"inputs": rows, "outputs": [root / "main_results.csv", root / "debate_rounds.csv"]}
    yield report_job(study, "08_main_results", ["collect"], code, sections=["stats"], **files)
    files, sections = {"inputs": dev, "outputs": [root / "debate_on_dev.csv"]}, ["debate.wording", "stats"]
    yield report_job(study, "18_debate_on_dev", ["collect", "debating"], code, sections=sections, **files)
