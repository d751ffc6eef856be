"""Training a process reward model on the steps of a debate (3.3.3, B.1).

    Eq. 7   L_PRM(φ) = - sum_t log softmax( {σ(R_φ(r_t+)), σ(R_φ(r-)) for r- in N_t} / τ ) at r_t+

Positives, negatives and stages are those of DECISIONS 17 and 18, in `prm_data`'s words: a step of a right trace against steps of
other agents' wrong ones.  Deviations: the sum over t is a mean over the batch's positives (a scale that AdamW does not see);
`ce` is binary cross-entropy on the steps' labels, of which 3.3.3 speaks ("the probability that a reasoning step is correct");
`ce+contrastive` weighs the latter 0.5, as the authors' code does.  The learning rate falls linearly to 0 in each stage.

A checkpoint is written after each epoch; a killed training goes on from there and ends with the same weights.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from agentark import params, store, tasks
from agentark.mas.stage import say
from agentark.models.load import revision
from agentark.source import source_hash

from . import prm_data, prm_model
from .prm_data import Item
from .prm_model import PrmError, ProcessRewardModel

CONTRASTIVE_SHARE = 0.5  # in `ce+contrastive` (DECISIONS 17)
MAX_GRAD_NORM = 1.0  # ours: transformers' default


def contrastive(
    positive: torch.Tensor, negatives: torch.Tensor, used: torch.Tensor, score: str, tau: float
) -> torch.Tensor:
    """Eq. 7 for each positive step: (P,).

    positive (P,), negatives (P, N): raw scores; used (P, N): which negatives there are.  `score`: "sigmoid" is Eq. 7 as printed, whose
    bounded scores keep the loss above log(1 + N e^(-1/τ)); "logit" leaves σ away.  Without negatives it is 0.
    """
    scores = torch.cat([positive.unsqueeze(1), negatives], dim=1)
    scores = (scores.sigmoid() if score == "sigmoid" else scores) / tau
    there = torch.cat([torch.ones_like(used[:, :1]), used], dim=1)
    return -scores.masked_fill(~there, -math.inf).log_softmax(-1)[:, 0]


def batch_loss(logits: torch.Tensor, items: Sequence[Item], told: params.Prm) -> torch.Tensor:
    """The loss of a batch: logits (B, S) are the raw scores of the steps of the items' traces, one item after the other."""
    first, at = [], 0
    for item in items:
        first.append(at)
        at += len(item.rows)
    loss = logits.new_zeros(())
    if told.loss != "contrastive":  # an item has labels, or (with ce+contrastive) pairs
        known = [
            (start + n, t, label)
            for start, item in zip(first, items)
            for n, labels in enumerate(item.labels)
            for t, label in enumerate(labels)
            if label is not None
        ]
        if known:
            rows, steps, labels = map(list, zip(*known))
            loss = binary_cross_entropy_with_logits(
                logits[rows, steps], torch.tensor(labels, device=logits.device, dtype=logits.dtype)
            )
    pairs = [(start, pair) for start, item in zip(first, items) for pair in item.pairs]
    if told.loss != "ce" and pairs:
        positive = logits[[start + pair.positive[0] for start, pair in pairs], [pair.positive[1] for _, pair in pairs]]
        # pad with the positive itself, which `used` then hides
        padded = [[*pair.negatives, *[pair.positive] * (told.negatives - len(pair.negatives))] for _, pair in pairs]
        rows = [[start + n for n, _ in row] for (start, _), row in zip(pairs, padded)]
        negatives = logits[rows, [[t for _, t in row] for row in padded]]
        used = torch.tensor(
            [[n < len(pair.negatives) for n in range(told.negatives)] for _, pair in pairs], device=logits.device
        )
        part = contrastive(positive, negatives, used, told.score, told.tau).mean()
        loss = part if told.loss == "contrastive" else loss + CONTRASTIVE_SHARE * part
    return loss


def stage_one(prm: ProcessRewardModel) -> list[str]:
    """The parameters that stage I trains: the last layer's, the final norm's and the head's (DECISIONS 18)."""
    last = f"backbone.layers.{len(prm.backbone.layers) - 1}."
    return [name for name, _ in prm.named_parameters() if name.startswith((last, "backbone.norm.", "head."))]


