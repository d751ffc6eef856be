"""PPO on a process reward (B.2, C.2), on the trainer of `grpo`.

    Eq. 8   L = E[ min(ρ A, clip(ρ, 1-ε, 1+ε) A) - β D_KL(π_θ || π_ref) ],  x from the prompts, o from π_old
    Eq. 9   A = (R_φ(o) - μ_R) / σ_R

As printed there is no critic, and Eq. 9 normalises over the outputs of one input. With ρ per output this equals Eq. 3-5
with Eq. 4's printed ratio, term for term: `critic: false` runs `grpo` with `ratio: sequence` (DECISIONS 25).

C.2 mentions "a learned value function, state-dependent baseline". `critic: true` is that PPO (Schulman et al., 2017):

- V(s_t), with s_t all tokens before the t-th, is a linear head on the policy's last hidden state, initialised with 0
  and trained in the same backward pass: the loss is the policy's plus `value_coefficient` times the value's. Its
  learning rate is CRITIC_RATE: at the policy's it would not converge in a hundred steps. It is not saved.
- The reward is each step's score at the step's last token (`reward_at: steps`), or the aggregate at the last token
  (`end`). The former sums scores, so positive scores reward more steps, which `steps_per_trace` shows. A verifiable
  reward is added at the last token.
- δ_t = r_t + γ V(s_t+1) - V(s_t),  A_t = δ_t + γλ A_t+1  (GAE), 0 after the end, also if the completion was truncated.
  Advantages are then normalised over the tokens of the batch (mean 0, deviation 1, `advantage_epsilon` in the
  denominator), as is common in implementations.
- The value loss is half the larger of (V - R)² and (V clipped to V_old ± ε - R)², with R = A + V_old before the
  normalisation: the mean over a completion's tokens, then over completions, as in the policy's loss.
- The ratio is per token, D_KL is in the loss as in Eq. 8, and there is one update per batch, as in `grpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agentark import params

from . import grpo
from .data import DistillError

CRITIC_RATE = 1e-3

StepEnds = Callable[[list[int]], list[int]]
"""Takes a completion's token ids and returns the positions of its steps' last tokens, ascending."""


def gae(
    rewards_BT: torch.Tensor, values_BT: torch.Tensor, mask_BT: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the advantages A (GAE) and returns A + V, both (B, T) and 0 off the mask; V after the last token is 0."""
    advantages_BT = torch.zeros_like(values_BT)
    next_advantage_B = next_value_B = torch.zeros_like(values_BT[:, 0])
    for t in reversed(range(values_BT.shape[1])):
        delta_B = rewards_BT[:, t] + gamma * next_value_B - values_BT[:, t]
        next_advantage_B = (delta_B + gamma * lam * next_advantage_B) * mask_BT[:, t]
        next_value_B = values_BT[:, t] * mask_BT[:, t]
        advantages_BT[:, t] = next_advantage_B
    return advantages_BT, (advantages_BT + values_BT) * mask_BT


