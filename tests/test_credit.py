"""Credit of tokens: rewards at the ends of steps, and DeepSeekMath's process supervision by hand."""

from __future__ import annotations

import pytest
import torch

from agentark.distill import credit
from agentark.distill.data import DistillError


def test_rewards_at_step_ends():
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]])
    rewards = credit.token_rewards([[0.5, 0.25], [0.75], []], [[1, 3], [1], []], [1.0, 0.5, 0.0], mask)
    assert rewards.tolist() == [[0, 0.5, 0, 1.25], [0, 0.75, 0.5, 0], [0, 0, 0, 0]]
    with pytest.raises(DistillError, match="completion 0 has 1 step scores and 2 step ends"):
        credit.token_rewards([[0.5]], [[1, 3]], [0.0], mask)
    with pytest.raises(DistillError, match=r"completion 0 has 4 tokens, and step ends at \[4\]"):
        credit.token_rewards([[0.5]], [[4]], [0.0], mask)


IDS = [[1, 9, 2, 9], [3, 9, 3, 9], [4, 5, 9], [9, 9]]
ENDS = [[1, 3], [1, 3], [2], []]
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize("epsilon", [0.0, 0.2])
def test_advantages_by_hand(epsilon):
    """The scores 0, 1 and 0.5, 0.25 (a repeated step, which becomes 0) have mean 0.4375 and deviation 0.4270."""
    scores, ends = [[0.0, 1.0], [0.5, 0.25], [], []], [*ENDS[:2], [], []]
    found = credit.step_advantages(scores, ends, [0.0] * 4, IDS, MASK, 2, epsilon)
    mean, deviation = 0.4375, 0.42695 + epsilon
    first, second, third = ((value - mean) / deviation for value in (0.0, 1.0, 0.5))
    expected = [[first + second] * 2 + [second] * 2, [third + first] * 2 + [first] * 2, [0] * 4, [0] * 4]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-3, rtol=0)


def test_equal_scores_have_no_advantage_and_the_bonus_counts_at_the_last_step():
    scores = [[0.1, 0.1], [0.1, 0.1], [0.1], []]
    assert not credit.step_advantages(scores, ENDS, [0.0] * 4, IDS, MASK, 4, 1e-4).any()
    found = credit.step_advantages(scores, ENDS, [1.0, 0.0, 0.0, 0.0], IDS, MASK, 4, 1e-4)
    assert (found[0] > 0).all() and (found[1] < 0).all() and found[0, 2] > found[0, 0]
    assert (found[2, :3] < 0).all() and found[2, 3] == 0 and not found[3].any()


def test_groups_are_normalised_apart():
    one = credit.step_advantages([[0.0, 1.0], [0.5, 0.25]], ENDS[:2], [0.0] * 2, IDS[:2], MASK[:2], 2, 1e-4)
    scores = [[0.0, 1.0], [0.5, 0.25], [70.0, 71.0], [70.5, 70.25]]
    both = credit.step_advantages(scores, ENDS[:2] * 2, [0.0] * 4, IDS[:2] * 2, MASK[[0, 1, 0, 1]], 2, 1e-4)
    torch.testing.assert_close(both, torch.cat([one, one]), atol=1e-4, rtol=1e-3)


def test_steps_that_repeat():
    assert credit.repeats([1, 9, 2, 9, 1, 9, 1], [1, 3, 5, 6]) == [False, False, True, False]
    assert credit.repeats([1, 2], []) == []


def test_repetition_does_not_pay():
    """Four true lines, of which two are repeated, have a lower advantage at their beginning than the two alone."""
    ids, ends = [[1, 9, 2, 9], [1, 9, 2, 9, 1, 9, 2, 9], [5, 9]], [[1, 3], [1, 3, 5, 7], [1]]
    mask = torch.tensor([[1] * 4 + [0] * 4, [1] * 8, [1] * 2 + [0] * 6])
    found = credit.step_advantages([[0.9, 0.8], [0.9, 0.8, 0.9, 0.8], [0.1]], ends, [0.0] * 3, ids, mask, 3, 1e-4)
    assert found[0, 0] > 0 > found[1, 0]


def test_other_ends_than_the_scorer_are_refused():
    with pytest.raises(DistillError, match="completion 1 has 1 step scores and 2 step ends"):
        credit.step_advantages([[0.1, 0.2], [0.3]], ENDS[:2], [0.0] * 2, IDS[:2], MASK[:2], 2, 1e-4)
