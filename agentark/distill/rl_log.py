"""The log of a training by rewards: its figures by step, its accuracy on dev, and its totals."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from agentark import params

LOGGED = {"length": "completions/mean_length", "truncated": "completions/clipped_ratio"}  # our name: TRL's
SAME = "reward reward_std accuracy kl entropy loss grad_norm steps_per_trace without_steps zero_variance min_at_last"
LOGGED |= {name: name for name in (*SAME.split(), "value_loss", "value_explained")}


def summary(history: list[dict], config: params.Rl) -> dict:
    """Return the training log of a trainer's history: figures by step, accuracies on dev, and totals."""
    steps = [entry for entry in history if LOGGED["length"] in entry]
    rows = [{"step": e["step"], **{name: e[trl] for name, trl in LOGGED.items() if trl in e}} for e in steps]
    size = config.prompts_per_step * config.generations
    total = {name: sum(row[name] for row in rows) for name in ("truncated", "length")}
    dev = [{"step": e["step"], "accuracy": e["dev_accuracy"]} for e in history if "dev_accuracy" in e]
    log = {"log": rows, "dev": dev, "steps": len(rows), "completions": len(rows) * size}
    log |= {"completion_tokens": round(total["length"] * size), "truncated": round(total["truncated"] * size)}
    if all("zero_variance" in row for row in rows):  # on-policy distillation has no rewards
        log |= {"traces_without_steps": round(sum(row["without_steps"] for row in rows) * size)}
        log |= {"groups": len(rows) * config.prompts_per_step}
        log |= {"zero_variance_groups": round(sum(row["zero_variance"] for row in rows) * config.prompts_per_step)}
    return log


class DevAccuracy(TrainerCallback):
    """Measures the policy on dev before the first step, every `dev_every` steps and after the last one.

    The measurement does not influence the training: the random number generators are restored after it.
    """

    def __init__(self, evaluate_dev: Callable[[Any, Any], float], dev_every: int):
        self.evaluate_dev, self.dev_every = evaluate_dev, dev_every

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self._measure(state, **kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % self.dev_every == 0 or state.global_step == state.max_steps:
            self._measure(state, **kwargs)

    def _measure(self, state, model, processing_class, **_):
        with restored_generators(), torch.no_grad():
            model.eval()
            accuracy = float(self.evaluate_dev(model, processing_class))
            model.train()
        print(f"step {state.global_step} of {state.max_steps}: accuracy {accuracy:.3f} on dev", file=sys.stderr)
        state.log_history.append({"step": state.global_step, "dev_accuracy": accuracy})  # becomes part of checkpoints


@contextmanager
def restored_generators():
    """Restore the states of all random number generators when the block ends."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
