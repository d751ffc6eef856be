"""The stages of a study on tiny networks, in processes that are killed, or whose disk fails; see test_kill.py.

A moment is a change of a file: Python reports each one, before it happens, to audit hooks.  So a journal's next line,
the next file of a checkpoint, and the move of a table to its place are all moments, the same in every run.
"""

import errno
import hashlib
import json
import multiprocessing
import os
import signal
import sys
from pathlib import Path

from test_distill import CELL, TRACES
from test_grpo import PROMPTS, RL, dev, score
from test_own_samples import even_tokens
from test_ppo import ends
from test_prm import CONFIG, table
from test_settings import MINI, TEACHER, log_of, quiet
from tiny import DEBATE, DISTILL, ENGINE, EVALUATE, LORA, but

from agentark.distill import grpo, opd, ppo, prm, select, students
from agentark.evaluate import predict
from agentark.extract import label
from agentark.extract import traces as extraction
from agentark.grade import grading
from agentark.mas import generation

SHORT = but(RL, steps=4, dev_every=2)
CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
NEEDS_SPACE = ("open", "os.mkdir")


# The stages: each writes under a folder, with networks by name


def debate(folder, networks):
    config = but(DEBATE, max_new_tokens=4, chunk=1, consensus="off", agents=2, rounds=2)
    cell, path = TEACHER.but(teacher=networks["qwen3"]), folder / "debates" / "log.parquet"
    generation.run(path, cell, 3, config, ENGINE, quiet)
    grading.run(path)


def extract(folder, networks):
    extraction.run(folder / "traces" / "t.parquet", log_of(), "x", TEACHER, MINI)
    label.run(folder / "steps" / "s.parquet", log_of(), "x", TEACHER, MINI)


def imitate(folder, networks, config=DISTILL):
    students.run(folder / "student", CELL.but(student=networks["qwen3"], method="rsft"), TRACES, "x", 6, config)


def imitate_by_an_adapter(folder, networks):
    imitate(folder, networks, but(DISTILL, lora=LORA))


def train_a_reward_model(folder, networks):
    shared = {"task": "mini_gsm", "split": "train", "n": 12, "seed": 0, "progress": quiet}
    prm.run(folder / "prm", table(), steps_id="x", base=networks["backbone"], config=but(CONFIG, batch=6), **shared)


def train_by_grpo(folder, networks, run=grpo.run, **more):
    shared = {"policy": networks["qwen3"], "prompts": PROMPTS, "config": SHORT, "seed": 0}
    run(folder / "student", score=score, evaluate_dev=dev, **shared, **more)


def train_by_ppo(folder, networks):
    train_by_grpo(folder, networks, ppo.run, step_ends=ends)


def select_own_samples(folder, networks):
    shared = {"policy": networks["qwen3"], "prompts": PROMPTS, "config": but(RL, generations=3), "seed": 0}
    shared |= {"distill": but(DISTILL, epochs=1), "engine": ENGINE, "evaluate_dev": None, "progress": quiet}
    select.CHUNK = 2
    select.run(folder / "student", score=even_tokens, verify=lambda text, _: len(text) % 3 == 0, **shared)


def learn_from_a_teacher(folder, networks):
    shared = {"teacher": networks["teacher"], "prompts": PROMPTS, "config": SHORT, "seed": 0}
    opd.run(folder / "student", policy=networks["qwen3"], **shared)


def predict_and_grade(folder, networks):
    shared = {"task": "mini_gsm", "split": "test", "n": 4, "samples": 2, "seed": 0, "config": EVALUATE}
    path = folder / "predictions" / "p.parquet"
    predict.CHUNK = 2
    predict.run(path, {"test": "mini_gsm"}, model=networks["qwen3"], engine=ENGINE, progress=quiet, **shared)
    grading.run(path)


STAGES = (debate, extract, imitate, train_a_reward_model, train_by_grpo, train_by_ppo, predict_and_grade)
MORE_STAGES = (imitate_by_an_adapter, select_own_samples, learn_from_a_teacher)  # variants of these


# The processes


def run(stage, folder, networks, fault="", at=0) -> tuple[int, str]:
    """Run a stage in a process of its own; returns its exit code, and its error or its number of changes.

    fault: what happens at the change number `at` (from 1): "kill"; or, at each from then on, "full" (the disk) or
    "read-only" (the folder).
    """
    report = folder.with_name(folder.name + ".report")
    report.unlink(missing_ok=True)
    process = start(stage, folder, networks, fault, at)
    process.join()
    return process.exitcode, report.read_text() if report.exists() else ""


def start(stage, folder, networks, fault="", at=0):
    """Start the process of `run`, and return it."""
    report = folder.with_name(folder.name + ".report")
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(stage, folder, networks, fault, at, report)
    )
    process.start()
    return process


def _run(stage, folder, networks, fault, at, report):
    count = 0

    def watch(event, args):
        nonlocal count
        if event not in CHANGES or not str(args[0]).startswith(f"{folder}{os.sep}"):
            return
        if event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        count += 1
        if fault == "kill" and count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        code = {"full": errno.ENOSPC, "read-only": errno.EROFS}.get(fault)
        if code and count >= at and (fault == "read-only" or event in NEEDS_SPACE):
            raise OSError(code, os.strerror(code), str(args[0]))

    sys.addaudithook(watch)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    try:
        stage(folder, networks)
    except Exception as error:
        report.write_text(f"{type(error).__name__}: {error}")
        os._exit(1)
    report.write_text(str(count))
    os._exit(0)


def state(folder: Path) -> dict:
    """What is left in a folder, by the names of its files: their digests, without times and machines."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.name.endswith(".manifest.json"):
            manifest = json.loads(path.read_text())
            found[name] = {key: manifest.get(key) for key in ("about", "sha256", "rows")}
        elif path.name == "training.json":
            log = json.loads(path.read_text())
            found[name] = {
                key: value for key, value in log.items() if key not in ("seconds", "core_seconds", "peak_memory_mb")
            }
        elif path.name == "training_args.bin":  # it names its folder
            found[name] = None
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
