"""PPO on a process reward (B.2, C.2), on the trainer of `grpo`.

    Eq. 8   L = E[ min(ρ A, clip(ρ, 1-ε, 1+ε) A) - β D_KL(π_θ || π_ref) ],  x from the prompts, o from π_old
    Eq. 9   A = (R_φ(o) - μ_R) / σ_R

As printed there is no critic, and Eq. 9 normalises over the outputs of one input: with ρ per output that is Eq. 3-5 with Eq. 4's
printed ratio, term for term (each is a mean over inputs and their G outputs of the same thing).  `critic: false` therefore runs
`grpo` with `ratio: sequence`; a test holds both against Eq. 8-9 written by hand (DECISIONS 25).

C.2 credits "a learned value function, state-dependent baseline".  `critic: true` is that PPO (Schulman et al., 2017):

- V(s_t), with s_t all tokens before the t-th, is a linear head on the policy's last hidden state, from 0, in the same backward
  pass: the loss is the policy's plus `value_coefficient` times the value's.  The head has its own learning rate, CRITIC_RATE: it
  starts from nothing, and the policy's rate would not let it arrive in a hundred steps.  It is dropped at the end;
- reward at each step's last token, its score (`reward_at: steps`), or the aggregate at the last token (`end`).  The former sums
  scores: positive scores pay for more steps; `steps_per_trace` shows it.  A verifiable reward falls on the last token;
- δ_t = r_t + γ V(s_t+1) - V(s_t),  A_t = δ_t + γλ A_t+1  (GAE), 0 after the end, also where the completion was cut off; then
  normalised over the tokens of the batch (mean 0, deviation 1, `advantage_epsilon` in the denominator), as implementations do;
- value loss: half the larger of (V - R)² and (V clipped to V_old ± ε - R)², R = A + V_old before the normalisation; the mean
  over a completion's tokens, then over completions, as the policy's;
- ratio per token, D_KL in the loss as in Eq. 8, one update a batch: as in `grpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from agentark import params

from . import grpo
from .data import DistillError

CRITIC_RATE = 1e-3

StepEnds = Callable[[list[int]], list[int]]
"""A completion's token ids in, the positions in it of its steps' last tokens out, ascending."""


def gae(
    rewards_BT: torch.Tensor, values_BT: torch.Tensor, mask_BT: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimates and returns (A + V), both (B, T) and 0 where the mask is; V after the last token is 0."""
    advantages_BT = torch.zeros_like(values_BT)
    ahead_B = value_ahead_B = torch.zeros_like(values_BT[:, 0])
    for t in reversed(range(values_BT.shape[1])):
        delta_B = rewards_BT[:, t] + gamma * value_ahead_B - values_BT[:, t]
        ahead_B = (delta_B + gamma * lam * ahead_B) * mask_BT[:, t]
        value_ahead_B = values_BT[:, t] * mask_BT[:, t]
        advantages_BT[:, t] = ahead_B
    return advantages_BT, (advantages_BT + values_BT) * mask_BT