def normalise(advantages_BT: torch.Tensor, mask_BT: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return advantages of mean 0 and deviation 1 over the tokens of the mask, 0 elsewhere; all 0 if they are equal."""
    masked = advantages_BT[mask_BT.bool()]
    if len(masked) < 2 or masked.max() == masked.min():
        return torch.zeros_like(advantages_BT)
    return (advantages_BT - masked.mean()) / (masked.std() + epsilon) * mask_BT


def value_loss(values_BT, old_values_BT, returns_BT, mask_BT, epsilon: float) -> torch.Tensor:
    """Return half the larger squared error of V and V clipped to V_old ± epsilon, averaged like the policy's loss."""
    clipped_BT = old_values_BT + (values_BT - old_values_BT).clamp(-epsilon, epsilon)
    error_BT = torch.max((values_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return 0.5 * ((error_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)).mean()


def token_rewards(
    step_scores: Sequence[Sequence[float]], ends: Sequence[Sequence[int]], bonus: Sequence[float], mask_BT: torch.Tensor
) -> torch.Tensor:
    """Return rewards (B, T): each step's score at the step's last token, plus `bonus` at the completion's last token.

    `bonus` is the verifiable reward. Raises DistillError if scores and ends belong to different steps.
    """
    rewards_BT = torch.zeros(mask_BT.shape)
    rows = zip(step_scores, ends, bonus, mask_BT.sum(1).tolist(), strict=True)
    for row, (scores, positions, extra, length) in enumerate(rows):
        if len(scores) != len(positions):
            counts = f"{len(scores)} step scores and {len(positions)} step ends"
            reason = "the reward model and `step_ends` split it differently; pass the reward model's own `step_ends`"
            raise DistillError(f"completion {row} has {counts}: {reason}")
        if not all(0 <= end < length for end in positions):
            raise DistillError(f"completion {row} has {length} tokens, and step ends at {list(positions)}")
        for score, end in zip(scores, positions, strict=True):
            rewards_BT[row, end] += score
        rewards_BT[row, length - 1] += extra
    return rewards_BT.to(mask_BT.device)


class PpoTrainer(grpo.GrpoTrainer):
    """PPO with a critic: advantages per token instead of per group."""

    def __init__(self, *, model, args, config: params.Rl, step_ends: StepEnds | None = None, **kwargs):
        self.step_ends: Any = step_ends
        policy = [p for p in model.parameters() if p.requires_grad]
        with torch.random.fork_rng():  # creating the head leaves torch's global generator unchanged
            width = model.config.get_text_config().hidden_size
            model.value_head = nn.Linear(width, 1, device=model.device, dtype=model.dtype)
        nn.init.zeros_(model.value_head.weight)
        nn.init.zeros_(model.value_head.bias)
        groups = [{"params": policy}, {"params": model.value_head.parameters(), "lr": CRITIC_RATE}]
        adam = torch.optim.AdamW(groups, lr=args.learning_rate, weight_decay=0.0)
        super().__init__(model=model, args=args, config=config, optimizers=(adam, None), **kwargs)

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        mask_BT, reward = batch["completion_mask"], self.reward_funcs[0]
        rewarded_B = ~self.rewards_N.isnan()
        if self.config.reward_at == "steps":
            padded = zip(batch["completion_ids"].tolist(), mask_BT.sum(1).tolist(), strict=True)
            ends = [self.step_ends(ids[:length]) for ids, length in padded]
            rewards_BT = token_rewards(reward.step_scores, ends, reward.bonus, mask_BT)
        else:
            no_steps: list[list] = [[]] * len(rewarded_B)
            rewards_BT = token_rewards(no_steps, no_steps, self.rewards_N.nan_to_num(0.0).tolist(), mask_BT)
        mask_BT = mask_BT * rewarded_B[:, None]  # a completion without a reward trains neither policy nor critic
        with torch.no_grad():
            ids, mask = (torch.cat([batch[f"prompt_{k}"], batch[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
            hidden_BLH = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            values_BT = self._values(hidden_BLH, mask_BT.shape[1])
        advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, self.config.gamma, self.config.lam)
        returns_N, errors_N = returns_BT[mask_BT.bool()], (returns_BT - values_BT)[mask_BT.bool()]
        if len(returns_N) > 1 and returns_N.var() > 0:
            self._metrics["train"]["value_explained"].append((1 - errors_N.var() / returns_N.var()).item())
        advantages_BT = normalise(advantages_BT, mask_BT, self.config.advantage_epsilon)
        batch |= {"returns": returns_BT, "old_values": values_BT, "value_mask": mask_BT}
        return {**batch, "advantages": advantages_BT}

    def _values(self, hidden_BLH: torch.Tensor, tokens: int) -> torch.Tensor:
        """Return V before each of the last `tokens` tokens, (B, T)."""
        return self.model.value_head(hidden_BLH[:, -tokens - 1 : -1]).squeeze(-1)

    def _compute_loss(self, model, inputs):
        outputs = []  # of the backbone, in the forward pass of the policy's loss
        hook = model.base_model.register_forward_hook(lambda _module, _inputs, out: outputs.append(out))
        try:
            policy_loss = super()._compute_loss(model, inputs)
        finally:
            hook.remove()
        values_BT = self._values(outputs[0].last_hidden_state, inputs["completion_ids"].shape[1])
        old_values_BT, returns_BT, mask_BT = (inputs[name] for name in ("old_values", "returns", "value_mask"))
        critic_loss = value_loss(values_BT, old_values_BT, returns_BT, mask_BT, self.config.epsilon)
        self._metrics["train"]["value_loss"].append(critic_loss.item())
        return policy_loss + self.config.value_coefficient * critic_loss

    def save_model(self, output_dir=None, _internal_call=False):
        """Save the policy and, in checkpoints only, the critic."""
        if not _internal_call:
            del self.model.value_head
        super().save_model(output_dir, _internal_call)


def run(folder: Path, *, config: params.Rl, step_ends: StepEnds | None = None, **options) -> dict:
    """Train by PPO; `options` and the result are those of `grpo.run`.

    step_ends: required by a critic with `reward_at: steps`; it must be the reward model's own. Raises DistillError if
    it is missing, or if it finds other steps than the scorer.
    """
    if not config.critic:
        return grpo.run(folder, config=config.model_copy(update={"ratio": "sequence"}), **options)
    if config.reward_at == "steps" and step_ends is None:
        needed = "rl.reward_at = steps needs the ends of a completion's steps"
        raise DistillError(f"{needed}: pass the reward model's `step_ends`, or set rl.reward_at: end")
    config = config.model_copy(update={"ratio": "token"})
    return grpo.run(folder, config=config, trainer_class=PpoTrainer, step_ends=step_ends, **options)
