"""GRPO on a process reward (3.3.3): TRL's GRPOTrainer, configured to the letter of Eq. 3-5.

    Eq. 3   J = E[ 1/G sum_i L_i - β D_KL(π_θ || π_ref) ],  x from the prompts, o_1 … o_G from π_old
    Eq. 4   L_i = min(ρ_i A_i, clip(ρ_i, 1-ε, 1+ε) A_i)
    Eq. 5   A_i = (R_φ(o_i) - μ_R) / σ_R

What the paper leaves open, and what we do:

- ρ_i is printed per sequence, π_θ(o_i|x) / π_old(o_i|x); DeepSeekMath's is per token, its mean over a completion's tokens
  stands for L_i, and that is the default (DECISIONS 24).  `ratio: sequence` is the printed one, the product over all
  tokens; TRL's own "sequence" is GSPO's geometric mean, which is neither, and is not used.
- D_KL is DeepSeekMath's estimator on the sampled tokens, r - log r - 1 with r = π_ref / π_θ: the mean over a completion's
  tokens beside the token ratio, their sum (the divergence of whole outputs) beside the sequence ratio.
- σ_R is the sample deviation of the group, plus `advantage_epsilon` (TRL has 1e-4 in its code: with rewards that differ by
  1e-3 that matters).  Where all rewards of a group are equal, the advantage is 0 (DECISIONS 23), counted as `zero_variance`;
  a completion without a reward is left out of its group and has advantage 0.
- π is the distribution that is sampled from, at `temperature`: log-probabilities are those of logits / temperature.
- One update a batch (π_old is the policy itself: ratios are 1 where the gradient is taken, and their log-probabilities are
  not computed twice), Adam at a constant rate, gradients clipped at norm 1 (TRL's default), no weight decay, no dropout.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from agentark import params, store
from agentark.engines.transformers_engine import grouped_sdpa
from agentark.models.load import load, resolve, revision
from agentark.source import source_hash

from .data import DistillError
from .rewards import RewardFunction, Score

# TRL prints prompt, completion and columns of the first trace without a reward of every step; they are counted instead.
logging.getLogger("trl.trainer.grpo_trainer").addFilter(lambda record: "returned None" not in record.getMessage())


def group_advantages(rewards_N: torch.Tensor, generations: int, epsilon: float) -> torch.Tensor:
    """Eq. 5: (R - μ_R) / (σ_R + epsilon) within each group of `generations` neighbours, shape (N,), single precision.

    NaN is "no reward": it is left out of μ_R and σ_R (the sample deviation) and gets 0, as do groups without variance.
    """
    rewards_QG = rewards_N.double().view(-1, generations)
    known_QG = ~rewards_QG.isnan()
    centred_QG = torch.where(known_QG, rewards_QG - rewards_QG.nanmean(1, keepdim=True), 0.0)
    sigma_Q1 = (centred_QG.square().sum(1, keepdim=True) / (known_QG.sum(1, keepdim=True) - 1).clamp(min=1)).sqrt()
    highest = rewards_QG.masked_fill(~known_QG, -torch.inf).amax(1, keepdim=True)
    lowest = rewards_QG.masked_fill(~known_QG, torch.inf).amin(1, keepdim=True)
    # by comparison, not by σ_R = 0: the mean of equal numbers may miss them by a rounding, and rounding / tiny is no advantage
    return torch.where(known_QG & (highest > lowest), centred_QG / (sigma_Q1 + epsilon), 0.0).float().view(-1)


def k3(logps_BT: torch.Tensor, ref_logps_BT: torch.Tensor) -> torch.Tensor:
    """D_KL(π_θ || π_ref) as DeepSeekMath estimates it at each sampled token: r - log r - 1, r = π_ref / π_θ; nats."""
    log_r = ref_logps_BT - logps_BT
    return log_r.exp() - log_r - 1


def sequence_loss(
    logps_BT, old_logps_BT, ref_logps_BT, advantages_B, mask_BT, beta: float, epsilon: float
) -> torch.Tensor:
    """-J of Eq. 3-4 as printed: one ratio an output, the product of its tokens'.  `ref_logps_BT` may be None where beta is 0."""
    ratio_B = ((logps_BT - old_logps_BT) * mask_BT).sum(1).exp()
    gain_B = torch.min(ratio_B * advantages_B, ratio_B.clamp(1 - epsilon, 1 + epsilon) * advantages_B)
    kl_B = (k3(logps_BT, ref_logps_BT) * mask_BT).sum(1) if beta else 0.0
    return -(gain_B - beta * kl_B).mean()


