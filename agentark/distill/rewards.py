"""From the scores of a trace's steps to the one reward R_phi(o) of Eq. 5 and 9.

The paper calls R_phi(o) "the step-wise aggregate score" and does not say which (DECISIONS 20):

| how       | R_phi(o) of the step scores s_1 … s_K                                    |
|-----------|--------------------------------------------------------------------------|
| `min`     | the lowest: a trace is as good as its worst step                          |
| `mean`    | their mean                                                                |
| `softmin` | sum_k w_k s_k with w = softmax(-s / T), T = 0.1: between the two          |
| `last`    | the last step's                                                           |
| `product` | their product: the probability that all are right, if scores were one     |

A trace without steps has no reward at all (None): TRL leaves it out of its group's mean and deviation and gives it the
advantage 0.  It is counted, never a silent 0.  The paper's equations have no verifiable reward; the authors' command line
has: R(o) = R_phi(o) + w [the answer is right], with w = 0 by default (DECISIONS 21).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from .data import DistillError

AGGREGATIONS = ("min", "mean", "softmin", "last", "product")
SOFTMIN_TEMPERATURE = 0.1

Score = Callable[[list, list[list[int]]], list[list[float]]]
"""A process reward model: TRL's prompts (chats) and the completions' token ids in, one score a step of each completion out."""


def aggregate(step_scores: Sequence[float], how: str) -> float | None:
    """R_phi(o) of one trace, in the scores' own unit; None for a trace without steps.

    Raises DistillError where a score is not a finite number, `how` is unknown, or a product is asked of scores that are no
    probabilities (the product of two negative logits would be a good mark).
    """
    if how not in AGGREGATIONS:
        raise DistillError(f"no aggregation {how!r} of step scores; there are {', '.join(AGGREGATIONS)}")
    if len(step_scores) == 0:
        return None
    if not all(map(math.isfinite, step_scores)):
        raise DistillError(
            f"the process reward model gave a score that is no number: {list(map(float, step_scores))}; "
            "its training has diverged, or its weights are damaged"
        )
    scores = [float(s) for s in step_scores]
    if how == "min":
        return min(scores)
    if how == "mean":
        return sum(scores) / len(scores)
    if how == "last":
        return scores[-1]
    if how == "product":
        if min(scores) < 0 or max(scores) > 1:
            raise DistillError(
                "rl.aggregation = product needs scores between 0 and 1 (prm.score: sigmoid), "
                f"and there is {min(scores):.3g} … {max(scores):.3g}"
            )
        return math.prod(scores)
    low = min(scores)
    weights = [math.exp((low - s) / SOFTMIN_TEMPERATURE) for s in scores]
    return sum(w * s for w, s in zip(weights, scores)) / sum(weights)


def zero_variance(rewards: Sequence[float | None], generations: int) -> int:
    """How many groups (of `generations` neighbours) teach nothing: fewer than two different rewards, in single precision."""
    groups = [rewards[n : n + generations] for n in range(0, len(rewards), generations)]
    return sum(len({np.float32(r) for r in group if r is not None}) < 2 for group in groups)


class RewardFunction:
    """The reward of each completion, in the form that TRL's GRPOTrainer calls.

    After a call, `step_scores` and `bonus` (the verifiable part) stand by completion, and `counts` holds what there is to say
    about the batch (it is also passed to TRL's log, from where training.json has it):

    - mean_reward: mean over the traces that have one; absent where none has;
    - steps_per_trace; without_steps: share of traces without steps;
    - min_at_last: share of traces with two steps or more whose last step alone is the worst (DECISIONS 20);
    - zero_variance: share of groups whose rewards are all equal, or of which fewer than two have one;
    - accuracy: share whose answer is right, where `verify` is given (also with weight 0: reward hacking shows).
    """

    __name__ = "process_reward"  # TRL's log names it so

    def __init__(
        self,
        score: Score,
        how: str,
        generations: int,
        verify: Callable[[str, str], bool] | None = None,
        verifiable_weight: float = 0.0,
    ):
        """`generations` is G, the size of a group.  `verify(text, problem id)` says whether a completion's answer is right."""
        if verifiable_weight and verify is None:
            raise DistillError(
                f"rl.verifiable_weight = {verifiable_weight} needs a verifier of answers, and none was given"
            )
        self.score, self.how, self.generations = score, how, generations
        self.verify, self.verifiable_weight = verify, verifiable_weight
        self.step_scores: list[list[float]] = []
        self.bonus: list[float] = []
        self.counts: dict[str, float] = {}

    def __call__(
        self, prompts, completions, completion_ids, problem=None, log_metric=None, **columns
    ) -> list[float | None]:
        """One reward a completion, None for a trace without steps.

        `problem` is the data set's column of problem ids.  Raises DistillError where the scorer does not give one list of
        scores for each completion, or a score is no number.
        """
        found = [list(scores) for scores in self.score(prompts, completion_ids)]
        if len(found) != len(completion_ids):
            raise DistillError(f"the process reward model scored {len(found)} traces of {len(completion_ids)}")
        rewards = [aggregate(scores, self.how) for scores in found]
        right = [self.verify(_text(c), p) for c, p in zip(completions, problem)] if self.verify else None
        bonus = [self.verifiable_weight * ok for ok in right] if self.verifiable_weight else [0.0] * len(found)
        rewards = [None if r is None else r + more for r, more in zip(rewards, bonus)]
        self.step_scores, self.bonus = found, bonus
        self.counts = self._count(rewards, right)
        if log_metric:
            for name, value in self.counts.items():
                log_metric(name, value)
        return rewards

    def _count(self, rewards: list[float | None], right: list[bool] | None) -> dict[str, float]:
        several = [s for s in self.step_scores if len(s) > 1]
        known = [r for r in rewards if r is not None]
        n = len(rewards)
        counts = {
            "steps_per_trace": sum(map(len, self.step_scores)) / n,
            "without_steps": (n - len(known)) / n,
            "zero_variance": zero_variance(rewards, self.generations) / (n // self.generations),
        }
        if known:
            counts["mean_reward"] = sum(known) / len(known)
        if several:
            counts["min_at_last"] = sum(s[-1] < min(s[:-1]) for s in several) / len(several)
        if right is not None:
            counts["accuracy"] = sum(right) / n
        return counts


def _text(completion) -> str:
    """The text of a completion as TRL hands it over: a string, or a chat of one turn."""
    return completion if isinstance(completion, str) else completion[0]["content"]
