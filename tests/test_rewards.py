"""From step scores to rewards: each aggregation by hand, traces without a reward, and the counts."""

import math

import pytest

from agentark.distill.data import DistillError
from agentark.distill.rewards import AGGREGATIONS, RewardFunction, aggregate, zero_variance

IDS = [[5, 6, 3], [7, 3], [3], [8, 9]]
CHATS = [[{"role": "user", "content": text}] for text in "aabb"]
TEXTS = [[{"role": "assistant", "content": text}] for text in ("right", "wrong", "", "right")]


def reward(scores, aggregation="min", generations=2, **options):
    return RewardFunction(lambda prompts, ids: scores, aggregation, generations, **options)


def call(function, **columns):
    return function(prompts=CHATS, completions=TEXTS, completion_ids=IDS, problem=list("aabb"), **columns)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("min", 0.2),
        ("mean", 0.5),
        ("last", 0.4),
        ("product", 0.9 * 0.2 * 0.4),
        (
            "softmin",
            (0.9 * math.exp(-9) + 0.2 * math.exp(-2) + 0.4 * math.exp(-4))
            / (math.exp(-9) + math.exp(-2) + math.exp(-4)),
        ),
    ],
)
def test_each_aggregation(aggregation, expected):
    assert aggregate([0.9, 0.2, 0.4], aggregation) == pytest.approx(expected)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_one_step_is_its_own_aggregate_and_no_steps_have_none(aggregation):
    assert aggregate([0.7], aggregation) == pytest.approx(0.7)
    assert aggregate([], aggregation) is None


def test_softmin_of_large_scores_does_not_overflow():
    assert aggregate([-4000.0, 900.0], "softmin") == pytest.approx(-4000) and aggregate(
        [300.0, 300.0], "softmin"
    ) == pytest.approx(300)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_score_that_is_not_a_number(aggregation, score):
    with pytest.raises(DistillError, match="not a number"):
        aggregate([0.5, score], aggregation)


def test_unknown_aggregations_and_products_of_logits():
    with pytest.raises(DistillError, match="unknown aggregation 'max'.*min, mean, softmin, last, product"):
        aggregate([0.5], "max")
    with pytest.raises(DistillError, match="between 0 and 1"):
        aggregate([-2.0, -3.0], "product")


def test_rewards_and_their_counts():
    metrics = {}
    function = reward([[0.9, 0.5], [0.5], [], [0.1, 0.4]])
    assert call(function, log_metric=metrics.__setitem__, trainer_state=None) == [0.5, 0.5, None, 0.1]
    assert (
        function.counts
        == metrics
        == {
            "steps_per_trace": 1.25,
            "without_steps": 0.25,
            "zero_variance": 1.0,
            "mean_reward": pytest.approx(1.1 / 3),
            "min_at_last": 0.5,
        }
    )
    assert function.step_scores == [[0.9, 0.5], [0.5], [], [0.1, 0.4]] and function.bonus == [0.0] * 4


def test_the_verifiable_reward():
    scores = [[0.9], [0.8], [], [0.1]]
    verified = []

    def verify(text, problem):
        verified.append((text, problem))
        return text == "right"

    function = reward(scores, verify=verify, verifiable_weight=0.5)
    assert call(function) == [1.4, 0.8, None, 0.6] and function.counts["accuracy"] == 0.5
    assert verified == [("right", "a"), ("wrong", "a"), ("", "b"), ("right", "b")]
    function = reward(scores, verify=verify)  # weight 0: measured, but no part of the reward
    assert call(function) == [0.9, 0.8, None, 0.1] and function.counts["accuracy"] == 0.5
    with pytest.raises(DistillError, match="rl.verifiable_weight = 1.0 needs a verifier"):
        reward(scores, verifiable_weight=1.0)


def test_only_traces_without_steps():
    function = reward([[], [], [], []])
    assert call(function) == [None] * 4
    assert function.counts == {"steps_per_trace": 0.0, "without_steps": 1.0, "zero_variance": 1.0}  # and no mean_reward


@pytest.mark.parametrize(
    ("rewards", "groups"),
    [
        ([1.0, 1.0, 0.0, 1.0], 1),
        ([1.0, None, 0.5, 0.5], 2),
        ([None, None, 0.0, 1e-3], 1),
        ([1.0, 1.0 + 1e-12, 0.0, 1.0], 1),
        ([0.1, 0.2, 0.2, 0.1], 0),
    ],
)
def test_groups_without_variance(rewards, groups):
    assert zero_variance(rewards, 2) == groups


def test_invalid_scores_are_refused():
    with pytest.raises(DistillError, match="scored 1 traces of 4"):
        call(reward([[0.5]]))
    with pytest.raises(DistillError, match="not a number"):
        call(reward([[0.5], [0.5], [0.5], [math.nan]]))


def test_the_scorer_sees_chats_and_token_ids():
    arguments = []
    function = RewardFunction(lambda prompts, ids: arguments.append((prompts, ids)) or [[0.0]] * 4, "min", 2)
    call(function)
    assert arguments == [(CHATS, IDS)]
