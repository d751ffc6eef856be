"""Every notebook runs with plain papermill and the params file of every study that has it."""

import shutil
import subprocess
import sys

import pytest
import yaml

from agentark import notebook, params, store
from agentark.graph import graph
from agentark.graph.job import output_name

PARAMS = sorted((store.ROOT / "params").glob("mini*.yaml"))
LIMIT = 17  # a number that nobody else takes for a slice, whose folders are removed here


def runs(path) -> dict:
    """The first job of each notebook of a study; none for a study without a committed reference."""
    settings, coordinates = params.load(path)
    if not (store.ROOT / "results" / "reference" / settings.study.name).is_dir():
        return {}
    notebook.check_names(settings, coordinates)
    return {job.notebook: job for job in reversed(graph.all_jobs(settings, LIMIT))}


def run(path, name, job, out) -> None:
    """Run a notebook on a slice of a study, with the rows of its reference."""
    flat = yaml.safe_dump(
        {**job.coordinates, "limit": LIMIT, "inputs": "reference"}, default_flow_style=True, width=10**6
    )
    command = ["papermill", "--no-progress-bar", f"notebooks/{name}.ipynb", str(out), "-f", str(path), "-y", flat]
    done = subprocess.run([sys.executable, "-m", *command], cwd=store.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(("study", "name"), [("mini-quantity", "11_data_scaling")])
def test_a_notebook_runs_with_the_params_file_of_its_study(study, name, tmp_path):
    path = store.ROOT / "params" / f"{study}.yaml"
    run(path, name, runs(path)[name], tmp_path / "out.ipynb")
    assert study in (tmp_path / "out.ipynb").read_text()


@pytest.mark.papermill
@pytest.mark.parametrize("path", PARAMS, ids=lambda path: path.stem)
def test_every_notebook_of_a_study_runs_with_its_params_file(path, tmp_path):
    for name, job in runs(path).items():
        run(path, name, job, tmp_path / f"{name}.ipynb")
        for folder in ("results", "figures"):
            shutil.rmtree(store.ROOT / folder / output_name(path.stem, LIMIT), ignore_errors=True)
