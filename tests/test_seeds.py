"""Several training seeds: which are compared, on what, and that a difference of one seed is none."""

import pandas as pd
import pytest
from test_report import cell

from agentark.distill.method import methods
from agentark.report import seeds


def rows(**shares):
    """Cells of one student on mini_gsm; a list is an accuracy a seed, a number the untrained base's."""
    parts = []
    for method, share in shares.items():
        if method == "base":
            parts.append(cell("base", share, student="s"))
        else:
            parts += [cell(method, one, "big", "s", "mini_gsm", seed=seed) for seed, one in enumerate(share)]
    return pd.concat(parts, ignore_index=True)


def test_by_hand():
    table = seeds.over_seeds(rows(base=0.4, pad=[0.6, 0.7, 0.8], ppo=[0.5, 0.5, 0.5]), 0.95).set_index(
        ["method", "against"]
    )
    pad = table.loc["pad", "base"]
    assert (pad.seeds, pad.n) == (3, 40)
    assert (pad.accuracy, pad.against_accuracy, pad.difference, pad.seed_sd) == (
        pytest.approx(0.7),
        0.4,
        pytest.approx(0.3),
        pytest.approx(0.1),
    )
    assert pad.low < 0.3 < pad.high and pad.verdict == "better"
    assert table.loc["ppo", "pad"].difference == pytest.approx(-0.2)
    assert set(table.index) == {("pad", "base"), ("ppo", "base"), ("ppo", "pad")}
    assert (table.p_holm >= table.p).all()


def test_only_seeds_and_items_that_both_have():
    both = rows(rsft=[0.5, 0.5, 0.5], pad=[0.5, 0.5])
    pair = seeds.over_seeds(both, 0.95).set_index(["method", "against"]).loc["pad", "rsft"]
    assert pair.seeds == 2 and pair.difference == 0 and pair.verdict == "no difference detectable"


def test_one_seed_gives_an_empty_table():
    assert seeds.over_seeds(rows(base=0.4, pad=[0.6]), 0.95).empty


def test_the_form_of_table_5():
    five = seeds.ppo_and_grpo(seeds.over_seeds(rows(base=0.4, pad=[0.6, 0.7], ppo=[0.5, 0.4]), 0.95))
    assert five[["base", "PPO", "GRPO"]].iloc[0].tolist() == pytest.approx([40, 45, 65])


def test_samples_are_compared_with_samples():
    greedy = rows(base=0.4, pad=[0.6, 0.6])
    sampled = pd.concat(
        [
            cell("base", 0.2, student="s", sample=0),
            *(cell("pad", 0.7, "big", "s", "mini_gsm", seed=seed, sample=0) for seed in (0, 1)),
            cell("base", 0.9, student="s", sample=1),
        ]
    )  # a second sample is not looked at
    table = seeds.over_seeds(pd.concat([greedy, sampled]), 0.95).set_index("decoding")
    assert table.loc["greedy"].difference == pytest.approx(0.2) and table.loc["sampled"].difference == pytest.approx(
        0.5
    )


def test_the_accuracies_of_each_seed():
    table = seeds.over_seeds(rows(base=0.4, pad=[0.6, 0.7, 0.8]), 0.95).iloc[0]
    assert table.accuracies == pytest.approx([0.6, 0.7, 0.8]) and table.against_accuracies == pytest.approx([0.4] * 3)


def test_a_method_is_compared_with_the_controls_that_it_declares():
    """`chance_select` declares none, so that only the base is left; no file lists the pairs."""
    names = {"prm_select": [0.5, 0.6], "chance_select": [0.4, 0.4], "sft": [0.3, 0.3]}
    table = seeds.over_seeds(rows(base=0.4, **names), 0.95)
    pairs = {(r.method, r.against) for r in table.itertuples()}
    declared = {(name, against) for name in names for against in ("base", *methods()[name].controls)}
    assert pairs == {pair for pair in declared if pair[1] in {"base", *names}} > {("prm_select", "chance_select")}


def test_protocols_and_axis_values_are_kept_apart():
    def shared(method, shares, **columns):
        parts = [cell(method, share, "big", "s", "mini_gsm", seed=seed) for seed, share in enumerate(shares)]
        return pd.concat(parts).assign(**columns)

    base = [
        cell("base", share, student="s").assign(**{"evaluate.top_p": top_p})
        for top_p, share in ((0.5, 0.1), (1.0, 0.2))
    ]
    parts = [
        shared("pad", shares, protocol=protocol, **{"evaluate.top_p": top_p})
        for protocol, top_p, shares in (
            ("debate", 0.5, [0.3, 0.5]),
            ("debate", 1.0, [0.8, 0.8]),
            ("shuffled", 1.0, [0.6, 0.6]),
        )
    ]
    table = seeds.over_seeds(pd.concat([*base, *parts]), 0.95)
    assert table.set_index(["protocol", "evaluate.top_p"]).difference.to_dict() == pytest.approx(
        {("debate", 0.5): 0.3, ("debate", 1.0): 0.6, ("shuffled", 1.0): 0.4}
    )


def test_items_that_share_a_source_are_one_cluster(monkeypatch):
    """If all items are one cluster, only the seeds are left: differences 0.2, 0.3, 0.4 by Student's t."""
    monkeypatch.setattr(seeds, "clusters", lambda test, items: dict.fromkeys(items, "all"))
    table = seeds.over_seeds(rows(base=0.4, pad=[0.6, 0.7, 0.8]), 0.95).iloc[0]
    assert table.p == pytest.approx(0.0351, abs=1e-3) and table.low == pytest.approx(0.0516, abs=1e-4)
