"""DPO: a student learns to prefer one trace of a problem to another, on TRL's DPOTrainer.

    L = -E[ log σ( β (log π_θ(y_w | x) / π_ref(y_w | x) - log π_θ(y_l | x) / π_ref(y_l | x)) ) ]

This is Eq. 7 of Rafailov et al. (2023), with y_w the preferred trace, and π_ref the student as it was before this
training.  It is no method of the paper: another use of the same debates, which have wrong traces as well as right ones.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import DPOConfig, DPOTrainer

from agentark import params, store, tasks
from agentark.cells import Cell
from agentark.graph.source import source_hash
from agentark.models.load import load, load_tokenizer, revision

from . import sft
from .artifacts import STUDENTS
from .data import DistillError, Example, Pair, encode, refuse_pictures
from .method import methods
from .step_ends import fingerprint

if TYPE_CHECKING:
    import pandas as pd

LOGGED = {"loss": "loss", "margin": "rewards/margins", "preferred": "rewards/accuracies", "log_prob": "logps/chosen"}


def run(
    out: Path,
    cell: Cell,
    traces: pd.DataFrame,
    traces_id: str,
    n: int,
    config: params.Dpo,
    lora: params.Lora | None = None,
    start: str = "",
) -> dict:
    """Train the cell's student on its method's pairs of the first `n` training problems and save it to `out`.

    The other arguments are those of `students.run`; lora: adapters, in place of all weights.  Returns the log of
    `train` with the counts of `pairs_of` and `dropped`, the number of pairs that are too long; a finished one is read.
    """
    method = methods()[cell.method]
    code = source_hash(f"{__name__}:run", *method.sources, *tasks.sources(cell.train)["problems"])
    network = start or cell.student
    about = {"stage": "distill", "source": code, "traces": traces_id, "revision": revision(network), "n": n}
    about |= {"dpo": config.model_dump(), "lora": lora and lora.model_dump(), **STUDENTS.of(cell).columns()}
    about |= {"start": f"{Path(start).name} {store.identity(Path(start))}"} if start else {}
    if store.is_done(out, about):
        return json.loads((out / "training.json").read_text())
    started = time.time()
    pairs, counts = pairs_of(cell, traces, n, config.pairs)
    rows, dropped = encode_all(pairs, load_tokenizer(network), config)
    log = {**train(network, rows, out, about, config, cell.seed, lora), **counts, "dropped": dropped}
    (out / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(out, about, started, dropped=dropped, **counts)
    return log


def pairs_of(cell: Cell, traces: pd.DataFrame, n: int, most: int) -> tuple[list[Pair], dict[str, int]]:
    """Return the pairs of the cell's method, at most `most` of a problem, and what of the problems has none.

    The counts: problems, those of the first `n` that extraction kept; without_right, without_wrong: of these, those
    whose traces, of any round, are all wrong or all right, of the traces that were not cut off; apart: those with both,
    but never in one round.  Raises DistillError if there is no pair, or if a problem has a picture.
    """
    kept = set(traces.problem)
    problems = [p for p in tasks.problems(cell.train, "train", n) if p.id in kept]
    refuse_pictures(problems, f"the method {cell.method}")
    made = cast(Any, methods()[cell.method].pairs)(tasks.get(cell.train), problems, traces, most, cell.seed)
    whole = traces[(traces.finish != "length") & traces.problem.isin([p.id for p in problems])]
    right, paired = whole.groupby("problem").correct.mean(), {pair.problem for pair in made}
    counts = {"problems": len(problems), "without_right": len(problems) - int((right > 0).sum())}
    counts |= {"without_wrong": int((right == 1).sum())}
    counts["apart"] = len(problems) - counts["without_right"] - counts["without_wrong"] - len(paired)
    if not made:
        found = "{without_right} have no right trace, {without_wrong} no wrong one, {apart} none of one round"
        why = found.format(**counts)
        advice = "debate more problems, at a higher temperature, or take a method that imitates (rsft, da)"
        raise DistillError(
            f"there is no pair to learn from for {cell.method}: of {len(problems)} problems {why}: {advice}"
        )
    return made, counts


def encode_all(pairs: list[Pair], tokenizer, config: params.Dpo) -> tuple[list[dict], int]:
    """Return the token ids of each pair, as TRL has them, and how many pairs are dropped as too long (none is cut).

    Raises DistillError if all or more than `max_dropped_share` of them would be dropped.
    """
    rows = []
    for pair in pairs:
        both = [
            encode(Example(pair.problem, pair.prompt, text), tokenizer, 1.0) for text in (pair.preferred, pair.other)
        ]
        cut = [row["labels"].count(-100) for row in both]
        ids = [row["input_ids"][start:] for row, start in zip(both, cut, strict=True)]
        rows.append({"prompt_ids": both[0]["input_ids"][: cut[0]], "chosen_ids": ids[0], "rejected_ids": ids[1]})
    lengths = [len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])) for row in rows]
    kept = [row for row, length in zip(rows, lengths, strict=True) if length <= config.max_length]
    dropped = len(rows) - len(kept)
    if not kept or dropped > config.max_dropped_share * len(rows):
        long = f"{dropped} of {len(rows)} pairs have a trace longer than dpo.max_length = {config.max_length} tokens"
        advice = f"raise it, or allow more by dpo.max_dropped_share = {config.max_dropped_share}"
        raise DistillError(f"{long} (the longest has {max(lengths)}); {advice}")
    return kept, dropped


class PairTrainer(DPOTrainer):
    """DPOTrainer on rows of token ids: TRL's own preparation cuts what is too long."""

    def _prepare_dataset(self, dataset, *_):
        return dataset


