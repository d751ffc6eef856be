"""Training on a policy's own samples: what GRPO, PPO and on-policy distillation have in common.

A killed training resumes from its last checkpoint under `folder`.work and ends with the same weights.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback

from agentark import params, store
from agentark.engines.attention import grouped_sdpa
from agentark.models.load import load, resolve, revision

from .data import DistillError
from .rl_log import DevAccuracy, Guard, summary
from .sft import common_settings, training_cost

MakeTrainer = Callable[..., Trainer]  # (args given by name: model, processing_class, train_dataset, callbacks, work)


def training_rows(prompts: dict[str, str], count: int, seed: int) -> list[dict]:
    """Return `count` rows of prompt (a chat) and problem id: all prompts in seeded order, then again in another order.

    These are the prompts of the whole training, so that a resumed training repeats no shuffle.
    """
    rng = random.Random(seed)
    rows: list[dict] = []
    while len(rows) < count:
        problems = list(prompts)
        rng.shuffle(problems)
        rows += [{"prompt": [{"role": "user", "content": prompts[p]}], "problem": p} for p in problems]
    return rows[:count]


def load_policy(policy: str, work: Path):
    """Return the initial policy and its tokenizer."""
    # TRL reloads π_ref from the model's folder: an adapter is merged and saved under `work` first.
    if (Path(resolve(policy)) / "adapter_config.json").exists():
        model, tokenizer = load(policy)
        model.save_pretrained(work / "initial")
        tokenizer.save_pretrained(work / "initial")
        policy = str(work / "initial")
    model, tokenizer = load(policy)
    model.set_attn_implementation(grouped_sdpa.__name__)  # it does not copy keys and values for each query head
    return model, tokenizer


def check_prompts(prompts: dict[str, str], tokenizer, context: int, config: params.Rl) -> None:
    """Raise DistillError if there are too few prompts for one step, or if one leaves no room for its completions."""
    if len(prompts) < config.prompts_per_step:
        few = f"there are {len(prompts)} prompts, and rl.prompts_per_step = {config.prompts_per_step}"
        raise DistillError(f"{few}: give more problems, or fewer prompts per step")
    for problem, prompt in prompts.items():
        chat = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        if len(ids) + config.max_new_tokens > context:
            length = f"the prompt of problem {problem} has {len(ids)} tokens; with rl.max_new_tokens = "
            excess = f"{length}{config.max_new_tokens} that is more than the context of {context}"
            raise DistillError(f"{excess}: allow shorter completions, or take another policy")


def settings(config: params.Rl, work: Path, seed: int, batch: int) -> dict[str, Any]:
    """Return the settings of TRL's on-policy trainers: `batch` completions and one update a step."""
    schedule = dict(max_steps=config.steps, lr_scheduler_type=config.schedule, warmup_steps=config.warmup_steps)
    updates = dict(per_device_train_batch_size=batch, gradient_accumulation_steps=1, bf16=False)
    sampling = dict(temperature=config.temperature, top_p=1.0, top_k=0, max_completion_length=config.max_new_tokens)
    order = dict(disable_dropout=True, shuffle_dataset=False)
    return {**common_settings(work, config, seed), **schedule, **updates, **sampling, **order}


def run(
    folder: Path,
    about: dict,
    *,
    policy: str,
    prompts: dict[str, str],
    copies: int,
    config: params.Rl,
    seed: int,
    make_trainer: MakeTrainer,
    evaluate_dev: Callable[[Any, Any], float] | None = None,
    callbacks: tuple[TrainerCallback, ...] = (),
) -> dict:
    """Train `policy` by a trainer of TRL and save it to `folder`; an existing result is read.

    about: the description of the training.  prompts: the user's message by problem id.  copies: how many neighbouring
    rows of the dataset have the same prompt.  make_trainer: called with model, processing_class, train_dataset,
    callbacks and work (its folder).  Returns training.json: see `rl_log.summary`; if the completions grew too long
    (`rl_log.Guard`), its `stopped` has a sentence, and what is saved is the last checkpoint before that.

    Raises DistillError if the prompts do not fit or the reward is constant, StoreError if the checkpoints are those of
    another training, ModelError as `load` does.
    """
    given = {"policy": policy, "rl": config.model_dump(), "seed": seed, "prompts": store.digest(prompts)}
    about = {"stage": "rl", "revision": revision(policy), **given, **about}
    if store.is_done(folder, about):
        return json.loads((folder / "training.json").read_text())
    started, busy = time.time(), time.process_time()
    work = folder.with_name(folder.name + ".work")
    if not (work / "about.journal").exists():  # the user deleted it in order to start over
        shutil.rmtree(work, ignore_errors=True)
    model, tokenizer = load_policy(policy, work)
    check_prompts(prompts, tokenizer, model.config.get_text_config().max_position_embeddings, config)
    store.Journal(work / "about.journal", about)  # refuses the checkpoints of another training
    rows = training_rows(prompts, config.steps * config.prompts_per_step, seed)
    measured = [DevAccuracy(evaluate_dev, config.dev_every)] if evaluate_dev else []
    trainer = make_trainer(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([row for row in rows for _ in range(copies)]),
        callbacks=[*measured, Guard(config.max_growth), *callbacks],
        work=work,
    )
    trainer.remove_callback(PrinterCallback)  # it prints forty figures per step; training.json has the relevant ones
    trainer.train(resume_from_checkpoint=store.last_checkpoint(work))
    log = {**summary(trainer.state.log_history, config), **training_cost(started, busy, trainer.model)}
    if stopped := next((entry for entry in trainer.state.log_history if "grown_to" in entry), None):
        log["stopped"] = _restore(trainer, policy, work, stopped)
        print(log["stopped"], file=sys.stderr)
    with store.folder(folder) as part:
        trainer.save_model(str(part))
        tokenizer.save_pretrained(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(folder, about, started)
    shutil.rmtree(work)
    return log


def _restore(trainer, policy: str, work: Path, stopped: dict) -> str:
    """Give a trainer's model the weights of the last checkpoint before the step at which it was stopped, and say so."""
    step = stopped["step"]
    before = [n for folder in work.glob("checkpoint-*") if (n := int(folder.name.rpartition("-")[2])) < step]
    if before:
        trainer._load_from_checkpoint(str(work / f"checkpoint-{max(before)}"))  # which holds PPO's critic, too
    else:
        with torch.no_grad():
            for name, weights in load(policy)[0].named_parameters():
                trainer.model.get_parameter(name).copy_(weights)
    grown = f"the completions became {stopped['grown_to']} times as long as in the first steps (rl.max_growth)"
    return f"stopped at step {step}: {grown}; kept is {f'step {max(before)}' if before else 'the initial policy'}"
