"""A benchmark, a protocol, a method, an axis and an analysis are each added by one file (an axis by one line).

The examples of CONTRIBUTING.md are written into a copy of the repository, in which nothing else changes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BLOCK = re.compile(r"```python\n# (agentark/\S+\.py)\n(.*?)```", re.DOTALL)
TOYS = dict(BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text()))
AXIS = "  axes: {debate.agents: [5, 3]}"

LOOK = """
import json, os, sys
import pandas as pd
from agentark import notebook, params, plan, tasks
from agentark.graph import graph
from agentark.report import figures, tables

config, coordinates = params.load("params/mini.yaml")
notebook.check_names(config, coordinates)
jobs = graph.all_jobs(config, 0)
assert "torch" not in sys.modules, "the graph must not need torch"
cells = [{"teacher": "zoo/qwen3-32b", "student": "zoo/qwen3-0.6b", "method": m, "train": "doubles", "test": "doubles", "protocol": "panel",
          "seed": 0, "debate.agents": a} for m in ("rsft", "solved_gold") for a in (5, 3)]
base = {"teacher": "-", "student": "zoo/qwen3-0.6b", "method": "base", "train": "-", "test": "doubles", "protocol": "-", "seed": 0,
        "debate.agents": "-"}
rows = pd.DataFrame([{**c, "item": i, "sample": -1, "gold": "1", "correct_flexible": (i + n) % 3 > 0} for n, c in enumerate([base, *cells])
                     for i in range(40)])
main = tables.main_results(rows)
compared = tables.comparisons(rows, resamples=200)
figure = figures.by_method(main)
print(json.dumps({
    "jobs": [job.name for job in jobs], "outputs": [str(path) for job in jobs for path in job.outputs],
    "plan": plan.text(config, 0, jobs, set(), 2),
    "methods": list(dict.fromkeys(main.method)), "columns": list(main.columns), "n": len(main),
    "pairs": [[r.method, r.against, r["debate.agents"]] for _, r in compared.iterrows()],
    "legend": [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()],
}))
"""


def test_contributing_has_an_example_of_each():
    rooms = {"/".join(Path(file).parts[1:-1]) for file in TOYS}
    assert rooms == {"tasks", "mas/protocols", "distill/methods", "report"} and len(TOYS) == 4


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for folder in ("agentark", "params", "notebooks", "tests"):
        shutil.copytree(ROOT / folder, root / folder, ignore=skip)
    for weights in (ROOT / "agentark/models/zoo").glob("*/*.safetensors"):
        (root / weights.relative_to(ROOT)).symlink_to(weights)
    for file, text in TOYS.items():
        (root / file).write_text(text)
    shutil.copy(ROOT / "notebooks/08_main_results.ipynb", root / "notebooks/90_lengths.ipynb")
    params = root / "params/mini.yaml"
    lines = params.read_text().splitlines()
    changes = {"  axes:": AXIS, "  train_tasks:": "  train_tasks: [doubles]", "  test_tasks:": "  test_tasks: [doubles]",
               "  methods:": "  methods: [rsft, solved_gold]", "  protocols:": "  protocols: [debate, panel]"}  # fmt: skip
    for start, line in changes.items():
        [index] = [n for n, text in enumerate(lines) if text.startswith(start)]
        lines[index] = line
    params.write_text("\n".join(lines) + "\n")
    return root


def run(tree: Path, *command: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(tree), "AGENTARK_ROOT": str(tree), "HF_HUB_OFFLINE": "1"}
    return subprocess.run([sys.executable, *command], cwd=tree, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def seen(tree):
    done = run(tree, "-c", LOOK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_graph_has_all_five(seen):
    names = seen["jobs"]
    assert "01_debate_generation-qwen3-32b-doubles-train-panel" in names
    assert "01_debate_generation-qwen3-32b-doubles-train-debate-debate.agents=3" in names
    assert "04_rsft-qwen3-32b-solved_gold-doubles-s0" in names
    assert "04_rsft-qwen3-32b-solved_gold-doubles-s0-panel-debate.agents=3" in names
    assert "90_lengths" in names
    assert (
        len([name for name in names if name.startswith("03_sft_baseline-base")]) == 1
    )  # debates do not concern the untrained
    files = {Path(path).name for path in seen["outputs"]}
    assert {
        "qwen3-32b.doubles.train.panel.s0.parquet",
        "qwen3-32b.doubles.panel.debate.agents=3.s0.parquet",
        "lengths.csv",
    } <= files


def test_the_plan_shows_all_five(seen):
    for word in ("doubles", "panel", "solved_gold", "debate.agents=3", "90_lengths"):
        assert word in seen["plan"], word


def test_the_tables_have_method_protocol_and_axis(seen):
    assert seen["methods"] == ["base", "rsft", "solved_gold"]
    assert {"protocol", "debate.agents"} <= set(seen["columns"]) and seen["n"] == 5
    assert {tuple(pair) for pair in seen["pairs"]} == {
        (m, "base", a) for m in ("rsft", "solved_gold") for a in (5, 3)
    } | {("solved_gold", "rsft", a) for a in (5, 3)}


def test_the_legend_names_the_method(seen):
    assert "gold where solved" in seen["legend"]


def test_the_benchmark_is_found_by_the_test_of_gold_solutions(tree):
    done = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_benchmarks.py", "-k", "doubles")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("agentark/tasks/again.py", "task"),
        ("agentark/mas/protocols/again.py", "protocol"),
        ("agentark/distill/methods/again.py", "method"),
    ],
)
def test_two_files_that_declare_one_name_are_refused(tree, file, kind):
    twin = next(name for name in TOYS if Path(name).parent == Path(file).parent)
    (tree / file).write_text(TOYS[twin])
    try:
        done = run(
            tree, "-c", 'from agentark import notebook, params; notebook.check_names(*params.load("params/mini.yaml"))'
        )
    finally:
        (tree / file).unlink()
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and kind in last
    assert all(path[:-3].replace("/", ".") in last for path in (file, twin)), last
