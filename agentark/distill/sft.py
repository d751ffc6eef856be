"""Answer-only SFT, R-SFT and DA: one weighted cross-entropy on TRL's SFTTrainer.

    Eq. 1   L_SFT = -E[ sum_t log p(r_t | r_<t, x) + λ log p(y* | r, x) ]
    Eq. 2   L_Aug = -(1/k) sum_i sum_t log p(y_t | y_<t, x)

Both are sums of token log-probabilities with a weight per token: λ on the answer, 1/k on a problem with k traces.
Deviations: Eq. 1 as printed lacks brackets and would minimise log p(y*) (DECISIONS 14); Eq. 2 as printed conditions on
r_i instead of predicting it (15); the sum is divided by the batch's number of completion tokens, as in TRL.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from agentark import params, store
from agentark.engines import images
from agentark.models.load import load

from .batches import ByLength

LOGGED = 20  # the number of times that a training writes its loss, at least (if it has as many steps)


class WeightedCollator(DataCollatorForLanguageModeling):
    """TRL's collator, which also pads the weights: with 0, on the right, as TRL pads.

    For examples with pictures, `network` is the config of the student, which sees them.
    """

    network: Any = None

    def torch_call(self, examples):
        keys = [key for example in examples for key in example.pop("pictures", None) or []]
        batch = super().torch_call(examples)
        if keys:
            batch |= images.tensors(keys, self.network.vision_config)
            batch["mm_token_type_ids"] = (batch["input_ids"] == self.network.image_token_id).int()
        weights = torch.zeros(batch["input_ids"].shape)
        for row, example in enumerate(examples):
            weights[row, : len(example["weights"])] = torch.tensor(example["weights"])
        return {**batch, "weights": weights}


def log_probs(model, inputs: dict):
    """Return the log-probability of each next token, (B, T - 1) and 0 on the prompt, and the model's outputs.

    On a GPU by TRL's fused head, which never holds the logits of a whole batch.  That head scores the prompt as well,
    and all of it again in the backward pass, which a small network on a CPU would notice (benchmarks/speed/sft.py);
    there, the positions of the completions alone are scored.
    """
    if inputs["input_ids"].is_cuda:
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        return outputs.log_probs, outputs
    labels_BT = inputs["labels"][:, 1:]
    counted_BT = labels_BT != -100
    start = int(counted_BT.any(0).int().argmax())  # no completion of the batch begins before
    others = {name: value for name, value in inputs.items() if name != "labels"}
    outputs = model(**others, use_cache=False, logits_to_keep=labels_BT.shape[1] + 1 - start)
    logits_NV = outputs.logits[:, :-1][counted_BT[:, start:]]
    scored_N = -cross_entropy(logits_NV.float(), labels_BT[counted_BT], reduction="none")
    return scored_N.new_zeros(labels_BT.shape).masked_scatter(counted_BT, scored_N), outputs


class WeightedSFTTrainer(SFTTrainer):
    """SFTTrainer whose loss weighs each token, on batches of similar length."""

    def _set_signature_columns_if_needed(self):
        self._signature_columns = ["input_ids", "labels", "weights", "pictures"]

    def _get_train_sampler(self, train_dataset=None):
        rows = self.train_dataset if train_dataset is None else train_dataset
        batch = self._train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        steps = -(-len(rows) // batch)
        lengths = [len(ids) for ids in rows["input_ids"]]
        return ByLength(lengths, batch, self.args.data_seed or 0, lambda: self.state.global_step // steps)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weights_BT = inputs.pop("weights")
        log_probs_BT, outputs = log_probs(model, inputs)
        tokens = (inputs["labels"][:, 1:] != -100).sum() if num_items_in_batch is None else num_items_in_batch
        # Eq. 1 and 2: -sum_t w_t log p(y_t | y_<t, x); log_probs[:, t] belongs to token t + 1 and is 0 on the prompt.
        loss = -(weights_BT[:, 1:] * log_probs_BT).sum() / tokens
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # `tokens` counts all ranks, whose gradients are averaged
        return (loss, outputs) if return_outputs else loss


class LogLast(TrainerCallback):
    """Writes the loss after the last step, too."""

    def on_step_end(self, args, state, control, **_):
        control.should_log |= state.global_step >= state.max_steps


def steps_per_log(save_steps: int, steps: int) -> int:
    """Return how many steps have one loss in the log: as many as leave `LOGGED` of them, and a divisor of `save_steps`.

    The loss since the last entry is no part of a checkpoint, so that a resumed training would lose it otherwise.
    """
    return max(n for n in range(1, max(1, steps // LOGGED) + 1) if save_steps % n == 0)


def first_and_last(losses: list[float], section: str = "distill") -> dict:
    """Return the mean loss of the first and of the last tenth of a training, and a warning if it did not fall ("").

    section: that of the params which has its rate.
    """
    tenth = max(1, round(len(losses) / 10))
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    warning = ""
    if len(losses) > 1 and not last < first:
        warning = f"the loss did not fall (first tenth {first:.3f}, last tenth {last:.3f}): the student knew its data "
        warning += f"already, or {section}.learning_rate and {section}.epochs do not suit it; sweep them on dev"
    return {"first_loss": first, "last_loss": last, "warning": warning}


def common_settings(work: Path, config: params.Distill | params.Dpo | params.Rl, seed: int) -> dict:
    """Return the settings of TRL that all trainings of students have in common."""
    saved = dict(output_dir=str(work), save_steps=config.save_steps, save_total_limit=1, logging_steps=1)
    quiet = dict(report_to=[], disable_tqdm=True, dataloader_pin_memory=False, gradient_checkpointing=False)
    seeds = dict(seed=seed, data_seed=seed, learning_rate=config.learning_rate)
    return {**seeds, "use_cpu": not torch.cuda.is_available(), **saved, **quiet}


def training_cost(started: float, busy: float, model: torch.nn.Module) -> dict:
    """Return the seconds since `started`, the core-seconds since `busy`, the peak memory in MB, and what was trained.

    started: time.time(), which goes on while other work has the machine; busy: time.process_time(), which does not.
    """
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    spent = {"seconds": round(time.time() - started, 1), "core_seconds": round(time.process_time() - busy, 1)}
    return {**spent, "peak_memory_mb": store.peak_memory_mb(), "parameters_trained": trained}


def adapter(lora: params.Lora | None) -> LoraConfig | None:
    """Return the adapters that are trained in place of all weights, as peft has them."""
    if lora is None:
        return None
    size = dict(r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout)
    return LoraConfig(**size, target_modules=lora.target_modules, task_type="CAUSAL_LM")


def save(out: Path, trainer: Any, tokenizer: Any, log: dict, student: str) -> None:
    """Save a trained student, or its adapter on `student`, to the folder `out`, with its tokenizer and its log."""
    with store.folder(out) as part:
        trainer.save_model(str(part))
        if found := getattr(trainer.model, "peft_config", None):
            config = found["default"]  # only now: save_model would look up the base's name as a folder or on the hub
            config.base_model_name_or_path, config.inference_mode = student, True
            config.save_pretrained(str(part))
        tokenizer.save_pretrained(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")


def train(
    student: str,
    rows: list[dict],
    out: Path,
    about: dict,
    config: params.Distill,
    seed: int,
    callbacks: tuple[TrainerCallback, ...] = (),
) -> dict:
    """Fine-tune `student` on encoded rows (see `data.encode`) and save a checkpoint, or an adapter, to `out`.

    `about` describes the training. A killed training resumes from its last checkpoint under `out`.work. Returns the
    training log: loss (a mean over the steps since the entry before), first_loss and last_loss (means over a tenth of
    the training), warning (if the loss did not fall, else ""), steps, examples, epochs, tokens, completion_tokens,
    seconds, core_seconds, peak_memory_mb and parameters_trained. Raises StoreError if the checkpoints are those of
    another training, ModelError as `load` does.
    """
    work = out.with_name(out.name + ".work")
    if not (work / "about.journal").exists():  # the user deleted it in order to start over
        shutil.rmtree(work, ignore_errors=True)
    journal = store.Journal(work / "about.journal", about)  # refuses the checkpoints of another training
    started, busy = time.time(), time.process_time()
    model, tokenizer = load(student, "bfloat16" if torch.cuda.is_available() else "float32")
    steps = config.epochs * -(-len(rows) // config.batch)
    warmup = round(config.warmup_share * steps)
    schedule = dict(lr_scheduler_type="cosine", weight_decay=config.weight_decay, warmup_steps=warmup)
    data = dict(per_device_train_batch_size=config.batch, num_train_epochs=config.epochs, packing=False)
    settings = {**common_settings(work, config, seed), "logging_steps": steps_per_log(config.save_steps, steps)}
    args = SFTConfig(**settings, **schedule, **data, max_length=None, bf16=torch.cuda.is_available())
    collator = WeightedCollator(pad_token_id=tokenizer.pad_token_id)
    collator.network = model.config
    trainer = WeightedSFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=adapter(config.lora),
        data_collator=collator,
        callbacks=[LogLast(), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # it prints every entry; training.json has them
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work))
    losses = [{"step": e["step"], "loss": e["loss"]} for e in trainer.state.log_history if "loss" in e]
    log = {
        "loss": losses,
        **first_and_last([entry["loss"] for entry in losses]),
        "steps": trainer.state.global_step,
        "examples": len(rows),
        "epochs": config.epochs,
        "tokens": config.epochs * sum(len(row["input_ids"]) for row in rows),
        "completion_tokens": config.epochs * sum(label != -100 for row in rows for label in row["labels"]),
        **training_cost(started, busy, trainer.model),
    }
    save(out, trainer, tokenizer, log, student)
    journal.path.unlink()
    shutil.rmtree(work)
    return log