def normalise(advantages_BT: torch.Tensor, mask_BT: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Mean 0 and deviation 1 over the tokens of the mask, 0 elsewhere; all 0 where they do not differ."""
    known = advantages_BT[mask_BT.bool()]
    if len(known) < 2 or known.max() == known.min():
        return torch.zeros_like(advantages_BT)
    return (advantages_BT - known.mean()) / (known.std() + epsilon) * mask_BT


def value_loss(values_BT, old_values_BT, returns_BT, mask_BT, epsilon: float) -> torch.Tensor:
    """Half the larger of the squared errors of V and of V clipped to V_old ± epsilon; mean over tokens, then completions."""
    clipped_BT = old_values_BT + (values_BT - old_values_BT).clamp(-epsilon, epsilon)
    error_BT = torch.max((values_BT - returns_BT).square(), (clipped_BT - returns_BT).square())
    return 0.5 * ((error_BT * mask_BT).sum(1) / mask_BT.sum(1).clamp(min=1)).mean()


def token_rewards(
    step_scores: Sequence[Sequence[float]], ends: Sequence[Sequence[int]], bonus: Sequence[float], mask_BT: torch.Tensor
) -> torch.Tensor:
    """Each step's score at the step's last token, (B, T), plus `bonus` (the verifiable reward) at the completion's last.

    Raises DistillError where the scorer and the splitter do not see the same steps.
    """
    rewards_BT = torch.zeros(mask_BT.shape)
    for row, (scores, at, more, length) in enumerate(zip(step_scores, ends, bonus, mask_BT.sum(1).tolist())):
        if len(scores) != len(at):
            raise DistillError(
                f"completion {row} has {len(scores)} step scores and {len(at)} step ends: the reward model and "
                "`step_ends` split it otherwise; give those of the reward model"
            )
        if not all(0 <= end < length for end in at):
            raise DistillError(f"completion {row} has {length} tokens, and step ends at {list(at)}")
        for score, end in zip(scores, at):
            rewards_BT[row, end] += score
        rewards_BT[row, length - 1] += more
    return rewards_BT.to(mask_BT.device)


class PpoTrainer(grpo.GrpoTrainer):
    """PPO with a critic: per-token advantages in the place of the group's."""

    def __init__(self, *, model, args, told: params.Rl, step_ends: StepEnds | None = None, **kwargs):
        self.step_ends = step_ends
        policy = [p for p in model.parameters() if p.requires_grad]
        model.value_head = nn.Linear(
            model.config.get_text_config().hidden_size, 1, device=model.device, dtype=model.dtype
        )
        nn.init.zeros_(model.value_head.weight)
        nn.init.zeros_(model.value_head.bias)
        adam = torch.optim.AdamW(
            [{"params": policy}, {"params": model.value_head.parameters(), "lr": CRITIC_RATE}],
            lr=args.learning_rate,
            weight_decay=0.0,
        )
        super().__init__(model=model, args=args, told=told, optimizers=(adam, None), **kwargs)

    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        mask_BT, reward = batch["completion_mask"], self.reward_funcs[0]
        known_B = ~self.rewards_N.isnan()
        if self.told.reward_at == "steps":
            completions = [
                ids[:length] for ids, length in zip(batch["completion_ids"].tolist(), mask_BT.sum(1).tolist())
            ]
            rewards_BT = token_rewards(
                reward.step_scores, [self.step_ends(ids) for ids in completions], reward.bonus, mask_BT
            )
        else:
            none = [[]] * len(known_B)
            rewards_BT = token_rewards(none, none, self.rewards_N.nan_to_num(0.0).tolist(), mask_BT)
        mask_BT = mask_BT * known_B[:, None]  # a completion without a reward teaches neither policy nor critic
        with torch.no_grad():
            ids, mask = (torch.cat([batch[f"prompt_{k}"], batch[f"completion_{k}"]], dim=1) for k in ("ids", "mask"))
            hidden_BLH = self.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            values_BT = self._values(hidden_BLH, mask_BT.shape[1])
        advantages_BT, returns_BT = gae(rewards_BT, values_BT, mask_BT, self.told.gamma, self.told.lam)
        returns_N, errors_N = returns_BT[mask_BT.bool()], (returns_BT - values_BT)[mask_BT.bool()]
        if len(returns_N) > 1 and returns_N.var() > 0:
            self._metrics["train"]["value_explained"].append((1 - errors_N.var() / returns_N.var()).item())
        return {
            **batch,
            "advantages": normalise(advantages_BT, mask_BT, self.told.advantage_epsilon),
            "returns": returns_BT,
            "old_values": values_BT,
            "value_mask": mask_BT,
        }

    def _values(self, hidden_BLH: torch.Tensor, tokens: int) -> torch.Tensor:
        """V before each of the last `tokens` tokens, (B, T)."""
        return self.model.value_head(hidden_BLH[:, -tokens - 1 : -1]).squeeze(-1)

    def _compute_loss(self, model, inputs):
        seen = []  # the hidden states of the pass that the policy's loss makes anyway
        hook = model.base_model.register_forward_hook(lambda _module, _inputs, out: seen.append(out.last_hidden_state))
        try:
            policy_loss = super()._compute_loss(model, inputs)
        finally:
            hook.remove()
        values_BT = self._values(seen[0], inputs["completion_ids"].shape[1])
        critic_loss = value_loss(
            values_BT, inputs["old_values"], inputs["returns"], inputs["value_mask"], self.told.epsilon
        )
        self._metrics["train"]["value_loss"].append(critic_loss.item())
        return policy_loss + self.told.value_coefficient * critic_loss

    def save_model(self, output_dir=None, _internal_call=False):
        """A checkpoint has the critic; what is saved at the end is the policy alone."""
        if not _internal_call:
            del self.model.value_head
        super().save_model(output_dir, _internal_call)


def run(folder: Path, *, told: params.Rl, step_ends: StepEnds | None = None, **given) -> dict:
    """Train by PPO; all else as `grpo.run`.

    step_ends(completion's token ids): where its steps end; needed by a critic with `reward_at: steps`, and must be the reward
    model's own.  Raises DistillError where it is missing, or finds other steps than the scorer.
    """
    if not told.critic:
        return grpo.run(folder, told=told.model_copy(update={"ratio": "sequence"}), **given)
    if told.reward_at == "steps" and step_ends is None:
        raise DistillError(
            "rl.reward_at = steps needs to know where a completion's steps end (step_ends), and nothing says so; "
            "give the reward model's, or say rl.reward_at: end"
        )
    return grpo.run(
        folder, told=told.model_copy(update={"ratio": "token"}), trainer=PpoTrainer, step_ends=step_ends, **given
    )
