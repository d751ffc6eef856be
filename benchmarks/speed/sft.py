"""Cost of our training by imitation against a bare loop of forward, backward and step on the same batches, in one run.

    OMP_NUM_THREADS=1 python benchmarks/speed/sft.py --student zoo/qwen3-0.6b

Both start from the same network and see the same examples in the same order.  The variants take turns, so that a drift
of the machine's speed affects both; the results are medians over the turns.  The time of the process counts beside that
of the clock, because other work on the machine does not change it.  The saving of the checkpoint at the end is part of
our time, the loading of the network is not.  The results are written to benchmarks/speed/sft.json with a description of
the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback

from agentark import params, store, tasks
from agentark.distill import data, sft
from agentark.models.load import load, load_tokenizer

HERE = Path(__file__).parent


class Clock(TrainerCallback):
    """Times a training from its first step to its end, in seconds of the process and of the clock."""

    def on_train_begin(self, *_, **__):
        self.start = time.process_time(), time.perf_counter()

    def on_train_end(self, *_, **__):
        self.seconds = [now - then for now, then in zip((time.process_time(), time.perf_counter()), self.start)]


def ours(student: str, rows: list[dict], config: params.Distill) -> list[float]:
    """The seconds of one of our trainings."""
    clock = Clock()
    with TemporaryDirectory() as folder:
        sft.train(student, rows, Path(folder) / "student", {"benchmark": "sft"}, config, 0, (clock,))
    return clock.seconds


def batches_of(rows: list[dict], config: params.Distill) -> list[list[int]]:
    """The indices of the examples of each batch of our training: they depend on seed and epoch alone."""
    lengths, batches = [len(row["input_ids"]) for row in rows], []
    for epoch in range(config.epochs):
        order = list(sft.ByLength(lengths, config.batch, 0, lambda epoch=epoch: epoch))
        batches += [order[start : start + config.batch] for start in range(0, len(order), config.batch)]
    return batches


def bare(student: str, rows: list[dict], batches: list[list[int]], rate: float) -> list[float]:
    """The seconds of a plain loop over the same batches: forward, weighted cross-entropy, backward, AdamW."""
    model, tokenizer = load(student)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    collate = sft.WeightedCollator(pad_token_id=tokenizer.pad_token_id)
    start = time.process_time(), time.perf_counter()
    for batch in batches:
        inputs = collate([dict(rows[i]) for i in batch])
        logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False).logits
        labels = inputs["labels"][:, 1:].flatten()
        losses = cross_entropy(logits[:, :-1].flatten(0, 1), labels, reduction="none", ignore_index=-100)
        loss = (inputs["weights"][:, 1:].flatten() * losses).sum() / (labels != -100).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return [now - then for now, then in zip((time.process_time(), time.perf_counter()), start)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--student", default="zoo/qwen3-0.6b")
    parser.add_argument("--task", default="mini_gsm")
    parser.add_argument("--problems", type=int, default=480)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "sft.json")
    options = parser.parse_args()
    config = params.load(store.ROOT / "params" / "mini.yaml")[0].distill.model_copy(update={"epochs": 1})
    grader = tasks.get(options.task)
    examples = [
        data.Example(p.id, grader.prompt(p), p.solution)
        for p in tasks.problems(options.task, "train", options.problems)
    ]
    rows, _ = data.encode_all(examples, load_tokenizer(options.student), 1.0, config.max_length, 1.0)
    batches = batches_of(rows, config)
    seconds: dict[str, list[list[float]]] = {"ours": [], "bare": []}
    for _ in range(options.turns):
        seconds["ours"].append(ours(options.student, rows, config))
        seconds["bare"].append(bare(options.student, rows, batches, config.learning_rate))
    median = {name: [statistics.median(each) for each in zip(*turns)] for name, turns in seconds.items()}
    tokens = config.epochs * sum(len(row["input_ids"]) for row in rows)
    result = {
        "machine": store.machine(),
        "torch_threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "student": options.student,
        "task": options.task,
        "examples": len(rows),
        "batch": config.batch,
        "steps": len(batches),
        "ratio": {kind: median["ours"][i] / median["bare"][i] for i, kind in enumerate(("process", "clock"))},
        "tokens_per_process_second": {name: tokens / each[0] for name, each in median.items()},
        "seconds_of_process_and_clock": seconds,
    }
    result = json.loads(json.dumps(result), parse_float=lambda x: round(float(x), 3))
    print(json.dumps(result, indent=1))
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
