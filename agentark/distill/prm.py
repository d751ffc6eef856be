"""Training a process reward model on the steps of a debate (3.3.3, B.1).

    Eq. 7   L_PRM(φ) = - sum_t log softmax( {σ(R_φ(r_t+)), σ(R_φ(r-)) for r- in N_t} / τ ) at r_t+

Positives, negatives and stages are those of DECISIONS 17 and 18: a step of a right trace against steps of other agents'
wrong traces (see `prm_data`). Deviations: the sum over t is a mean over the batch's positives, a scale that does not
affect AdamW; `ce` is binary cross-entropy on the steps' labels, which 3.3.3 mentions ("the probability that a reasoning
step is correct"); `ce+contrastive` weights the contrastive loss by 0.5, as the authors' code does. The learning rate
falls linearly to 0 in each stage. A killed training resumes from its last epoch and ends with the same weights.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from agentark import params, store, tasks
from agentark.graph.source import source_hash
from agentark.models.load import revision
from agentark.store.progress import print_progress

from . import prm_data, prm_model, step_ends
from .data import refuse_pictures
from .prm_data import Item
from .prm_model import PrmError, ProcessRewardModel

CONTRASTIVE_SHARE = 0.5  # in `ce+contrastive` (DECISIONS 17)
MAX_GRAD_NORM = 1.0  # ours: transformers' default


def contrastive(
    positive: torch.Tensor, negatives: torch.Tensor, used: torch.Tensor, score: str, tau: float
) -> torch.Tensor:
    """Return Eq. 7 for each positive step, (P,); 0 for a step without negatives.

    positive (P,), negatives (P, N): raw scores. used (P, N): the mask of the existing negatives. score: "sigmoid" is
    Eq. 7 as printed, whose bounded scores keep the loss above log(1 + N e^(-1/τ)); "logit" omits σ.
    """
    scores = torch.cat([positive.unsqueeze(1), negatives], dim=1)
    scores = (scores.sigmoid() if score == "sigmoid" else scores) / tau
    used = torch.cat([torch.ones_like(used[:, :1]), used], dim=1)
    return -scores.masked_fill(~used, -math.inf).log_softmax(-1)[:, 0]


def batch_loss(logits: torch.Tensor, items: Sequence[Item], config: params.Prm) -> torch.Tensor:
    """Return the loss of a batch; logits (B, S) are the raw scores of the steps of the items' traces, item by item."""
    starts = [0, *accumulate(len(item.rows) for item in items)]  # the first row of each item
    loss = logits.new_zeros(())
    if config.loss != "contrastive":
        by_row = [(start + n, row) for start, item in zip(starts, items) for n, row in enumerate(item.labels)]
        labelled = [(n, t, label) for n, row in by_row for t, label in enumerate(row) if label is not None]
        if labelled:  # with ce+contrastive, an item may have pairs only
            rows, steps, labels = map(list, zip(*labelled, strict=True))
            loss = binary_cross_entropy_with_logits(logits[rows, steps], logits.new_tensor(labels))
    pairs = [(start, pair) for start, item in zip(starts, items, strict=False) for pair in item.pairs]
    if config.loss != "ce" and pairs:
        positive = logits[[start + pair.positive[0] for start, pair in pairs], [pair.positive[1] for _, pair in pairs]]
        # padded with the positive itself, which `used` masks
        padded = [[*pair.negatives, *[pair.positive] * (config.negatives - len(pair.negatives))] for _, pair in pairs]
        rows = [[start + n for n, _ in row] for (start, _), row in zip(pairs, padded, strict=True)]
        negatives = logits[rows, [[t for _, t in row] for row in padded]]
        counts = torch.tensor([len(pair.negatives) for _, pair in pairs], device=logits.device)
        used = torch.arange(config.negatives, device=logits.device) < counts.unsqueeze(1)
        contrast = contrastive(positive, negatives, used, config.score, config.tau).mean()
        loss = contrast if config.loss == "contrastive" else loss + CONTRASTIVE_SHARE * contrast
    return loss


