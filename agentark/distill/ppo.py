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
  (`end`), whitened over the batch: V starts at 0, which is then the mean reward, and a step is not rewarded for being
  one step more. A verifiable reward is added at the last token (`end`: before the whitening).
- In the first `critic_warmup` steps only the critic learns.
- δ_t = r_t + γ V(s_t+1) - V(s_t),  A_t = δ_t + γλ A_t+1  (GAE), 0 after the end, also if the completion was truncated.
  Advantages are then normalised over the tokens of the batch (mean 0, deviation 1, `advantage_epsilon` in the
  denominator), as is common in implementations.
- The value loss is half the larger of (V - R)² and (V clipped to V_old ± ε - R)², with R = A + V_old before the
  normalisation: the mean over a completion's tokens, then over completions, as in the policy's loss.
- The ratio is per token, D_KL is in the loss as in Eq. 8, and there is one update per batch, as in `grpo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from agentark import params

from . import grpo
from .credit import StepEnds, token_rewards
from .data import DistillError

CRITIC_RATE = 1e-2


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


def whiten(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the scores of a batch with mean 0 and deviation 1 over all of them; all 0 if they are equal."""
    flat = np.array([score for row in scores for score in row], dtype=np.float64)
    if len(flat) < 2 or np.float32(flat.max()) == np.float32(flat.min()):
        return [[0.0] * len(row) for row in scores]
    return [[float((score - flat.mean()) / flat.std(ddof=1)) for score in row] for row in scores]


def value_loss(values_BT, old_values_BT, returns_BT, mask_BT, epsilon: float) -> torch.Tensor:
    """Return half the larger squared error of V and V clipped to V_old ± epsilon, averaged like the policy's loss."""
    clipped_BT = old_values_BT + (values_BT - old_values_BT).clamp(-epsilon, epsilon)
    error_BT = torch.max((values_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return 0.5 * ((error_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)).mean()


class PpoTrainer(grpo.GrpoTrainer):
    """PPO with a critic: advantages per token instead of per group."""

    def __init__(self, *, model, args, config: params.Rl, **kwargs):
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
            scores, ends, bonus = reward.step_scores, self.steps(batch)[1], reward.bonus
        else:
            lengths, rewards = mask_BT.sum(1).tolist(), self.rewards_N.tolist()
            scores = [[r] if ok else [] for r, ok in zip(rewards, rewarded_B.tolist(), strict=True)]
            ends = [[length - 1] * len(s) for length, s in zip(lengths, scores, strict=True)]
            bonus = [0.0] * len(scores)
        rewards_BT = token_rewards(whiten(scores), ends, bonus, mask_BT)
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
        hidden_BLH = outputs[0].last_hidden_state
        if self.state.global_step < self.config.critic_warmup:
            policy_loss, hidden_BLH = 0.0 * policy_loss, hidden_BLH.detach()
        values_BT = self._values(hidden_BLH, inputs["completion_ids"].shape[1])
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
        literal = config.model_copy(update={"ratio": "sequence", "credit": "output"})
        return grpo.run(folder, config=literal, **options)
    if config.reward_at == "steps" and step_ends is None:
        needed = "rl.reward_at = steps needs the ends of a completion's steps"
        raise DistillError(f"{needed}: pass the reward model's `step_ends`, or set rl.reward_at: end")
    config = config.model_copy(update={"ratio": "token", "credit": "output"})
    return grpo.run(folder, config=config, trainer_class=PpoTrainer, step_ends=step_ends, **options)