class GrpoTrainer(GRPOTrainer):
    """TRL's trainer with Eq. 5's denominator and Eq. 4's printed ratio as parameters.  One process."""

    def __init__(self, *args, told: params.Rl, **kwargs):
        self.told = told
        super().__init__(*args, **kwargs)

    @torch.no_grad()
    def _calculate_rewards(self, *args, **kwargs):
        rewards = super()._calculate_rewards(*args, **kwargs)
        self.rewards_N = rewards[:, 0]
        return rewards

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        return {
            **batch,
            "advantages": group_advantages(self.rewards_N, self.num_generations, self.told.advantage_epsilon),
        }

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=False, **_
    ):
        """TRL's (B, T) log-probabilities and entropies of text, less what it computes for nothing where there is no Triton.

        There its fused head scores the positions of the prompt, too: the backbone's output is cut to the T + 1 last positions.
        """
        keep = logits_to_keep + 1
        cut = model.base_model.register_forward_hook(
            lambda _module, _inputs, out: type(out)(last_hidden_state=out.last_hidden_state[:, -keep:])
        )
        try:
            labels_BT = input_ids.masked_fill(attention_mask == 0, -100)[:, -keep:]
            out = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels_BT, fused_lm_head=True)
        finally:
            cut.remove()
        return out.log_probs, out.entropy if compute_entropy else None, None

    def _compute_loss(self, model, inputs):
        if self.told.ratio == "token":
            return super()._compute_loss(model, inputs)
        mask_BT = inputs["completion_mask"]
        ids, mask = (torch.cat([inputs[f"prompt_{k}"], inputs[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
        logps_BT, entropy_BT, _ = self._get_per_token_logps_and_entropies(model, ids, mask, mask_BT.shape[1], True)
        ref_logps_BT = inputs.get("ref_per_token_logps")
        metrics = self._metrics["train" if model.training else "eval"]
        metrics["entropy"].append(((entropy_BT * mask_BT).sum() / mask_BT.sum()).item())
        if self.beta:
            metrics["kl"].append(((k3(logps_BT.detach(), ref_logps_BT) * mask_BT).sum() / mask_BT.sum()).item())
        old_logps_BT = inputs.get("old_per_token_logps", logps_BT.detach())
        return sequence_loss(
            logps_BT, old_logps_BT, ref_logps_BT, inputs["advantages"], mask_BT, self.beta, self.told.epsilon
        )


class TrueAccuracy(TrainerCallback):
    """Measures the policy on dev before the first step, every `dev_every` steps and after the last one.

    The measurement leaves no trace in the training: the dice stand as before.
    """

    def __init__(self, evaluate_dev: Callable[[Any, Any], float], every: int):
        self.evaluate_dev, self.every = evaluate_dev, every

    def on_train_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self._measure(state, **kwargs)

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._measure(state, **kwargs)

    def _measure(self, state, model, processing_class, **_):
        with same_dice(), torch.no_grad():
            model.eval()
            accuracy = float(self.evaluate_dev(model, processing_class))
            model.train()
        print(f"step {state.global_step} of {state.max_steps}: {accuracy:.3f} right on dev", file=sys.stderr)
        state.log_history.append({"step": state.global_step, "dev_accuracy": accuracy})  # so it is in the checkpoint


@contextmanager
def same_dice():
    """Put the random number generators back to where they were."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)


def order(prompts: dict[str, str], count: int, seed: int) -> list[dict]:
    """The data set: `count` rows of prompt (a chat) and problem id, all prompts in seeded order, then again in another.

    Every row of the training stands in it once, in its order, so that a resumed training need not repeat a shuffle.
    """
    dice = random.Random(seed)
    rows: list[dict] = []
    while len(rows) < count:
        problems = list(prompts)
        dice.shuffle(problems)
        rows += [{"prompt": [{"role": "user", "content": prompts[p]}], "problem": p} for p in problems]
    return rows[:count]


def config(told: params.Rl, work: Path, seed: int) -> GRPOConfig:
    """TRL's settings for Eq. 3-5; each of its defaults that departs from them is set back here."""
    return GRPOConfig(
        output_dir=str(work),
        seed=seed,
        data_seed=seed,
        max_steps=told.steps,
        learning_rate=told.learning_rate,
        lr_scheduler_type="constant",
        disable_dropout=True,
        shuffle_dataset=False,
        # one generate call and one update a step
        per_device_train_batch_size=told.prompts_per_step * told.generations,
        gradient_accumulation_steps=1,
        num_iterations=1,
        num_generations=told.generations,
        max_completion_length=told.max_new_tokens,
        temperature=told.temperature,
        top_p=1.0,
        top_k=0,
        # Eq. 3-5
        loss_type="grpo",
        scale_rewards="group",
        importance_sampling_level="token",
        beta=told.beta,
        epsilon=told.epsilon,
        epsilon_high=None,
        use_bias_correction_kl=False,
        mask_truncated_completions=False,
        sync_ref_model=False,
        vllm_importance_sampling_correction=False,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        save_steps=told.save_steps,
        save_total_limit=1,
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
    )


def load_policy(policy: str, work: Path):
    """The initial policy and its tokenizer.  An adapter is merged and saved first: TRL reloads π_ref from the model's folder."""
    if (Path(resolve(policy)) / "adapter_config.json").exists():
        model, tokenizer = load(policy)
        model.save_pretrained(work / "initial")
        tokenizer.save_pretrained(work / "initial")
        policy = str(work / "initial")
    model, tokenizer = load(policy)
    model.set_attn_implementation(grouped_sdpa.__name__)  # decoding does not copy keys and values for each query head
    return model, tokenizer


def check(prompts: dict[str, str], tokenizer, context: int, told: params.Rl) -> None:
    """DistillError where there are too few prompts for a step, or one leaves no room for its completions."""
    if len(prompts) < told.prompts_per_step:
        raise DistillError(
            f"there are {len(prompts)} prompts, and rl.prompts_per_step = {told.prompts_per_step}: "
            "give more problems, or ask for fewer a step"
        )
    for problem, prompt in prompts.items():
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=False
        )
        if len(ids) + told.max_new_tokens > context:
            raise DistillError(
                f"the prompt of problem {problem} has {len(ids)} tokens; with rl.max_new_tokens = "
                f"{told.max_new_tokens} that is more than the context of {context}: "
                "shorter completions, or another policy"
            )


def run(
    folder: Path,
    *,
    policy: str,
    prompts: dict[str, str],
    score: Score,
    verify: Callable[[str, str], bool] | None = None,
    evaluate_dev: Callable[[Any, Any], float] | None = None,
    told: params.Rl,
    seed: int,
    about: dict | None = None,
    callbacks: tuple[TrainerCallback, ...] = (),
    trainer: type[GrpoTrainer] = GrpoTrainer,
    **options,
) -> dict:
    """Train `policy` (a folder or a zoo name; π_ref is its frozen copy) on the reward of `score`; save to `folder`.

    prompts: the user's message by problem id.  score, verify: see `rewards`.  evaluate_dev(model, tokenizer): the true
    accuracy on dev, from 0 to 1.  about: what else the result depends on (the reward model's identity, the dev set).
    A killed training goes on from its last checkpoint under `folder`.work, and what is there already is read.

    Returns training.json: `log` by step (reward, kl in nats, entropy in nats, length in tokens, the share truncated, and
    the counts of `rewards.RewardFunction`), `dev` (step, accuracy) and totals.  Raises DistillError where the prompts do not
    fit or a score is no number, StoreError where the checkpoints are another training's, ModelError as `load` does.
    """
    about = {
        "stage": "rl",
        "source": source_hash(__name__, trainer.__module__),
        "policy": policy,
        "revision": revision(policy),
        "rl": told.model_dump(),
        "seed": seed,
        "prompts": store.digest(prompts),
        **(about or {}),
    }
    if store.is_done(folder, about):
        return json.loads((folder / "training.json").read_text())
    started = time.time()
    reward = RewardFunction(score, told.aggregation, told.generations, verify, told.verifiable_weight)
    work = folder.with_name(folder.name + ".work")
    if not (work / "about.journal").exists():  # it was deleted to start anew: so be it
        shutil.rmtree(work, ignore_errors=True)
    model, tokenizer = load_policy(policy, work)
    check(prompts, tokenizer, model.config.get_text_config().max_position_embeddings, told)
    journal = store.Journal(work / "about.journal", about)  # refuses checkpoints of another training
    dev = (TrueAccuracy(evaluate_dev, told.dev_every),) if evaluate_dev else ()
    made = trainer(
        model=model,
        reward_funcs=reward,
        args=config(told, work, seed),
        processing_class=tokenizer,
        told=told,
        train_dataset=Dataset.from_list(order(prompts, told.steps * told.prompts_per_step, seed)),
        callbacks=[*dev, *callbacks],
        **options,
    )
    made.remove_callback(PrinterCallback)  # forty figures a step; training.json has those that matter
    made.train(resume_from_checkpoint=store.last_checkpoint(work))
    log = {
        **summary(made.state.log_history, told),
        "seconds": round(time.time() - started, 1),
        "peak_memory_mb": store.peak_memory_mb(),
        "parameters_trained": sum(p.numel() for p in made.model.parameters() if p.requires_grad),
    }
    with store.folder(folder) as part:
        made.save_model(str(part))
        tokenizer.save_pretrained(part)
        (part / "training.json").write_text(json.dumps(log, indent=1) + "\n")
    store.write_manifest(folder, about, started)
    shutil.rmtree(work)
    return log


LOGGED = {  # ours: TRL's
    "length": "completions/mean_length",
    "truncated": "completions/clipped_ratio",
    **{
        name: name
        for name in (
            "reward",
            "reward_std",
            "accuracy",
            "kl",
            "entropy",
            "loss",
            "grad_norm",
            "steps_per_trace",
            "without_steps",
            "zero_variance",
            "min_at_last",
            "value_loss",
            "value_explained",
        )
    },
}


def summary(history: list[dict], told: params.Rl) -> dict:
    """training.json's log by step, dev accuracies, and totals: counts of completions and groups, tokens of completions."""
    rows = [
        {"step": e["step"], **{ours: e[trls] for ours, trls in LOGGED.items() if trls in e}}
        for e in history
        if LOGGED["length"] in e
    ]
    size = told.prompts_per_step * told.generations
    total = {name: sum(row[name] for row in rows) for name in ("zero_variance", "without_steps", "truncated", "length")}
    return {
        "log": rows,
        "dev": [{"step": e["step"], "accuracy": e["dev_accuracy"]} for e in history if "dev_accuracy" in e],
        "steps": len(rows),
        "completions": len(rows) * size,
        "completion_tokens": round(total["length"] * size),
        "truncated": round(total["truncated"] * size),
        "traces_without_steps": round(total["without_steps"] * size),
        "groups": len(rows) * told.prompts_per_step,
        "zero_variance_groups": round(total["zero_variance"] * told.prompts_per_step),
    }
