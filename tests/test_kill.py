"""A papermill run of the real notebook with the real network, killed repeatedly with its whole process group."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd

from agentark import store

COMMAND = [
    sys.executable,
    "-m",
    "papermill",
    "--engine",
    "agentark",
    "--no-progress-bar",
    "notebooks/01_debate_generation.ipynb",
]
OPTIONS = ["-p", "limit", "24", "-p", "split", "dev"]


def start(name: str, tmp_path):
    sections = f"{{study: {{name: {name}}}, debate: {{chunk: 4}}}}"
    return subprocess.Popen(
        [*COMMAND, str(tmp_path / f"{name}.ipynb"), *OPTIONS, "-y", sections],
        cwd=store.ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def folder(name: str):
    return store.ROOT / "results" / f"{name}-first24"


def journal(name: str) -> list[bytes]:
    files = list(folder(name).glob("debates/*.journal"))
    return files[0].read_bytes().split(b"\n")[:-1] if files else []


def test_a_run_that_is_killed_repeatedly_ends_with_the_same_rows(tmp_path):
    try:
        whole = start("test-whole", tmp_path)
        output = whole.communicate(timeout=200)[0]
        assert whole.returncode == 0, output
        kept, kills = 0, 0
        for chunks in (1, 3, 5):  # kill the run when this many chunks are on disk; round 1 alone has six
            run = start("test-killed", tmp_path)
            end = time.time() + 100
            while len(journal("test-killed")) - 1 < chunks and run.poll() is None and time.time() < end:
                time.sleep(0.02)
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                kills += 1
            run.communicate()
            if list(folder("test-killed").glob("debates/*.parquet")):  # it finished before the kill: no journal is left
                break
            before = journal("test-killed")
            assert len(before) - 1 >= kept, "a finished chunk was lost"
            kept = len(before) - 1
        assert kills >= 2
        last = start("test-killed", tmp_path)
        output = last.communicate(timeout=200)[0]
        assert last.returncode == 0, output
        whole_rows, killed_rows = (
            pd.read_parquet(next(folder(n).glob("debates/*.parquet"))) for n in ("test-whole", "test-killed")
        )
        pd.testing.assert_frame_equal(whole_rows, killed_rows)
    finally:
        for name in ("test-whole", "test-killed"):
            shutil.rmtree(folder(name), ignore_errors=True)
