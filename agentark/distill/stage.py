"""The distillation stage: traces and a student go in, a checkpoint with its log comes out."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd

from agentark import params, store, tasks
from agentark.models.load import load_tokenizer, revision
from agentark.source import source_hash

from . import data


def run(
    out: Path,
    traces: pd.DataFrame,
    *,
    traces_id: str,
    student: str,
    method: str,
    task: str,
    n: int,
    seed: int,
    told: params.Distill,
) -> dict:
    """Teach `student` by `method` from extraction's `traces` of the first `n` training problems; save to the folder `out`.

    Returns the training log with `dropped` (examples longer than max_length).  What is there already is read.
    """
    about = {
        "stage": "distill",
        "source": source_hash(__name__, *tasks.modules(task)),
        "traces": traces_id,
        "student": student,
        "revision": revision(student),
        "method": method,
        "task": task,
        "n": n,
        "seed": seed,
        "distill": told.model_dump(),
    }
    if store.is_done(out, about):
        return json.loads((out / "training.json").read_text())
    from . import sft  # imports torch and TRL only when there is something to train

    started = time.time()
    tokenizer = load_tokenizer(student)
    known = set(traces.problem)  # what extraction left out (an overlap with a test set) no method learns from
    problems = [p for p in tasks.problems(task, "train", n) if p.id in known]
    made = data.examples(method, tasks.get(task), problems, traces, tokenizer, seed)
    rows, dropped = data.encode_all(made, tokenizer, told.answer_weight, told.max_length, told.max_dropped_share)
    log = sft.train(student, rows, out, about, told, seed)
    log = {**log, "dropped": dropped}
    (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(out, about, started, dropped=dropped)
    return log
