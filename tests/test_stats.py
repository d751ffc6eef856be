"""Statistics: values computed by hand, edge cases, and invalid inputs."""

import numpy as np
import pandas as pd
import pytest

from agentark import stats


def test_wilson_of_8_in_10():
    # z = 1.959964; (0.8 + z²/20 ± z sqrt(0.016 + z²/400)) / (1 + z²/10)
    low, high = stats.wilson(8, 10)
    assert low == pytest.approx(0.490162, abs=1e-6) and high == pytest.approx(0.943318, abs=1e-6)


def test_wilson_at_the_borders():
    assert stats.wilson(0, 10) == (0.0, pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6))
    assert stats.wilson(10, 10)[1] == 1.0
    assert stats.wilson(5, 10, level=0.99)[0] < stats.wilson(5, 10)[0]


@pytest.mark.parametrize(
    ("k", "n", "message"),
    [(0, 0, "n > 0"), (11, 10, "between 0 and n"), (-1, 10, "between 0 and n"), (1, float("nan"), "n > 0")],
)
def test_wilson_refuses(k, n, message):
    with pytest.raises(ValueError, match=message):
        stats.wilson(k, n)


@pytest.mark.parametrize("level", [0, 1, 1.5, 95])
def test_wilson_refuses_a_level(level):
    with pytest.raises(ValueError, match="level"):
        stats.wilson(1, 2, level=level)


def discordant(only_a: int, only_b: int, same: int = 5) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([1] * only_a + [0] * only_b + [1] * same, dtype=bool)
    b = np.array([0] * only_a + [1] * only_b + [1] * same, dtype=bool)
    return a, b


def test_mcnemar_by_hand():
    # 1 against 8: 2 (C(9,0) + C(9,1)) / 2^9 = 20 / 512, whichever model is better, and however many items they agree on
    assert stats.mcnemar_exact(*discordant(1, 8)) == pytest.approx(20 / 512)
    assert stats.mcnemar_exact(*discordant(8, 1, same=500)) == pytest.approx(20 / 512)
    assert stats.mcnemar_exact(*discordant(0, 0)) == 1.0
    assert stats.mcnemar_exact(*discordant(3, 3)) == 1.0  # twice the tail is above 1


@pytest.mark.parametrize("test", [stats.mcnemar_exact, stats.paired_bootstrap])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([], [], "empty"), ([1, 0], [1], "length"), ([1, np.nan], [1, 0], "NaN"), ([[1]], [1], "flat")],
)
def test_paired_tests_refuse(test, a, b, message):
    with pytest.raises(ValueError, match=message):
        test(a, b)


def test_mcnemar_refuses_scores():
    with pytest.raises(ValueError, match="0 or 1"):
        stats.mcnemar_exact([0.5, 1], [1, 0])


def test_bootstrap_of_right_and_wrong():
    a, b = discordant(10, 30, same=160)
    difference, low, high = stats.paired_bootstrap(a, b)
    assert difference == pytest.approx(0.1)
    half = 1.96 * np.sqrt((0.2 - 0.1**2) / 200)  # normal approximation of the paired difference
    assert low == pytest.approx(0.1 - half, abs=0.01) and high == pytest.approx(0.1 + half, abs=0.01)
    assert stats.paired_bootstrap(a, b) == (difference, low, high)  # seeded


def test_both_bootstraps_agree():
    """The multinomial of pair kinds and the resampling of items are the same bootstrap."""
    a, b = discordant(10, 30, same=160)
    counted = stats.paired_bootstrap(a, b, resamples=4000)
    itemwise = stats.paired_bootstrap(a * 2.0, b * 2.0, resamples=4000)  # not 0/1, so items are resampled
    assert np.array(itemwise) / 2 == pytest.approx(counted, abs=0.008)


def test_bootstrap_sign_and_no_difference():
    a, b = discordant(30, 10)
    assert stats.paired_bootstrap(a, b)[2] < 0
    assert stats.paired_bootstrap(a, a) == (0, 0, 0)
    with pytest.raises(ValueError, match="resample"):
        stats.paired_bootstrap(a, b, resamples=0)


def test_holm_of_three():
    # sorted 0.01, 0.03, 0.04 times 3, 2, 1 = 0.03, 0.06, 0.04; the last is raised to the one before it
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert stats.holm([0.2]) == pytest.approx([0.2])
    assert stats.holm([0, 1]) == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("p", "message"),
    [([], "at least one"), ([0.1, np.nan], "NaN, first at position 1"), ([1.2], "between"), ([-0.1], "between")],
)
def test_holm_refuses(p, message):
    with pytest.raises(ValueError, match=message):
        stats.holm(p)


