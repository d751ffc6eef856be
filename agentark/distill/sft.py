"""Answer-only SFT, R-SFT and DA: one weighted cross-entropy on TRL's SFTTrainer.

    Eq. 1   L_SFT = -E[ sum_t log p(r_t | r_<t, x) + λ log p(y* | r, x) ]
    Eq. 2   L_Aug = -(1/k) sum_i sum_t log p(y_t | y_<t, x)

Both are sums of token log-probabilities with a weight per token: λ on the answer's, 1/k on every token of a problem with
k traces.  Deviations: Eq. 1 as printed lacks brackets and would minimise log p(y*) (DECISIONS 14); Eq. 2 as printed
conditions on r_i instead of predicting it (15); the sum is divided by the batch's number of completion tokens, TRL's scale.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from agentark import params, store
from agentark.models.load import load


class WeightedCollator(DataCollatorForLanguageModeling):
    """TRL's collator, with the weights padded alongside (with 0, on the right, as TRL pads)."""

    def torch_call(self, examples):
        batch = super().torch_call(examples)
        weights = torch.zeros(batch["input_ids"].shape)
        for row, example in enumerate(examples):
            weights[row, : len(example["weights"])] = torch.tensor(example["weights"])
        return {**batch, "weights": weights}


class WeightedSFTTrainer(SFTTrainer):
    """SFTTrainer whose loss weighs each token."""

    def _set_signature_columns_if_needed(self):
        self._signature_columns = ["input_ids", "labels", "weights"]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weights_BT = inputs.pop("weights")
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        tokens = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        # Eq. 1 and 2: -sum_t w_t log p(y_t | y_<t, x); log_probs[:, t] is that of token t + 1 and zero on the prompt.
        loss = -(weights_BT[:, 1:] * outputs.log_probs).sum() / tokens
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = (
                loss * self.accelerator.num_processes
            )  # `tokens` counts those of every rank, whose gradients are averaged
        return (loss, outputs) if return_outputs else loss


def train(
    student: str,
    rows: list[dict],
    out: Path,
    about: dict,
    told: params.Distill,
    seed: int,
    callbacks: tuple[TrainerCallback, ...] = (),
) -> dict:
    """Fine-tune `student` on encoded rows (see `data.encode`) and save a checkpoint, or an adapter, to `out`.

    A killed training goes on from its last checkpoint under `out`.work.  Returns the training log and its cost: loss per
    logging step, steps, tokens, completion_tokens, seconds, peak_memory_mb.
    """
    work = out.with_name(out.name + ".work")
    if not (work / "about.journal").exists():  # it was deleted to start anew: so be it
        shutil.rmtree(work, ignore_errors=True)
    journal = store.Journal(work / "about.journal", about)  # refuses checkpoints of another training
    started = time.time()
    model, tokenizer = load(student, "bfloat16" if torch.cuda.is_available() else "float32")
    args = SFTConfig(
        output_dir=str(work),
        seed=seed,
        data_seed=seed,
        per_device_train_batch_size=told.batch,
        num_train_epochs=told.epochs,
        learning_rate=told.learning_rate,
        lr_scheduler_type="cosine",
        weight_decay=told.weight_decay,
        warmup_steps=round(told.warmup_share * told.epochs * -(-len(rows) // told.batch)),
        max_length=None,
        packing=False,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        save_steps=told.save_steps,
        save_total_limit=1,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    lora = (
        LoraConfig(
            r=told.lora.r,
            lora_alpha=told.lora.alpha,
            lora_dropout=told.lora.dropout,
            target_modules=told.lora.target_modules,
            task_type="CAUSAL_LM",
        )
        if told.lora
        else None
    )
    trainer = WeightedSFTTrainer(
        model=model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        data_collator=WeightedCollator(pad_token_id=tokenizer.pad_token_id),
        callbacks=list(callbacks),
    )
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work))
    log = {
        "loss": [
            {"step": entry["step"], "loss": entry["loss"]} for entry in trainer.state.log_history if "loss" in entry
        ],
        "steps": trainer.state.global_step,
        "examples": len(rows),
        "epochs": told.epochs,
        "tokens": told.epochs * sum(len(row["input_ids"]) for row in rows),
        "completion_tokens": told.epochs * sum(label != -100 for row in rows for label in row["labels"]),
        "seconds": round(time.time() - started, 1),
        "peak_memory_mb": store.peak_memory_mb(),
        "parameters_trained": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }
    with store.folder(out) as part:
        trainer.save_model(str(part))
        if lora:  # not before: while it saves, PEFT takes this for a folder or a name of the hub, and looks there
            adapter = trainer.model.peft_config["default"]
            adapter.base_model_name_or_path, adapter.inference_mode = student, True
            adapter.save_pretrained(str(part))
        tokenizer.save_pretrained(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    journal.path.unlink()
    shutil.rmtree(work)
    return log
