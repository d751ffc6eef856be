"""GRPO on a process reward (3.3.3): TRL's GRPOTrainer, configured to compute Eq. 3-5 exactly.

    Eq. 3   J = E[ 1/G sum_i L_i - β D_KL(π_θ || π_ref) ],  x from the prompts, o_1 … o_G from π_old
    Eq. 4   L_i = min(ρ_i A_i, clip(ρ_i, 1-ε, 1+ε) A_i)
    Eq. 5   A_i = (R_φ(o_i) - μ_R) / σ_R

The paper leaves some points open. This module decides them as follows:

- The paper prints ρ_i per sequence, π_θ(o_i|x) / π_old(o_i|x): `ratio: sequence`, the product over all tokens. The
  default is DeepSeekMath's ratio per token, where L_i is the mean over a completion's tokens (DECISIONS 24). TRL's own
  "sequence", GSPO's geometric mean, is neither and is not used.
- D_KL is DeepSeekMath's estimator on the sampled tokens, r - log r - 1 with r = π_ref / π_θ: the mean over a
  completion's tokens with the token ratio, their sum (the divergence of whole outputs) with the sequence ratio.
- σ_R is the sample deviation of the group, plus `advantage_epsilon` (TRL hardcodes 1e-4, which matters for rewards that
  differ by 1e-3). If all rewards of a group are equal, the advantage is 0 (DECISIONS 23), counted as `zero_variance`.
  A completion without a reward is left out of its group and has advantage 0.
- An output has one advantage, as in Eq. 5 (`credit: output`); `step` is ours (`credit`).
- π is the distribution that is sampled from, at `temperature`: log-probabilities are those of logits / temperature.
- There is one update per batch (π_old is the policy itself: ratios are 1 where the gradient is taken, and their
  log-probabilities are not computed twice). The optimizer is Adam at a constant rate, with gradients clipped at norm 1
  (TRL's default), without weight decay and without dropout.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from agentark import params, store
from agentark.engines import Sampling
from agentark.engines.batching import group_by_prefix, prefix_length
from agentark.engines.decoding import Row, decode
from agentark.graph.source import source_hash

from . import on_policy
from .credit import StepEnds, step_advantages
from .data import DistillError
from .rewards import RewardFunction, Score

# At every step TRL prints the first trace without a reward; such traces are counted instead.
logging.getLogger("trl.trainer.grpo_trainer").addFilter(lambda record: "returned None" not in record.getMessage())


def group_advantages(rewards_N: torch.Tensor, generations: int, epsilon: float) -> torch.Tensor:
    """Eq. 5: (R - μ_R) / (σ_R + epsilon) within each group of `generations` neighbours, shape (N,), single precision.

    NaN ("no reward") is left out of μ_R and σ_R (the sample deviation) and gets 0, as do groups without variance.
    """
    rewards_QG = rewards_N.double().view(-1, generations)
    rewarded_QG = ~rewards_QG.isnan()
    centred_QG = torch.where(rewarded_QG, rewards_QG - rewards_QG.nanmean(1, keepdim=True), 0.0)
    sigma_Q1 = (centred_QG.square().sum(1, keepdim=True) / (rewarded_QG.sum(1, keepdim=True) - 1).clamp(min=1)).sqrt()
    # Variance is detected by comparison, not by σ_R = 0: the mean of equal numbers may differ from them by rounding.
    highest_Q1 = rewards_QG.masked_fill(~rewarded_QG, -torch.inf).amax(1, keepdim=True)
    lowest_Q1 = rewards_QG.masked_fill(~rewarded_QG, torch.inf).amin(1, keepdim=True)
    varied_QG = rewarded_QG & (highest_Q1 > lowest_Q1)
    return torch.where(varied_QG, centred_QG / (sigma_Q1 + epsilon), 0.0).float().view(-1)


def k3(logps_BT: torch.Tensor, ref_logps_BT: torch.Tensor) -> torch.Tensor:
    """DeepSeekMath's estimate of D_KL(π_θ || π_ref) per sampled token, in nats: r - log r - 1 with r = π_ref / π_θ."""
    log_r = ref_logps_BT - logps_BT
    return log_r.exp() - log_r - 1


def sequence_loss(
    logps_BT, old_logps_BT, ref_logps_BT, advantages_B, mask_BT, beta: float, epsilon: float
) -> torch.Tensor:
    """-J of Eq. 3-4 as printed, with one ratio per output; `ref_logps_BT` may be None if beta is 0."""
    ratio_B = ((logps_BT - old_logps_BT) * mask_BT).sum(1).exp()
    gain_B = torch.min(ratio_B * advantages_B, ratio_B.clamp(1 - epsilon, 1 + epsilon) * advantages_B)
    kl_B = (k3(logps_BT, ref_logps_BT) * mask_BT).sum(1) if beta else 0.0
    return -(gain_B - beta * kl_B).mean()