def test_smallest_detectable_solves_its_equation():
    n, s = 400, 0.2
    d = stats.smallest_detectable(n, s)
    assert d * np.sqrt(n) == pytest.approx(1.959964 * np.sqrt(s) + 0.841621 * np.sqrt(s - d * d), abs=1e-5)
    assert d == pytest.approx(0.06246, abs=1e-5)  # (1.959964 · 0.447214 + 0.841621 · 0.442830) / 20
    assert stats.smallest_detectable(1600, s) < d < stats.smallest_detectable(n, s, level=0.999)
    assert stats.smallest_detectable(n, 0.4) > d


def test_smallest_detectable_is_never_zero_and_never_beyond_the_disagreement():
    for s in (0.0, 0.001):
        d = stats.smallest_detectable(100, s)
        assert 100 * d == pytest.approx((1.959964 + 0.841621 * np.sqrt(1 - d)) ** 2, abs=1e-4) and d > s
    assert stats.smallest_detectable(3, 1.0) == np.inf
    with pytest.raises(ValueError, match="n >= 1"):
        stats.smallest_detectable(0, 0.1)
    with pytest.raises(ValueError, match="share"):
        stats.smallest_detectable(10, 1.1)


def test_smallest_detectable_is_detected():
    """Simulated: McNemar's test finds a difference of that size in about 80 % of the runs (less, as it is exact)."""
    n, s = 300, 0.25
    d = stats.smallest_detectable(n, s)
    runs = np.random.default_rng(0).multinomial(n, [(s + d) / 2, (s - d) / 2, 1 - s], size=200)
    detected = np.mean([stats.mcnemar_exact(*discordant(lost, won, same)) < 0.05 for won, lost, same in runs])
    assert 0.68 < detected < 0.88


def test_effective_size():
    items = np.repeat(np.arange(50), 4)
    assert stats.effective_size(np.repeat(np.arange(50) % 2, 4), items) == pytest.approx(50)  # 4 copies count as one
    assert stats.effective_size(np.arange(50) % 2, np.arange(50)) == 50
    independent = stats.effective_size(np.random.default_rng(0).random(200) < 0.5, items)
    assert 120 < independent <= 200
    with pytest.raises(ValueError, match="as many items"):
        stats.effective_size([1, 0], [1])


def test_unpaired_difference_is_newcombes():
    # Newcombe 1998, his example (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339
    b, a = (0.8, *stats.wilson(56, 70)), (0.6, *stats.wilson(48, 80))
    assert stats.unpaired_difference(*a, *b) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_verdict_needs_both():
    assert stats.verdict(0.1, 0.02, 0.18, 0.01) == "better"
    assert stats.verdict(-0.1, -0.18, -0.02, 0.01) == "worse"
    assert stats.verdict(0.1, -0.01, 0.21, 0.01) == "no difference detectable"
    assert stats.verdict(0.1, 0.02, 0.18, 0.01, alpha=0.001) == "no difference detectable"


def test_verdict_at_the_limits():
    """A p of exactly alpha is enough; an interval that touches 0 is not."""
    assert stats.verdict(0.1, 0.02, 0.18, 0.05) == "better" and stats.verdict(-0.1, -0.18, -0.02, 0.05) == "worse"
    for low, high in ((0.0, 0.2), (-0.2, 0.0), (-0.3, 0.5)):
        assert stats.verdict((low + high) / 2, low, high, 0.01) == "no difference detectable"
    assert stats.verdict(-0.1, -0.3, 0.1, 0.01) == stats.verdict(0, 0, 0, 1) == "no difference detectable"


def test_verdict_is_never_better_above_alpha():
    for p in (0.0501, 0.2, 1.0):
        assert stats.verdict(0.5, 0.4, 0.6, p) == stats.verdict(-0.5, -0.6, -0.4, p) == "no difference detectable"


def test_verdict_refuses():
    with pytest.raises(ValueError, match="NaN"):
        stats.verdict(0.1, 0.0, 0.2, float("nan"))
    with pytest.raises(ValueError, match="upside down"):
        stats.verdict(0.1, 0.2, 0.0, 0.01)


def test_paired_bootstrap_treats_rounding_as_zero():
    # A resample with each item once has mean 0; in floating point, in some orders, 9e-18.
    a, b = np.zeros(3), np.array([0.1, 0.2, -0.3])
    ends = [
        end
        for level in np.linspace(0.01, 0.99, 99)
        for end in stats.paired_bootstrap(a, b, resamples=999, level=level)[1:]
    ]
    assert 0.0 in ends and not [end for end in ends if 0 < abs(end) < 1e-12]