def trained_names(prm: ProcessRewardModel, stage: int) -> set[str]:
    """Return the names of the parameters that a stage trains (DECISIONS 18).

    Stage 1 trains the last layer, the final norm, the head and the weights of log-probabilities; stage 2 all, except an
    output layer of its own if the score does not depend on it.
    """
    names = {name for name, _ in prm.named_parameters()}
    if prm.card["features"] == "hidden":
        names = {name for name in names if not name.startswith("network.lm_head.")}
    if stage == 2:
        return names
    backbone = f"network.{prm.network.base_model_prefix}"
    last_layer = f"{backbone}.layers.{len(prm.backbone.layers) - 1}."
    return {name for name in names if name.startswith((last_layer, f"{backbone}.norm.", "head.", "log_prob_weights"))}


def train(
    base: str,
    items: list[Item],
    out: Path,
    about: dict,
    config: params.Prm,
    seed: int,
    progress: Callable[[str, int, int], None] = print_progress,
) -> dict:
    """Train a reward model on `items` (see `prm_data.items`) from the weights of `base` and save it to `out`.

    about: the description of the training. config.batch: the size of a batch in problems. progress: called after each
    epoch. A killed training resumes from its last checkpoint under `out`.work. Returns the training log: loss per step,
    steps, steps per stage, problems, traces, tokens, seconds, peak_memory_mb, parameters trained per stage. Raises
    PrmError if the training diverges, StoreError if the checkpoints are those of another training.
    """
    work = out.with_name(out.name + ".work")
    if not (work / "about.journal").exists():  # the user deleted it in order to start over
        shutil.rmtree(work, ignore_errors=True)
    journal = store.Journal(work / "about.journal", about)  # refuses the checkpoints of another training
    started = time.time()
    prm = prm_model.make(base, seed, **config.model_dump())
    epochs = [(1, n) for n in range(config.stage1_epochs)] + [(2, n) for n in range(config.stage2_epochs)]
    checkpoint = store.last_checkpoint(work)
    finished = int(Path(checkpoint).name.split("-")[1]) if checkpoint else 0
    trained: dict[int, int] = {}
    optimizer = None
    for number, (stage, epoch) in enumerate(epochs, 1):
        if epoch == 0:
            trained[stage] = _set_stage(prm, stage)
            optimizer = torch.optim.AdamW([p for p in prm.parameters() if p.requires_grad], weight_decay=0.0)
        if number <= finished:
            if number == finished and optimizer:
                weights = load_file(f"{checkpoint}/model.safetensors", device=str(prm.device))
                prm.load_state_dict(weights, strict=False)  # what the stage does not train is as it was
                optimizer.load_state_dict(torch.load(f"{checkpoint}/optimizer.pt", weights_only=True))
            continue
        losses = _epoch(prm, optimizer, items, config, seed, stage, epoch)
        journal.add(f"epoch {number}", [{"stage": stage, "loss": loss} for loss in losses])
        _checkpoint(prm, optimizer, work / f"checkpoint-{number}")
        progress(f"{out.name} stage {stage}", number, len(epochs))
    rows = [row for number in range(1, len(epochs) + 1) for row in journal.chunks[f"epoch {number}"]]
    log = {
        "loss": [{"step": n, **row} for n, row in enumerate(rows, 1)],
        "steps": len(rows),
        "steps_of_stage": {str(stage): sum(row["stage"] == stage for row in rows) for stage in trained},
        **{"problems": len(items), "traces": sum(len(item.rows) for item in items)},
        "tokens": len(epochs) * sum(len(row.ids) for item in items for row in item.rows),
        **{"seconds": round(time.time() - started, 1), "peak_memory_mb": store.peak_memory_mb()},
        "parameters_trained": {str(stage): n for stage, n in trained.items()},
    }
    with store.folder(out) as part:
        prm.save(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    journal.path.unlink()
    shutil.rmtree(work)
    return log


def _set_stage(prm: ProcessRewardModel, stage: int) -> int:
    """Freeze the parameters that the stage does not train; return the number of trained values."""
    trained = trained_names(prm, stage)
    for name, parameter in prm.named_parameters():
        parameter.requires_grad_(name in trained)
    return sum(p.numel() for p in prm.parameters() if p.requires_grad)


def _epoch(
    prm: ProcessRewardModel, optimizer, items: list[Item], config: params.Prm, seed: int, stage: int, epoch: int
) -> list[float]:
    """Train one epoch, in an order determined by seed, stage and epoch; return the loss of each step."""
    shuffled = list(items)
    Random(f"{seed} {stage} {epoch}").shuffle(shuffled)
    batches = [shuffled[start : start + config.batch] for start in range(0, len(shuffled), config.batch)]
    rate, epochs = config.stage1_learning_rate, config.stage1_epochs
    if stage == 2:
        rate, epochs = config.stage2_learning_rate, config.stage2_epochs
    losses = []
    prm.train()
    for n, batch in enumerate(batches):
        torch.manual_seed(store.chunk_seed(seed, stage, epoch, n))  # for backbones with dropout
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - (epoch * len(batches) + n) / (epochs * len(batches)))
        rows = [row for item in batch for row in item.rows]
        with torch.autocast("cuda", torch.bfloat16, enabled=prm.device.type == "cuda"):
            inputs = step_ends.collate(rows, prm.tokenizer.pad_token_id, prm.device)
            loss = batch_loss(prm(**inputs), batch, config)
        if not loss.isfinite():
            where = f"stage {stage}, epoch {epoch + 1}, step {n + 1}"
            raise PrmError(f"the loss of {where} is {loss.item()}: lower prm.stage{stage}_learning_rate")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in prm.parameters() if p.requires_grad], MAX_GRAD_NORM)
        optimizer.step()
        losses.append(round(loss.item(), 6))
    prm.eval()
    return losses


