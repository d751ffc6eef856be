"""The notebooks as documents: they can be run alone, and nbval really compares what they print."""

import ast
import json
import re
import subprocess
import sys

import pytest

from agentark import params, store, study

NOTEBOOKS = sorted((store.ROOT / "notebooks").glob("*.ipynb"))


def code(path) -> list[dict]:
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_every_cell_was_run_in_order_and_without_error(path):
    counts = [c["execution_count"] for c in code(path)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [o for c in code(path) for o in c["outputs"] if o["output_type"] == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_something_is_compared(path):
    compared = [c for c in code(path) if c["outputs"] and "NBVAL_IGNORE_OUTPUT" not in "".join(c["source"])]
    assert len(compared) >= 2


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameters_are_declared_as_papermill_reads_them(path):
    cells = [c for c in code(path) if "parameters" in c["metadata"].get("tags", [])]
    assert len(cells) == 1
    tree = ast.parse("".join(cells[0]["source"]))
    names = {node.target.id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.AnnAssign)}
    assert set(params.SECTIONS) <= set(names) and set(names) <= {*params.SECTIONS, *params.COORDINATES}
    named = names["study"].pop("name", "mini")  # a notebook may be about another study than mini
    assert (store.ROOT / "params" / f"{named}.yaml").exists() and all(
        names[section] == {} for section in params.SECTIONS
    )
    assert names["inputs"] == "reference"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_algorithm_lives_in_a_notebook(path):
    for cell in code(path):
        source = "".join(cell["source"])
        assert source.count("\n") < 25
        if not source.startswith("%"):
            tree = ast.parse(source)
            assert not [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef, ast.While))]


def test_every_job_has_its_notebook_and_every_stage_its_source():
    assert {p.stem for p in NOTEBOOKS} == {*study.STAGES, "00_start_here"}


def test_a_changed_output_fails(tmp_path):
    """nbval compares the first cell's output of a notebook whose stored output was tampered with."""
    source = store.ROOT / "notebooks" / "02_filtering.ipynb"
    notebook = json.loads(source.read_text())
    counts = next(c for c in notebook["cells"] if "pd.Series(counts" in "".join(c["source"]))
    text = "".join(counts["outputs"][0]["data"]["text/plain"])
    assert re.search(r"\d", text)
    counts["outputs"][0]["data"]["text/plain"] = [re.sub(r"\d", "9", text)]
    counts["outputs"][0]["data"].pop("text/html", None)
    (tmp_path / "tampered.ipynb").write_text(json.dumps(notebook))
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
    )
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout[-2000:]
