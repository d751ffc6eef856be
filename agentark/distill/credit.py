"""Which tokens of a completion are credited with which reward (DECISIONS 23a).

Eq. 5 gives one advantage to a whole output.  `step_advantages` is DeepSeekMath's process supervision instead: the
scores of all steps of a group are normalised together, and a token gets the sum of those of its own step and of all
later ones.

A sum rewards more steps: a policy that was trained on the true label of each step repeated right lines until its
completions were twice as long (docs/log.md).  So a step that repeats an earlier one of its completion counts as the
worst of the group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .data import DistillError

StepEnds = Callable[[list[int]], list[int]]
"""Takes a completion's token ids and returns the positions of its steps' last tokens, ascending."""


def token_rewards(
    step_scores: Sequence[Sequence[float]], ends: Sequence[Sequence[int]], bonus: Sequence[float], mask_BT: torch.Tensor
) -> torch.Tensor:
    """Return rewards (B, T): each step's score at the step's last token, plus `bonus` at the completion's last token.

    `bonus` is the verifiable reward. Raises DistillError if scores and ends belong to different steps.
    """
    rewards_BT = torch.zeros(mask_BT.shape)
    rows = zip(step_scores, ends, bonus, mask_BT.sum(1).tolist(), strict=True)
    for row, (scores, positions, extra, length) in enumerate(rows):
        _check(row, scores, positions, length)
        for score, end in zip(scores, positions, strict=True):
            rewards_BT[row, end] += score
        rewards_BT[row, length - 1] += extra
    return rewards_BT.to(mask_BT.device)


def _check(row: int, scores: Sequence[float], positions: Sequence[int], length: int) -> None:
    if len(scores) != len(positions):
        counts = f"{len(scores)} step scores and {len(positions)} step ends"
        reason = "the reward model and `step_ends` split it differently; pass the reward model's own `step_ends`"
        raise DistillError(f"completion {row} has {counts}: {reason}")
    if not all(0 <= end < length for end in positions):
        raise DistillError(f"completion {row} has {length} tokens, and step ends at {list(positions)}")


def step_advantages(
    step_scores: Sequence[Sequence[float]],
    ends: Sequence[Sequence[int]],
    bonus: Sequence[float],
    ids: Sequence[Sequence[int]],
    mask_BT: torch.Tensor,
    generations: int,
    epsilon: float,
) -> torch.Tensor:
    """Return the advantages (B, T) of the tokens of completions, in groups of `generations` neighbours.

    ids: the completions' tokens.  bonus: the verifiable reward, added to a completion's last step.  Scores are
    (s - mean) / (deviation + epsilon) over the steps of a group, with the sample deviation; groups whose scores are all
    equal get 0, and so do completions without steps and tokens after the last step.  Raises DistillError if scores and
    ends belong to different steps.
    """
    credits: list[list[float]] = []
    for start in range(0, len(step_scores), generations):
        group = [
            [*scores[:-1], scores[-1] + bonus[row]] if scores else []
            for row, scores in enumerate(step_scores[start : start + generations], start)
        ]
        flat = np.array([score for scores in group for score in scores], dtype=np.float32)
        if len(flat) < 2 or flat.min() == flat.max():
            credits += [[0.0] * len(scores) for scores in group]
            continue
        for row, scores in enumerate(group, start):
            _check(row, scores, ends[row], len(ids[row]))
            again = repeats(ids[row], ends[row])
            kept = [float(flat.min()) if repeat else score for score, repeat in zip(scores, again, strict=True)]
            credits.append([float((score - flat.mean()) / (flat.std(ddof=1) + epsilon)) for score in kept])
    rewards_BT = token_rewards(credits, ends, [0.0] * len(credits), mask_BT)
    return rewards_BT.flip(1).cumsum(1).flip(1) * mask_BT


def repeats(ids: Sequence[int], ends: Sequence[int]) -> list[bool]:
    """Return for each step of a completion whether it has the same tokens as an earlier one."""
    seen: set[tuple[int, ...]] = set()
    again: list[bool] = []
    if not ends:
        return again
    for first, last in zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True):
        step = tuple(ids[first : last + 1])
        again.append(step in seen)
        seen.add(step)
    return again
