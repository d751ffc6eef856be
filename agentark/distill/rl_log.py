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

from .data import DistillError

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


class Guard(TrainerCallback):
    """Stops a training whose completions grow, and refuses a reward that tells nothing apart.

    The first rule: the mean length of the last `WINDOW` steps is more than `most` times that of the first `WINDOW`
    steps. The entry {"step", "grown_to"} of the log says so, with the ratio; `on_policy.run` then keeps the checkpoint
    before. The second: in each of the first `CONSTANT` steps all rewards of each group are the same (DistillError).
    """

    WINDOW = 5
    CONSTANT = 10

    def __init__(self, most: float):
        self.most = most

    def on_log(self, args, state, control, logs, **_):
        if LOGGED["length"] not in logs:
            return
        steps = [entry for entry in state.log_history if LOGGED["length"] in entry]
        lengths = [entry[LOGGED["length"]] for entry in steps]
        first, last = lengths[: self.WINDOW], lengths[-self.WINDOW :]
        if len(lengths) >= 2 * self.WINDOW and sum(last) > self.most * sum(first):
            state.log_history.append({"step": state.global_step, "grown_to": round(sum(last) / sum(first), 2)})
            control.should_training_stop, control.should_save = True, False  # a new checkpoint would replace the last
        if len(steps) == self.CONSTANT and all(entry.get("zero_variance") == 1 for entry in steps):
            given = f"in the first {self.CONSTANT} steps, all completions of a prompt had the same reward"
            raise DistillError(f"{given}: nothing can be learnt from it; take another reward, or easier problems")


@contextmanager
def restored_generators():
    """Restore the states of all random number generators when the block ends."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
