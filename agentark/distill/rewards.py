"""From the scores of a trace's steps to the reward R_phi(o) of Eq. 5 and 9.

The paper calls R_phi(o) "the step-wise aggregate score" and does not define it (DECISIONS 20):

| aggregation | R_phi(o) of the step scores s_1 … s_K                                                  |
|-------------|----------------------------------------------------------------------------------------|
| `min`       | the minimum: a trace is as good as its worst step                                      |
| `mean`      | the mean                                                                               |
| `softmin`   | sum_k w_k s_k with w = softmax(-s / T), T = 0.1: between the two                       |
| `last`      | the score of the last step                                                             |
| `product`   | the product: the probability that all steps are right, if scores were probabilities    |

A trace without steps has no reward (None), not a reward of 0: it has the advantage 0 and is counted. The authors'
command line adds a verifiable reward, which the paper does not mention: R(o) = R_phi(o) + w [the answer is right], with
w = 0 by default (DECISIONS 21).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .data import DistillError

AGGREGATIONS = ("min", "mean", "softmin", "last", "product")
SOFTMIN_TEMPERATURE = 0.1

Score = Callable[[list, list[list[int]]], list[list[float]]]
"""A process reward model: takes TRL's prompts (chats) and the completions' token ids, returns their steps' scores."""


def aggregate(step_scores: Sequence[float], aggregation: str) -> float | None:
    """Return R_phi(o) of one trace, in the unit of the scores; None for a trace without steps.

    Raises DistillError for a score that is not finite, an unknown `aggregation`, or a product of scores outside [0, 1].
    """
    if aggregation not in AGGREGATIONS:
        raise DistillError(f"unknown aggregation {aggregation!r} of step scores; there are {', '.join(AGGREGATIONS)}")
    if len(step_scores) == 0:
        return None
    if not all(map(math.isfinite, step_scores)):
        given = f"the process reward model gave a score that is not a number: {list(map(float, step_scores))}"
        raise DistillError(f"{given}; its training has diverged, or its weights are damaged")
    scores = [float(s) for s in step_scores]
    if aggregation == "min":
        return min(scores)
    if aggregation == "mean":
        return sum(scores) / len(scores)
    if aggregation == "last":
        return scores[-1]
    if aggregation == "product":
        if min(scores) < 0 or max(scores) > 1:
            needed = "rl.aggregation = product needs scores between 0 and 1 (prm.score: sigmoid)"
            raise DistillError(f"{needed}, but they range from {min(scores):.3g} to {max(scores):.3g}")
        return math.prod(scores)
    low = min(scores)
    weights = [math.exp((low - s) / SOFTMIN_TEMPERATURE) for s in scores]
    return sum(w * s for w, s in zip(weights, scores, strict=True)) / sum(weights)


def zero_variance(rewards: Sequence[float | None], generations: int) -> int:
    """Return how many groups of `generations` neighbours have fewer than two different rewards, in single precision."""
    groups = [rewards[n : n + generations] for n in range(0, len(rewards), generations)]
    return sum(len({np.float32(r) for r in group if r is not None}) < 2 for group in groups)


class RewardFunction:
    """The reward of each completion, in the form that TRL's GRPOTrainer calls.

    After a call, `step_scores`, `bonus` (the verifiable part) and `right` (whether the answer is right; None without
    `verify`) have one entry per completion; `counts`, which go to TRL's log and to training.json, describe the batch:

    - mean_reward: mean over the traces that have a reward; absent if none has one;
    - steps_per_trace; without_steps: share of traces without steps;
    - min_at_last: share of traces with two or more steps whose last step alone is the worst (DECISIONS 20);
    - zero_variance: share of groups with fewer than two different rewards;
    - accuracy: share of right answers, if `verify` is given (also with weight 0, so that reward hacking is visible).
    """

    __name__ = "process_reward"  # the name in TRL's log

    def __init__(
        self,
        score: Score,
        aggregation: str,
        generations: int,
        verify: Callable[[str, str], bool] | None = None,
        verifiable_weight: float = 0.0,
    ):
        """`generations` is G, the size of a group; `verify(text, problem id)` tells whether an answer is right."""
        if verifiable_weight and verify is None:
            raise DistillError(f"rl.verifiable_weight = {verifiable_weight} needs a verifier of answers: pass `verify`")
        self.score, self.aggregation, self.generations = score, aggregation, generations
        self.verify, self.verifiable_weight = verify, verifiable_weight
        self.step_scores: list[list[float]] = []
        self.right: list[bool] | None = None
        self.bonus: list[float] = []
        self.counts: dict[str, float] = {}

    def __call__(self, prompts, completions, completion_ids, problem=None, log_metric=None, **_) -> list[float | None]:
        """Return one reward per completion, None for a trace without steps; `problem` has the problems' ids.

        Raises DistillError if the scorer does not return one list of scores for each completion, or not numbers.
        """
        step_scores = [list(scores) for scores in self.score(prompts, completion_ids)]
        if len(step_scores) != len(completion_ids):
            raise DistillError(f"the process reward model scored {len(step_scores)} traces of {len(completion_ids)}")
        rewards = [aggregate(scores, self.aggregation) for scores in step_scores]
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]  # TRL passes a chat of one turn
        right = [self.verify(text, p) for text, p in zip(texts, problem, strict=True)] if self.verify else None
        bonus = [self.verifiable_weight * ok for ok in right or [False] * len(step_scores)]
        rewards = [None if reward is None else reward + extra for reward, extra in zip(rewards, bonus, strict=True)]
        self.step_scores, self.bonus, self.right = step_scores, bonus, right
        self.counts = self._count(rewards, right)
        if log_metric:
            for name, value in self.counts.items():
                log_metric(name, value)
        return rewards

    def _count(self, rewards: list[float | None], right: list[bool] | None) -> dict[str, float]:
        multi_step = [scores for scores in self.step_scores if len(scores) > 1]
        rewarded = [reward for reward in rewards if reward is not None]
        n = len(rewards)
        counts = {
            "steps_per_trace": sum(map(len, self.step_scores)) / n,
            "without_steps": (n - len(rewarded)) / n,
            "zero_variance": zero_variance(rewards, self.generations) / (n // self.generations),
        }
        if rewarded:
            counts["mean_reward"] = sum(rewarded) / len(rewarded)
        if multi_step:
            counts["min_at_last"] = sum(s[-1] < min(s[:-1]) for s in multi_step) / len(multi_step)
        if right is not None:
            counts["accuracy"] = sum(right) / n
        return counts
