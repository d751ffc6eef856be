"""Runs that are killed, whose disk fails, or that are not alone, end with the rows and weights of an undisturbed run.

The stages run on tiny networks, and are killed at a change of a file (see `kills`); notebooks run through papermill
with networks of the zoo, and are killed with their whole process group.  `pytest -m kill` kills at every moment.
"""

import os
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import kills
import pandas as pd
import pytest
from kills import MORE_STAGES, STAGES, state
from test_grpo import enders  # noqa: F401 (a fixture)

from agentark import store
from agentark.store import faults, locks


@pytest.fixture(scope="module")
def undisturbed(enders, networks, tmp_path_factory):  # noqa: F811
    """A function that returns the networks, and what an undisturbed run of a stage leaves and how often it writes."""
    ours, done = {"qwen3": enders["qwen3"], "teacher": networks["llama"], "backbone": networks["qwen3"]}, {}

    def run(stage):
        if stage not in done:
            folder = tmp_path_factory.mktemp(stage.__name__) / "out"
            code, changes = kills.run(stage, folder, ours)
            assert code == 0, changes
            done[stage] = state(folder), int(changes)
        return ours, *done[stage]

    return run


def by_name(stage):
    return getattr(stage, "__name__", stage)


@pytest.mark.parametrize(
    "stage", [*STAGES, *(pytest.param(s, marks=pytest.mark.kill) for s in MORE_STAGES)], ids=by_name
)
def test_a_stage_that_is_killed_repeatedly_ends_with_the_same_files(undisturbed, tmp_path, stage):
    networks, files, changes = undisturbed(stage)
    codes = [kills.run(stage, tmp_path / "out", networks, "kill", round(changes * at))[0] for at in (0.3, 0.5)]
    assert codes == [-signal.SIGKILL] * 2
    assert kills.run(stage, tmp_path / "out", networks)[0] == 0
    assert without_leftovers(state(tmp_path / "out")) == files


@pytest.mark.kill
@pytest.mark.parametrize("stage", [*STAGES, *MORE_STAGES], ids=by_name)
def test_a_stage_may_be_killed_at_any_moment(undisturbed, tmp_path, stage):
    networks, files, changes = undisturbed(stage)
    for at in range(1, changes + 1):
        folder = tmp_path / str(at)
        assert kills.run(stage, folder, networks, "kill", at)[0] == -signal.SIGKILL
        code, error = kills.run(stage, folder, networks)
        assert code == 0, (at, error)
        assert without_leftovers(state(folder)) == files, at


SHORT = [(kills.debate, "full"), (kills.imitate, "full"), (kills.extract, "read-only")]
LONG = [pair for pair in product([*STAGES, *MORE_STAGES], ("full", "read-only")) if pair not in SHORT]