def train(
    base: str,
    items: list[Item],
    out: Path,
    about: dict,
    told: params.Prm,
    seed: int,
    progress: Callable[[str, int, int], None] = say,
) -> dict:
    """Train a reward model on `items` (see `prm_data.items`) from the weights of `base`, and save it to the folder `out`.

    `told.batch` is in problems.  A killed training goes on from its last checkpoint under `out`.work; `progress` hears of each epoch.
    Returns the training log: loss per step, steps, steps a stage, traces, tokens, seconds, peak_memory_mb, parameters trained a stage.
    """
    work = out.with_name(out.name + ".work")
    if not (work / "about.journal").exists():  # it was deleted to start anew: so be it
        shutil.rmtree(work, ignore_errors=True)
    journal = store.Journal(work / "about.journal", about)  # refuses checkpoints of another training
    started = time.time()
    prm = prm_model.make(base, seed, **told.model_dump())
    epochs = [(1, n) for n in range(told.stage1_epochs)] + [(2, n) for n in range(told.stage2_epochs)]
    last = store.last_checkpoint(work)
    done = int(Path(last).name.split("-")[1]) if last else 0
    trained: dict[int, int] = {}
    optimizer = None
    for number, (stage, epoch) in enumerate(epochs, 1):
        if epoch == 0:
            trained[stage] = _set_stage(prm, stage)
            optimizer = torch.optim.AdamW([p for p in prm.parameters() if p.requires_grad], weight_decay=0.0)
        if number <= done:
            if number == done:
                prm.load_state_dict(load_file(f"{last}/model.safetensors", device=str(prm.device)))
                optimizer.load_state_dict(torch.load(f"{last}/optimizer.pt", weights_only=True))
            continue
        losses = _epoch(prm, optimizer, items, told, seed, stage, epoch)
        journal.add(f"epoch {number}", [{"stage": stage, "loss": loss} for loss in losses])
        _checkpoint(prm, optimizer, work / f"checkpoint-{number}")
        progress(f"{out.name} stage {stage}", number, len(epochs))
    rows = [row for number in range(1, len(epochs) + 1) for row in journal.chunks[f"epoch {number}"]]
    log = {
        "loss": [{"step": n, **row} for n, row in enumerate(rows, 1)],
        "steps": len(rows),
        "steps_of_stage": {str(stage): sum(row["stage"] == stage for row in rows) for stage in trained},
        "problems": len(items),
        "traces": sum(len(item.rows) for item in items),
        "tokens": len(epochs) * sum(len(ids) for item in items for ids, _ in item.rows),
        "seconds": round(time.time() - started, 1),
        "peak_memory_mb": store.peak_memory_mb(),
        "parameters_trained": {str(stage): n for stage, n in trained.items()},
    }
    with store.folder(out) as part:
        prm.save(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    journal.path.unlink()
    shutil.rmtree(work)
    return log


def _set_stage(prm: ProcessRewardModel, stage: int) -> int:
    """Freeze what the stage leaves alone.  Returns how many numbers it trains."""
    mine = set(stage_one(prm)) if stage == 1 else None
    for name, parameter in prm.named_parameters():
        parameter.requires_grad_(mine is None or name in mine)
    return sum(p.numel() for p in prm.parameters() if p.requires_grad)


def _epoch(
    prm: ProcessRewardModel, optimizer, items: list[Item], told: params.Prm, seed: int, stage: int, epoch: int
) -> list[float]:
    """Go once through the items, in an order that seed, stage and epoch decide.  Returns the loss of each step."""
    order = list(items)
    Random(f"{seed} {stage} {epoch}").shuffle(order)
    batches = [order[at : at + told.batch] for at in range(0, len(order), told.batch)]
    rate, epochs = (
        (told.stage1_learning_rate, told.stage1_epochs)
        if stage == 1
        else (told.stage2_learning_rate, told.stage2_epochs)
    )
    losses = []
    prm.train()
    for n, batch in enumerate(batches):
        torch.manual_seed(store.chunk_seed(seed, stage, epoch, n))  # for backbones with dropout
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - (epoch * len(batches) + n) / (epochs * len(batches)))
        with torch.autocast("cuda", torch.bfloat16, enabled=prm.device.type == "cuda"):
            inputs = prm_model.collate(
                [row for item in batch for row in item.rows], prm.tokenizer.pad_token_id, prm.device
            )
            loss = batch_loss(prm(*inputs), batch, told)
        if not loss.isfinite():
            raise PrmError(
                f"the loss of stage {stage}, epoch {epoch + 1}, step {n + 1} is {loss.item()}: "
                f"lower prm.stage{stage}_learning_rate"
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in prm.parameters() if p.requires_grad], MAX_GRAD_NORM)
        optimizer.step()
        losses.append(round(loss.item(), 6))
    prm.eval()
    return losses


def _checkpoint(prm: ProcessRewardModel, optimizer, folder: Path) -> None:
    """Write weights and optimizer; trainer_state.json comes last (`store.last_checkpoint`).  Earlier checkpoints are then removed."""
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in prm.state_dict().items()}, folder / "model.safetensors")
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
    told: params.Prm,
    progress: Callable[[str, int, int], None] = say,
) -> dict:
    """The stage: a table of steps (`extract.steps.table`) of the first `n` problems of a split goes in, a reward model comes out in `out`.

    `steps_id` stands for the table in the manifest.  Returns the training log with `counts` (what was used, and what was left out
    and why).  What is there already is read.
    """
    about = {
        "stage": "prm",
        "source": source_hash(__name__, *tasks.modules(task)),
        "steps": steps_id,
        "base": base,
        "revision": revision(base),
        "task": task,
        "split": split,
        "n": n,
        "seed": seed,
        "prm": told.model_dump(),
    }
    if store.is_done(out, about):
        return json.loads((out / "training.json").read_text())
    started = time.time()
    prompts = {p.id: tasks.get(task).prompt(p) for p in tasks.problems(task, split, n)}
    items, counts = prm_data.items(steps, prompts, prm_model.make(base, seed), told, seed)
    log = {**train(base, items, out, about, told, seed, progress), "counts": counts}
    (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(out, about, started, **counts)
    return log