def test_scores_between_0_and_1():
    a, b = np.array([0.0, 0.2, 0.4, 0.5]), np.array([0.1, 0.4, 0.4, 0.9])
    # b - a has mean 0.175, standard deviation 0.170783 and standard error 0.0853913, so t = 2.04939;
    # p = 1 - 2 (atan x + x / (1 + x²)) / pi with x = t / sqrt(3).
    d = b - a
    assert stats.paired_p(a, b) == pytest.approx(0.132842, abs=1e-5) and stats.paired_p(a, a) == 1.0
    assert stats.smallest_detectable_of(a, b, 0.95, 0.8) == pytest.approx((1.959964 + 0.841621) * d.std(ddof=1) / 2)
    low, high = stats.mean_interval(b)
    assert 0.1 <= low < b.mean() < high <= 0.9
    # scores of 0 and 1 use the binary tests
    right, other = np.array([1, 1, 0, 1.0]), np.array([0, 0, 0, 1.0])
    assert stats.paired_p(other, right) == stats.mcnemar_exact(other, right) == 0.5
    assert stats.mean_interval(right) == stats.wilson(3, 4)
    assert stats.smallest_detectable_of(other, right) == stats.smallest_detectable(4, 0.5)


def test_crossed_by_hand():
    # Every seed wins the same quarter of 100 items: only items vary, their variance is 0.1875 · 100/99 / 100.
    same = np.tile([1.0, 0.0, 0.0, 0.0], (3, 25))
    found = stats.crossed(same)
    assert found.difference == pytest.approx(0.25) and found.error == pytest.approx((0.1875 / 99) ** 0.5)
    assert found.freedom == pytest.approx(99) and (found.seeds, found.clusters, found.debates) == (3, 100, 1)
    reach = 1.98422 * (0.1875 / 99) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.25 - reach, 0.25 + reach), abs=1e-5)
    # Only seeds vary: Student's interval of 0.1, 0.2, 0.3.
    flat = stats.crossed(np.tile([[0.1], [0.2], [0.3]], (1, 50)))
    assert flat[:4] == pytest.approx(stats.t_interval([0.1, 0.2, 0.3])) and flat.freedom == pytest.approx(2)
    # One seed: Student's interval over the items.
    items = np.array([1.0, 0, -1, 1, 1, 0, 1])
    assert stats.crossed([items])[:4] == pytest.approx(stats.t_interval(items))


def test_crossed_counts_an_item_in_copies_once():
    rng = np.random.default_rng(1)
    items = rng.integers(-1, 2, 40) + 0.1 * rng.standard_normal((3, 40))
    copies = stats.crossed(np.repeat(items, 4, axis=1), np.repeat(np.arange(40), 4))
    assert copies[:6] == pytest.approx(stats.crossed(items)[:6]) and copies.clusters == 40
    assert stats.crossed(np.repeat(items, 4, axis=1)).error < 0.8 * copies.error


def test_crossed_averages_and_subtracts_sets():
    rng = np.random.default_rng(2)
    first, second = rng.integers(-1, 2, (4, 30)) + 0.5, rng.integers(-1, 2, (4, 60)) + 0.0
    sets, both = ["a"] * 30 + ["b"] * 60, np.hstack([first, second])
    assert stats.crossed(both, sets=sets).difference == pytest.approx((first.mean() + second.mean()) / 2)
    minus = stats.crossed(both, sets=sets, weights={"a": 1, "b": -1})
    assert minus.difference == pytest.approx(first.mean() - second.mean())
    # Of the same items in both sets, what they share cancels out.
    sames = stats.crossed(
        np.hstack([first, first]), [*range(30)] * 2, sets=["a"] * 30 + ["b"] * 30, weights={"a": 1, "b": -1}
    )
    assert (sames.difference, sames.error, sames.p) == (0, 0, 1)


def test_crossed_has_no_smallest_p():
    rng = np.random.default_rng(3)
    lead = stats.crossed((rng.random((5, 1000)) < 0.05).astype(float))
    assert 0 < lead.p < 1e-20
    row = np.repeat([1.0, -1.0, 0.0], [7, 6, 7])
    rows = np.stack([row, np.roll(row, 5), np.roll(row, 11)])
    p = stats.crossed(rows).p  # is that of any unit
    assert 0.5 < p < 1 and [stats.crossed(rows * unit).p for unit in (0.1, 1 / 3, 1e-9, 3e9)] == pytest.approx([p] * 4)
    tie = stats.crossed(np.zeros((2, 10)))
    assert tie[:4] == (0, 0, 0, 1) and tie.detectable(0.95) == np.inf
    assert stats.crossed(np.ones((2, 4))).p == 2 / 2**4  # nothing varies: the sign test over four items


