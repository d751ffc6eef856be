"""Distillation by imitation: traces and a student go in, a checkpoint with its training log comes out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from agentark import params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.models.load import load_tokenizer, revision

from . import data
from .artifacts import STUDENTS
from .method import methods

if TYPE_CHECKING:
    import pandas as pd


def examples(cell: Cell, traces: pd.DataFrame, n: int, tokenizer) -> list[data.Example]:
    """Return the examples of the cell's method, from extraction's `traces` of the first `n` training problems.

    Problems that extraction left out are not used.  Raises DistillError if there is no example.
    """
    kept = set(traces.problem)
    problems = [p for p in tasks.problems(cell.train, "train", n) if p.id in kept]
    imitate = cast(Callable, methods()[cell.method].examples)
    chosen = imitate(tasks.get(cell.train), problems, traces, tokenizer, cell.seed)
    if not chosen:
        raise data.DistillError(
            f"there is nothing to learn for {cell.method}: extraction kept no trace; look at its counts"
        )
    image = {p.id: p.image for p in problems}
    return [replace(example, image=image[example.problem]) for example in chosen]


def run(
    out: Path, cell: Cell, traces: pd.DataFrame, traces_id: str, n: int, config: params.Distill, start: str = ""
) -> dict:
    """Train the cell's student by its method on the traces of the first `n` training problems and save it to `out`.

    start: the folder of a student of the same cell that is trained further, in place of the untrained one.  Returns
    the training log with `dropped`, the number of examples longer than `max_length`; a finished one is read.
    """
    code = source_hash(f"{__name__}:run", *methods()[cell.method].sources, *tasks.sources(cell.train)["problems"])
    network, config = start or cell.student, config.of(cell.method)
    about = {"stage": "distill", "source": code, "traces": traces_id, "revision": revision(network), "n": n}
    about |= {"distill": config.model_dump(exclude={"by_method"}), **STUDENTS.of(cell).columns()}
    about |= {"start": f"{Path(start).name} {store.identity(Path(start))}"} if start else {}
    if store.is_done(out, about):
        return json.loads((out / "training.json").read_text())
    from . import sft  # imports torch and TRL only if there is something to train

    started = time.time()
    tokenizer = load_tokenizer(network)
    chosen, limits = examples(cell, traces, n, tokenizer), (config.max_length, config.max_dropped_share)
    patches = 0
    if any(example.image for example in chosen):
        from agentark.engines import images

        patches = images.tokens_of_network(cell.student)
    rows, dropped = data.encode_all(chosen, tokenizer, config.answer_weight, *limits, patches)
    log = {**sft.train(network, rows, out, about, config, cell.seed), "dropped": dropped}
    (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(out, about, started, dropped=dropped)
    return log
