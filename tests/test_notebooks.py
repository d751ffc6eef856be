"""The notebooks as documents: they can be run alone, and nbval really compares what they print."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest

from agentark import notebook, params, store
from agentark.graph import graph

NOTEBOOKS = sorted((store.ROOT / "notebooks").glob("*.ipynb"))
IGNORED = "nbval-ignore-output"
HEAD = ("sections", "parameters")  # the tags of the two cells after the first one

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)


def cells(path) -> list[dict]:
    return [{**cell, "source": "".join(cell["source"])} for cell in json.loads(path.read_text())["cells"]]


def code(path) -> list[dict]:
    return [cell for cell in cells(path) if cell["cell_type"] == "code"]


def tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


@each_notebook
def test_every_cell_was_run_in_order_and_without_error(path):
    counts = [c["execution_count"] for c in code(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for c in code(path) for o in c["outputs"] if o["output_type"] == "error"]


@each_notebook
def test_something_is_compared(path):
    assert len([c for c in code(path) if c["outputs"] and IGNORED not in tags(c)]) >= 2
    assert not [c for c in code(path) if "NBVAL" in c["source"]], "use the tag nbval-ignore-output instead of a comment"


@each_notebook
def test_nothing_is_printed_in_red_and_no_loss_per_step(path):
    streams = [o for c in code(path) for o in c["outputs"] if o["output_type"] == "stream"]
    assert not [o for o in streams if o["name"] == "stderr"]
    assert not [o for o in streams if "'loss'" in "".join(o["text"])]


@each_notebook
def test_the_first_cell_claims_and_the_last_one_concludes(path):
    first, *_, last = cells(path)
    assert first["cell_type"] == last["cell_type"] == "markdown"
    assert first["source"].startswith(f"# {path.stem[:2]} · ") and "**Claim" in first["source"]
    assert "You will see" in first["source"] and "| reads | writes | minutes" in first["source"]
    lines = [line for line in last["source"].splitlines() if line]
    assert lines[0] == "## Verdict"
    assert [line.split("**")[1] for line in lines[1:]] == ["Paper", "Ours", "Verdict", "Why"]


@each_notebook
def test_parameters_are_declared_as_papermill_reads_them(path):
    second, third = cells(path)[1:3]
    assert [tags(second)[0], tags(third)[0]] == list(HEAD)
    assert second["metadata"]["jupyter"] == {"source_hidden": True} and "hide-input" in tags(second)
    tagged = [cell for cell in code(path) if set(HEAD) & set(tags(cell))]
    tree = ast.parse("\n".join(cell["source"] for cell in tagged))
    values = {node.target.id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert set(params.SECTIONS) <= set(values) and set(values) <= {*params.SECTIONS, *params.COORDINATES}
    name = values["study"].pop("name", "mini")  # a notebook may be about another study than mini
    assert (store.ROOT / "params" / f"{name}.yaml").exists()
    assert all(values[section] == {} for section in params.SECTIONS)
    assert len(tagged) == 2 and values["inputs"] == "reference"


@each_notebook
def test_no_algorithm_lives_in_a_notebook(path):
    for cell in code(path):
        assert len([line for line in cell["source"].splitlines() if line.strip()]) <= 15, cell["id"]
        if not cell["source"].startswith("%"):
            tree = ast.parse(cell["source"])
            assert not [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.While))]


def all_jobs() -> list:
    files = (path for path in store.ROOT.glob("params/*.yaml") if path.stem not in ("zoo", "claims"))
    studies = [params.load(path)[0] for path in sorted(files)]
    return [job for study in studies for job in graph.all_jobs(study, 0)]


def test_every_job_has_its_notebook():
    without = {"00_start_here", "23_claims"}  # they read the references of several studies, and belong to none
    assert {p.stem for p in NOTEBOOKS} == {*(job.notebook for job in all_jobs()), *without}


def test_notebooks_declare_the_parameters_of_their_jobs():
    declared = {path.stem: notebook.declared(code(path)) for path in NOTEBOOKS}
    for job in all_jobs():
        about_cells = {"axes"} if job.coordinates else set()  # a report on the whole study has none
        given = {
            *job.coordinates,
            *about_cells,
            "limit",
            "inputs",
            *params.SECTIONS,
        }  # of job, Snakefile and params file
        assert given <= declared[job.notebook], job.name


def test_a_changed_output_fails(tmp_path):
    """nbval compares the first cell's output of a notebook whose stored output was tampered with."""
    source = store.ROOT / "notebooks" / "02_filtering.ipynb"
    document = json.loads(source.read_text())
    counts = next(c for c in document["cells"] if "pd.Series(counts" in "".join(c["source"]))
    text = "".join(counts["outputs"][0]["data"]["text/plain"])
    assert re.search(r"\d", text)
    counts["outputs"][0]["data"]["text/plain"] = [re.sub(r"\d", "9", text)]
    counts["outputs"][0]["data"].pop("text/html", None)
    root = tmp_path / "root"  # in which no earlier run of the slice is found, whose replacement would be reported
    (root / "results").mkdir(parents=True)
    for name in ("params", "notebooks", "results/reference"):
        (root / name).symlink_to(store.ROOT / name)
    (tmp_path / "tampered.ipynb").write_text(json.dumps(document))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--nbval",
            str(tmp_path / "tampered.ipynb"),
            "-q",
            "-p",
            "no:cacheprovider",
            "-c",
            "/dev/null",
        ],
        capture_output=True,
        text=True,
        cwd=store.ROOT,
        env={**os.environ, "AGENTARK_ROOT": str(root)},
    )
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:]