@pytest.mark.parametrize(
    ("values", "more", "message"),
    [
        (np.zeros((0, 5)), {}, "shape"),
        (np.zeros(5), {}, "shape"),
        (np.full((2, 2), np.nan), {}, "NaN"),
        (np.zeros((2, 3)), {"clusters": [1, 2]}, "3 items need as many clusters"),
        (np.zeros((2, 3)), {"debates": [1]}, "as many debates"),
        (np.zeros((2, 3)), {"sets": "aab", "weights": {"a": 1}}, "weights are of the sets"),
        (np.ones((1, 3)), {"clusters": [1, 1, 1]}, "one cluster of one seed"),
        (np.zeros((2, 3)), {"level": 95}, "level"),
    ],
)
def test_crossed_refuses(values, more, message):
    with pytest.raises(ValueError, match=message):
        stats.crossed(values, **more)


def study_without_effect(rng, debates: int, seeds: int, clusters: int = 80):
    """Scores of -1, 0 or 1 around 0 of `debates` × `seeds` students on clusters of one to three items.

    Three sources of variance beside chance: the debate, the training seed and the cluster of items.
    """
    cluster = np.repeat(np.arange(clusters), np.arange(clusters) % 3 + 1)
    debate = np.repeat(np.arange(debates), seeds)
    size = (len(debate), len(cluster))
    lean = rng.normal(0, 0.1, debates)[debate, None] + rng.normal(0, 0.1, (len(debate), 1))
    lean = lean + rng.normal(0, 0.5, clusters)[cluster] + rng.normal(0, 0.3, size) + rng.logistic(0, 0.5, size)
    return np.where(np.abs(lean) > 0.8, np.sign(lean), 0.0), cluster, debate


@pytest.mark.parametrize(("debates", "seeds"), [(5, 1), (4, 2)])
def test_false_alarms_of_crossed_with_three_sources_of_variance(debates, seeds):
    rng = np.random.default_rng(0)
    runs = (study_without_effect(rng, debates, seeds) for _ in range(1000))
    alarms = np.mean([stats.crossed(d, clusters, debates=debate).p < 0.05 for d, clusters, debate in runs])
    assert 0.03 < alarms < 0.07


def test_what_a_test_without_its_sources_of_variance_finds_in_nothing():
    """One debate, or items as if they stood alone: more false alarms than the level allows."""
    rng = np.random.default_rng(0)
    runs = [study_without_effect(rng, 1, 5) for _ in range(300)]
    assert np.mean([stats.crossed(d, clusters).p < 0.05 for d, clusters, _ in runs]) > 0.09
    runs = [study_without_effect(rng, 5, 1) for _ in range(300)]
    assert np.mean([stats.crossed([d.mean(0)]).p < 0.05 for d, _, _ in runs]) > 0.15


def test_a_table_of_comparisons_is_decided_with_holms_correction():
    rows = [(2.0, 1.0, 3.0, 0.02), (-2.0, -3.0, -1.0, 0.01), (1.0, -1.0, 3.0, 0.4), (np.nan, np.nan, np.nan, np.nan)]
    table = pd.DataFrame(rows, columns=["difference", "low", "high", "p"])
    decided = stats.decided(table.assign(detectable=[lambda level: level] * 4), 0.95)
    assert decided.p_holm[:3].tolist() == pytest.approx([0.04, 0.03, 0.4])  # 2 × .02, 3 × .01, 1 × .4
    assert np.isnan(decided.p_holm[3])  # it compares nothing, and is none of those that are corrected for
    assert decided.verdict.tolist() == ["better", "worse", "no difference detectable", ""]
    assert decided.smallest_detectable.tolist() == pytest.approx([1 - 0.05 / 3] * 4)  # Holm's first step
    assert "detectable" not in decided and "verdict" not in table
    assert "smallest_detectable" not in stats.decided(table, 0.95)
    assert stats.decided(table[:3].assign(p=0.04), 0.95).verdict[0] == "no difference detectable"  # 3 × .04


def test_the_columns_of_a_crossed_comparison():
    found = stats.crossed(np.array([[1.0, 0, 1, 0], [0, 0, 1, 1]]))
    row = found.columns()
    assert [row[name] for name in ("difference", "low", "high", "p")] == list(found[:4])
    assert row["detectable"](0.95) == found.detectable(0.95)