def _checkpoint(prm: ProcessRewardModel, optimizer, folder: Path) -> None:
    """Write a checkpoint, trainer_state.json last (see `store.last_checkpoint`), and remove the older ones.

    It has what the stage trains: before stage II, all else is as it was.
    """
    folder.mkdir(parents=True)
    trained = {name for name, parameter in prm.named_parameters() if parameter.requires_grad}
    weights = {name: value for name, value in prm.weights().items() if name in trained}
    save_file(weights, folder / "model.safetensors")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    (folder / "trainer_state.json").write_text("{}\n")
    for other in folder.parent.glob("checkpoint-*"):
        if other != folder:
            shutil.rmtree(other)


def run(
    out: Path,
    steps: pd.DataFrame,
    *,
    steps_id: str,
    base: str,
    task: str,
    split: str,
    n: int,
    seed: int,
    config: params.Prm,
    progress: Callable[[str, int, int], None] = print_progress,
) -> dict:
    """Train a reward model on the steps of the first `n` problems of a split and save it to `out`.

    steps: a table of `extract.steps.table`. steps_id: its identity, for the manifest. An existing model is kept.
    Returns the training log of `train` with `counts` of the traces, positives and negatives that were used, and of
    those left out by reason. Raises PrmError if there is nothing to learn from or the training diverges, ModelError if
    `base` cannot be loaded.
    """
    code = source_hash(f"{__name__}:run", *tasks.sources(task)["problems"])
    about: dict[str, Any] = {"stage": "prm", "source": code, "steps": steps_id, "prm": config.model_dump()}
    about |= {"base": base, "revision": revision(base), "task": task, "split": split, "n": n, "seed": seed}
    if store.is_done(out, about):
        return json.loads((out / "training.json").read_text())
    started = time.time()
    problems = tasks.problems(task, split, n)
    refuse_pictures(problems, "a reward model")
    prompts = {p.id: tasks.get(task).prompt(p) for p in problems}
    items, counts = prm_data.items(steps, prompts, prm_model.make(base, seed), config, seed)
    log = {**train(base, items, out, about, config, seed, progress), "counts": counts}
    (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(out, about, started, **counts)
    return log