def train(
    student: str,
    rows: list[dict],
    out: Path,
    about: dict,
    config: params.Dpo,
    seed: int,
    lora: params.Lora | None = None,
    reference: str = "",
    callbacks: tuple[TrainerCallback, ...] = (),
) -> dict:
    """Train `student` on encoded pairs (see `encode_all`) and save a checkpoint, or an adapter, to `out`.

    reference: the network π_ref; by default the student as it is.  A killed training resumes from its last checkpoint
    under `out`.work and ends with the same weights.  Returns the training log: that of `sft.train`, where each entry of
    `loss` has besides margin (the mean of β times the difference in the logarithm), preferred (the share of the pairs
    for which it is positive) and log_prob (the mean log-probability of a preferred trace); examples are pairs.

    Raises DistillError if the reference has other tokens than the student, StoreError if the checkpoints are those of
    another training, ModelError as `load` does.
    """
    if reference and fingerprint(load_tokenizer(student)) != fingerprint(load_tokenizer(reference)):
        differ = f"the student {student} and its reference {reference} have different tokens, so that the probabilities"
        raise DistillError(f"{differ} of a trace cannot be compared: take a reference of the student's family")
    work = out.with_name(out.name + ".work")
    if not (work / "about.journal").exists():  # the user deleted it in order to start over
        shutil.rmtree(work, ignore_errors=True)
    journal = store.Journal(work / "about.journal", about)  # refuses the checkpoints of another training
    started, busy, gpu = time.time(), time.process_time(), torch.cuda.is_available()
    dtype = "bfloat16" if gpu else "float32"
    model, tokenizer = load(student, dtype)
    by_itself = lora and not reference  # an adapter that is switched off is the student as it was
    ordered = in_order(rows, config.epochs, seed)
    steps = math.ceil(len(ordered) / config.batch)
    schedule = dict(lr_scheduler_type="cosine", warmup_steps=round(config.warmup_share * steps), num_train_epochs=1)
    settings = {**sft.common_settings(work, config, seed), "logging_steps": sft.steps_per_log(config.save_steps, steps)}
    data = dict(per_device_train_batch_size=config.batch, train_sampling_strategy="sequential", max_length=None)
    trainer = PairTrainer(
        model=model,
        ref_model=None if by_itself else load(reference or student, dtype)[0],
        args=DPOConfig(**settings, **schedule, **data, beta=config.beta, bf16=gpu),
        train_dataset=Dataset.from_list(ordered),
        processing_class=tokenizer,
        peft_config=sft.adapter(lora),
        callbacks=[sft.LogLast(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every entry; training.json has them
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work))
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    losses = [{"step": e["step"], **{name: e[key] for name, key in LOGGED.items()}} for e in entries]
    lengths = [(len(row["prompt_ids"]), len(row["chosen_ids"]) + len(row["rejected_ids"])) for row in ordered]
    log = {
        "loss": losses,
        **sft.first_and_last([entry["loss"] for entry in losses], "dpo"),
        "steps": trainer.state.global_step,
        "examples": len(rows),
        "epochs": config.epochs,
        "tokens": sum(2 * prompt + completions for prompt, completions in lengths),
        "completion_tokens": sum(completions for _, completions in lengths),
        **sft.training_cost(started, busy, trainer.model),
    }
    sft.save(out, trainer, tokenizer, log, student)
    journal.path.unlink()
    shutil.rmtree(work)
    return log


@torch.no_grad()
def log_probs_of(network: str, row: dict) -> dict[str, float]:
    """Return the log-probabilities that a network gives to both traces of an encoded pair: preferred and other."""
    model, found = load(network)[0], {}
    for name, ids in (("preferred", row["chosen_ids"]), ("other", row["rejected_ids"])):
        whole = torch.tensor(row["prompt_ids"] + ids, device=model.device)
        each = model(whole[None]).logits[0, :-1].float().log_softmax(-1).gather(1, whole[1:, None])[:, 0]
        found[name] = each[-len(ids) :].sum().item()
    return found


def in_order(rows: list[dict], epochs: int, seed: int) -> list[dict]:
    """Return the rows of the whole training: all in seeded order, then again in another; so no shuffle is resumed."""
    rng = random.Random(seed)
    return [row for _ in range(epochs) for row in rng.sample(rows, len(rows))]