class GrpoTrainer(GRPOTrainer):
    """TRL's trainer with Eq. 5's denominator and Eq. 4's printed ratio as parameters. It supports one process."""

    def __init__(
        self,
        *args,
        config: params.Rl,
        step_ends: StepEnds | None = None,
        engine: params.Engine | None = None,
        **kwargs,
    ):
        self.config, self.step_ends, self.engine = config, step_ends, engine
        super().__init__(*args, **kwargs)

    def steps(self, batch) -> tuple[list[list[int]], list[list[int]]]:
        """Return the tokens of the completions of a batch and the ends of their steps."""
        assert self.step_ends, "`run` refuses credit by step without the ends of steps"
        padded = zip(batch["completion_ids"].tolist(), batch["completion_mask"].sum(1).tolist(), strict=True)
        ids = [row[:length] for row, length in padded]
        return ids, [self.step_ends(row) for row in ids]

    def _generate_single_turn(self, prompt_ids, images, *args, **kwargs):
        """The completions' tokens: TRL's samples, or those of the engine, which decodes a continuous batch."""
        if self.engine is None or images:
            return super()._generate_single_turn(prompt_ids, images, *args, **kwargs)
        sampling = Sampling(self.config.temperature, self.config.max_new_tokens)
        seed, slots = store.chunk_seed(self.args.seed, self.state.global_step), self.engine.batch or 1
        rows = []
        for number, group in enumerate(group_by_prefix(prompt_ids, slots)):  # the completions of one prompt
            shared = prefix_length([prompt_ids[index] for index in group])
            rows += [Row(prompt_ids[index], number, shared, store.chunk_seed(seed, index)) for index in group]
        decode(self.model, rows, sampling, self.eos_token_ids, slots)
        return [row.reply for row in rows], None

    @torch.no_grad()
    def _calculate_rewards(self, *args, **kwargs):
        rewards = super()._calculate_rewards(*args, **kwargs)
        self.rewards_N = rewards[:, 0]
        return rewards

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        group = (self.num_generations, self.config.advantage_epsilon)
        if self.config.credit == "output":
            return {**batch, "advantages": group_advantages(self.rewards_N, *group)}
        (ids, ends), reward = self.steps(batch), self.reward_funcs[0]
        by_step = (reward.step_scores, ends, reward.bonus, ids, batch["completion_mask"])
        return {**batch, "advantages": step_advantages(*by_step, *group)}

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=False, **_
    ):
        """TRL's (B, T) log-probabilities and entropies; TRL's fused head would also score the prompt without Triton."""
        keep = logits_to_keep + 1
        hook = model.base_model.register_forward_hook(
            lambda _module, _inputs, out: type(out)(last_hidden_state=out.last_hidden_state[:, -keep:])
        )
        try:
            labels_BT = input_ids.masked_fill(attention_mask == 0, -100)[:, -keep:]
            out = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels_BT, fused_lm_head=True)
        finally:
            hook.remove()
        return out.log_probs, out.entropy if compute_entropy else None, None

    def _compute_loss(self, model, inputs):
        if self.config.ratio == "token":
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
        options = (inputs["advantages"], mask_BT, self.beta, self.config.epsilon)
        return sequence_loss(logps_BT, old_logps_BT, ref_logps_BT, *options)


def grpo_config(config: params.Rl, work: Path, seed: int) -> GRPOConfig:
    """Return TRL's settings for Eq. 3-5; each of its defaults that departs from them is overridden here."""
    shared = on_policy.settings(config, work, seed, config.prompts_per_step * config.generations)
    updates = dict(num_iterations=1, num_generations=config.generations, vllm_importance_sampling_correction=False)
    loss = dict(loss_type="grpo", importance_sampling_level="token", epsilon=config.epsilon, epsilon_high=None)
    loss |= dict(scale_rewards="group", mask_truncated_completions=False)
    divergence = dict(beta=config.beta, use_bias_correction_kl=False, sync_ref_model=False)
    return GRPOConfig(**shared, **updates, **loss, **divergence)


def run(
    folder: Path,
    *,
    policy: str,
    prompts: dict[str, str],
    score: Score,
    verify: Callable[[str, str], bool] | None = None,
    evaluate_dev: Callable[[Any, Any], float] | None = None,
    config: params.Rl,
    seed: int,
    about: dict | None = None,
    callbacks: tuple[TrainerCallback, ...] = (),
    trainer_class: type[GrpoTrainer] = GrpoTrainer,
    step_ends: StepEnds | None = None,
    engine: params.Engine | None = None,
) -> dict:
    """Train `policy` on the reward of `score` and save it to `folder`; an existing result is read.

    policy: a folder or a zoo name; π_ref is its frozen copy. prompts: the user's message by problem id. score, verify:
    see `rewards`. step_ends: the reward model's own, needed by `credit: step`. evaluate_dev(model, tokenizer): the
    accuracy on dev, from 0 to 1. about: further values that the result depends on (the reward model's identity, the dev
    set). engine: of transformers, to sample by a continuous batch; without it TRL samples.

    `score` must not take numbers from torch's global generator when it is first called, as creating a module does:
    otherwise a resumed training would sample other completions.

    Returns training.json: see `rl_log.summary`, with reward, kl and entropy in nats, length in tokens, the share
    truncated, and the counts of `rewards.RewardFunction`. Raises DistillError if the prompts do not fit or a score is
    not a number, StoreError if the checkpoints are those of another training, ModelError as `load` does.
    """
    if config.credit == "step" and step_ends is None:
        raise DistillError("rl.credit = step needs a reward with step scores: take a reward model or likelihood")
    code = source_hash(__name__, trainer_class.__module__)
    reward = RewardFunction(score, config.aggregation, config.generations, verify, config.verifiable_weight)

    def make_trainer(work: Path, **given) -> GrpoTrainer:
        args = grpo_config(config, work, seed)
        return trainer_class(reward_funcs=reward, args=args, config=config, step_ends=step_ends, engine=engine, **given)

    return on_policy.run(
        folder,
        {"source": code, **({"engine": engine.identity()} if engine else {}), **(about or {})},
        policy=policy,
        prompts=prompts,
        copies=1,  # TRL repeats each prompt for its group
        config=config,
        seed=seed,
        make_trainer=make_trainer,
        evaluate_dev=evaluate_dev,
        callbacks=callbacks,
    )
