"""From step scores to rewards: each aggregation by hand, what has no reward, and what is counted."""

import math

import pytest

from agentark.distill.data import DistillError
from agentark.distill.rewards import AGGREGATIONS, RewardFunction, aggregate, zero_variance

IDS = [[5, 6, 3], [7, 3], [3], [8, 9]]
CHATS = [[{"role": "user", "content": text}] for text in "aabb"]
TEXTS = [[{"role": "assistant", "content": text}] for text in ("right", "wrong", "", "right")]


def reward(scores, how="min", generations=2, **options):
    return RewardFunction(lambda prompts, ids: scores, how, generations, **options)


def ask(function, **columns):
    return function(prompts=CHATS, completions=TEXTS, completion_ids=IDS, problem=list("aabb"), **columns)


@pytest.mark.parametrize(
    ("how", "wanted"),
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
def test_each_aggregation(how, wanted):
    assert aggregate([0.9, 0.2, 0.4], how) == pytest.approx(wanted)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_one_step_is_its_own_aggregate_and_none_has_none(how):
    assert aggregate([0.7], how) == pytest.approx(0.7)
    assert aggregate([], how) is None


def test_softmin_of_large_scores_does_not_overflow():
    assert aggregate([-4000.0, 900.0], "softmin") == pytest.approx(-4000) and aggregate(
        [300.0, 300.0], "softmin"
    ) == pytest.approx(300)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("how", AGGREGATIONS)
def test_a_score_that_is_no_number(how, score):
    with pytest.raises(DistillError, match="no number"):
        aggregate([0.5, score], how)


def test_what_cannot_be_aggregated():
    with pytest.raises(DistillError, match="no aggregation 'max'.*min, mean, softmin, last, product"):
        aggregate([0.5], "max")
    with pytest.raises(DistillError, match="between 0 and 1"):
        aggregate([-2.0, -3.0], "product")


def test_rewards_and_their_counts():
    seen = {}
    function = reward([[0.9, 0.5], [0.5], [], [0.1, 0.4]])
    assert ask(function, log_metric=seen.__setitem__, trainer_state=None) == [0.5, 0.5, None, 0.1]
    assert (
        function.counts
        == seen
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
    asked = []

    def verify(text, problem):
        asked.append((text, problem))
        return text == "right"

    function = reward(scores, verify=verify, verifiable_weight=0.5)
    assert ask(function) == [1.4, 0.8, None, 0.6] and function.counts["accuracy"] == 0.5
    assert asked == [("right", "a"), ("wrong", "a"), ("", "b"), ("right", "b")]
    function = reward(scores, verify=verify)  # weight 0: measured, but no part of the reward
    assert ask(function) == [0.9, 0.8, None, 0.1] and function.counts["accuracy"] == 0.5
    with pytest.raises(DistillError, match="rl.verifiable_weight = 1.0 needs a verifier"):
        reward(scores, verifiable_weight=1.0)


def test_nothing_but_traces_without_steps():
    function = reward([[], [], [], []])
    assert ask(function) == [None] * 4
    assert function.counts == {"steps_per_trace": 0.0, "without_steps": 1.0, "zero_variance": 1.0}  # no mean is made up


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


def test_what_the_scorer_may_not_do():
    with pytest.raises(DistillError, match="scored 1 traces of 4"):
        ask(reward([[0.5]]))
    with pytest.raises(DistillError, match="no number"):
        ask(reward([[0.5], [0.5], [0.5], [math.nan]]))


def test_the_scorer_sees_chats_and_token_ids():
    seen = []
    function = RewardFunction(lambda prompts, ids: seen.append((prompts, ids)) or [[0.0]] * 4, "min", 2)
    ask(function)
    assert seen == [(CHATS, IDS)]