@pytest.mark.parametrize(
    ("stage", "fault"), [*SHORT, *(pytest.param(*pair, marks=pytest.mark.kill) for pair in LONG)], ids=by_name
)
def test_a_disk_that_fails_costs_nothing_that_was_finished(undisturbed, tmp_path, stage, fault):
    """A disk that is full from the middle of the run on, or a folder in which nothing can be written."""
    networks, files, changes = undisturbed(stage)
    code, error = kills.run(stage, tmp_path / "out", networks, fault, 1 if fault == "read-only" else changes // 2)
    reason = {"full": "No space left on device", "read-only": "Read-only file system"}[fault]
    assert code == 1 and reason in error and "\n" not in error, error
    assert fault == "full" or not (tmp_path / "out").exists() or not state(tmp_path / "out")
    assert kills.run(stage, tmp_path / "out", networks)[0] == 0
    assert without_leftovers(state(tmp_path / "out")) == files


def without_leftovers(found: dict) -> dict:
    """Without the hidden files that a process was about to move to their places when it was killed."""
    return {name: value for name, value in found.items() if not name.rpartition("/")[2].startswith(".")}


# Through papermill

SECTIONS = {
    "01_debate_generation": "{debate: {chunk: 4}}",
    "02_filtering": "{}",
    "04_rsft": "{distill: {save_steps: 2}}",
    "06_prm": "{prm: {batch: 4}, evaluate: {base_votes: 4}}",
    "07_pad": "{rl: {steps: 20, save_steps: 1, prompts_per_step: 2, generations: 4, dev_problems: 8, dev_every: 10}}",
}


@pytest.fixture
def roots(tmp_path):
    """A function that makes a root folder whose notebooks read the committed results and write their own."""

    def make(name: str) -> Path:
        root = tmp_path / name
        (root / "results").mkdir(parents=True)
        (root / "params").symlink_to(store.ROOT / "params")
        (root / "results" / "reference").symlink_to(store.ROOT / "results" / "reference")
        return root

    return make


def start(root: Path, notebook: str):
    command = [sys.executable, "-m", "papermill", "--engine", "agentark", "--no-progress-bar"]
    options = ["-p", "limit", "24", *(("-p", "split", "dev") if notebook.startswith("01") else ())]
    return subprocess.Popen(
        [*command, f"notebooks/{notebook}.ipynb", str(root / "out.ipynb"), *options, "-y", SECTIONS[notebook]],
        cwd=store.ROOT,
        env={**os.environ, "AGENTARK_ROOT": str(root)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def results(root: Path) -> list[Path]:
    [folder] = [path for path in (root / "results").iterdir() if path.name != "reference"] or [root / "none"]
    return [path for path in folder.rglob("*") if path.is_file()]


def growth(root: Path) -> int:
    """The number of finished chunks and files: it grows as a run does, until a stage removes its journal."""
    files = results(root)
    return len(files) + sum(path.read_bytes().count(b"\n") for path in files if path.suffix == ".journal")


def followed(run, root: Path, kill_at: int | None = None) -> int:
    """Wait for a run, and kill it once it has grown so far; returns how far it grew."""
    most = 0
    while run.poll() is None:
        try:
            most = max(most, growth(root))
        except FileNotFoundError:  # moved to its place in between
            continue
        if kill_at is not None and most >= kill_at:
            os.killpg(run.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    return most


def ends_well(run) -> None:
    output = run.communicate(timeout=600)[0]
    assert run.returncode == 0, output


@pytest.mark.parametrize(
    ("notebook", "shares"),
    [("02_filtering", [0.5])] + [pytest.param(name, [0.2, 0.5, 0.8], marks=pytest.mark.kill) for name in SECTIONS],
)
def test_a_notebook_that_is_killed_repeatedly_ends_with_the_same_files(roots, notebook, shares):
    whole, killed = roots("whole"), roots("killed")
    run = start(whole, notebook)
    most = followed(run, whole)
    ends_well(run)
    kills = 0
    for share in shares:
        run = start(killed, notebook)
        followed(run, killed, max(1, round(share * most)))
        run.communicate()
        kills += run.returncode == -signal.SIGKILL
    assert kills >= 1
    ends_well(start(killed, notebook))
    [one], [other] = ([p for p in (root / "results").iterdir() if p.name != "reference"] for root in (whole, killed))
    assert without_leftovers(state(other)) == without_leftovers(state(one))


# Two runs at once


def test_a_second_run_of_the_same_work_is_refused_and_the_first_loses_nothing():
    with locks.lock("work", "busy"):
        with pytest.raises(store.StoreError, match="^busy$"), locks.lock("work", "busy"):
            pass
        with locks.lock("other work", "busy"):
            pass
    with locks.lock("work", "busy"):
        pass


@pytest.mark.kill
def test_a_second_papermill_run_of_the_same_notebook_is_refused(roots):
    root, whole = roots("both"), roots("whole")
    first = start(root, "01_debate_generation")
    while not growth(root) and first.poll() is None:
        time.sleep(0.02)
    second = start(root, "01_debate_generation")
    assert "another run of notebooks/01_debate_generation.ipynb" in second.communicate(timeout=600)[0].splitlines()[-1]
    assert second.returncode != 0
    ends_well(first)
    ends_well(start(whole, "01_debate_generation"))
    logs = [
        next(path for path in results(each) if "debates/" in str(path) and path.suffix == ".parquet")
        for each in (root, whole)
    ]
    pd.testing.assert_frame_equal(*map(pd.read_parquet, logs))


@pytest.mark.parametrize(
    "stage", [kills.debate, pytest.param(kills.predict_and_grade, marks=pytest.mark.kill)], ids=by_name
)
def test_two_processes_at_the_same_journal_lose_nothing(undisturbed, tmp_path, stage):
    """Which no lock prevents if somebody calls the stages themselves: both generate the same rows."""
    networks, files, _ = undisturbed(stage)
    both = [kills.start(stage, tmp_path / "out", networks) for _ in range(2)]
    for process in both:
        process.join()
    assert 0 in {process.exitcode for process in both}
    assert kills.run(stage, tmp_path / "out", networks)[0] == 0
    assert without_leftovers(state(tmp_path / "out")) == files


# The sentence


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(28, "No space left on device", "/a/b"), "could not write /a/b (No space left on device): make room"),
        (OSError(30, "Read-only file system", "/a"), "could not write /a (Read-only file system): make the folder wr"),
        (ValueError("I/O error: No space left on device (os error 28)"), "could not write a checkpoint (No space left"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "make room"),
        (FileNotFoundError(2, "No such file or directory", "/a"), None),
        (ValueError("no space left in the prompt"), None),
    ],
)
def test_what_is_said_of_a_disk_that_fails(error, sentence):
    said = faults.of_the_disk(error)
    assert said is None if sentence is None else sentence in said and "kept" in said


def test_the_command_line_ends_in_one_sentence_if_the_disk_is_full(monkeypatch, capsys):
    from agentark import cli

    def full(*_, **__):
        raise OSError(28, "No space left on device", "student.work/checkpoint-2/model.safetensors")

    monkeypatch.setattr(cli, "distill", full)
    needed = ["--train", "a.jsonl", "--teacher", "zoo/qwen3-32b", "--student", "zoo/qwen3-0.6b", "--out", "x"]
    assert cli.main(["distill", *needed]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        "agentark: could not write student.work/checkpoint-2/model.safetensors (No space left on device): make room; "
        "finished chunks are kept; the same command continues from there"
    )
