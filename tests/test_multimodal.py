"""What a student that sees gains on text, by how much more than a text-only one, and what it sees before and after."""

import numpy as np
import pandas as pd
import pytest

from agentark import params, store, tasks
from agentark.cells import Files
from agentark.graph.job import Study
from agentark.report import multimodal, multimodal_shown, open_ended
from agentark.tasks.mini_pictures import EXCHANGED
from agentark.zoo import seeing

N, SEES, READS = 40, "zoo/qwen2.5-vl-3b", "zoo/gemma-7b"
SEEDS = (0, 1, 2)


def answers(student: str, method: str, test: str, right, seed: int = 0) -> pd.DataFrame:
    """The rows of one cell; right(number): whether the answer to a question is right."""
    base = method == "base"
    place = {"teacher": "-" if base else "zoo/qwen3-32b", "student": student, "method": method, "test": test}
    place |= {"train": "-" if base else "mini_gsm", "protocol": "-" if base else "debate", "seed": seed}
    rows = [{"item": p.id, "gold": p.answer, "correct_flexible": bool(right(k))} for k, p in enumerate(problems(test))]
    return pd.DataFrame(rows).assign(sample=-1, **place)


def problems(test: str) -> list[tasks.Problem]:
    return tasks.problems(test, "test", N // 2 if test == EXCHANGED else N)


def first(share: float):
    return lambda number: number < share * N


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    """The seeing student gains 10 points on mini_gsm by R-SFT, the text-only one 30, with gold solutions both 50.

    Its own picture is worth half of the questions to the seeing student, another picture nothing; R-SFT unlearns all of
    it, gold solutions nothing.
    """
    parts = []
    for student, gain in ((SEES, 0.1), (READS, 0.3)):
        parts.append(answers(student, "base", "mini_gsm", first(0.4)))
        for seed in SEEDS:
            parts.append(answers(student, "rsft", "mini_gsm", first(0.4 + gain), seed))
            parts.append(answers(student, "gold_rsft", "mini_gsm", first(0.9), seed))
    for test, seen in ((seeing.TASK, lambda n: n % 2), (EXCHANGED, lambda n: False)):
        parts.append(answers(SEES, "base", test, seen))
        for seed in SEEDS:
            parts.append(answers(SEES, "rsft", test, lambda n: False, seed))
            parts.append(answers(SEES, "gold_rsft", test, seen, seed))
    return pd.concat(parts, ignore_index=True)


def test_gains_by_hand(predictions):
    table = multimodal.gains(predictions, 0.95).set_index(["student", "method", "against"])
    assert len(table) == 2 * 3 and set(table.test) == {"mini_gsm"}
    rsft = table.loc[SEES, "rsft", "base"]
    assert (rsft.seeds, rsft.n, rsft.accuracy, rsft.against_accuracy) == (3, N, pytest.approx(0.5), pytest.approx(0.4))
    assert rsft.difference == pytest.approx(0.1) and rsft.low < 0.1 < rsft.high and rsft.p <= rsft.p_holm
    assert rsft.verdict == "better" and rsft.smallest_detectable > rsft.high - rsft.difference
    # the standard error of a mean of 4 ones and 36 noughts, which the three seeds have in common
    error = np.std([1] * 4 + [0] * 36, ddof=1) / np.sqrt(N)
    assert (rsft.high - rsft.low) / 2 == pytest.approx(2.0227 * error, rel=1e-3)
    assert table.loc[READS, "gold_rsft", "base"].verdict == "better"
    control = table.loc[SEES, "rsft", "gold_rsft"]
    assert control.difference == pytest.approx(-0.4) and control.verdict == "worse"
    assert 0 < rsft.chance < 0.1


def test_the_gap_by_hand(predictions):
    table = multimodal.gaps(predictions, 0.95).set_index("method")
    rsft, gold = table.loc["rsft"], table.loc["gold_rsft"]
    assert (rsft.seeing, rsft.text_only, rsft.seeds, rsft.n) == (SEES, READS, 3, N)
    assert (rsft.gain_seeing, rsft.gain_text_only) == (pytest.approx(0.1), pytest.approx(0.3))
    assert rsft.difference == pytest.approx(-0.2) and rsft.verdict == "worse"
    assert (gold.difference, gold.p_holm, gold.verdict) == (0, 1, "no difference detectable")


def test_what_is_seen_by_hand(predictions):
    table = multimodal.sight(predictions, 0.95)
    assert list(table) == multimodal.SIGHT and list(table.method.unique()) == ["base", "gold_rsft", "rsft"]
    everything = table[table.kind == "all"].set_index("method")
    base, rsft, gold = (everything.loc[name] for name in ("base", "rsft", "gold_rsft"))
    assert (base.n, base.seeds, base.exchanged) == (N, 1, 0)
    assert (base.accuracy, base.looked) == pytest.approx((0.5, 0.5))
    assert base.looked_low > 0 and pd.isna(base.change) and pd.isna(base.sight)
    assert (rsft.accuracy, rsft.change, rsft.looked) == pytest.approx((0, -0.5, 0)) and rsft.sight == "worse"
    assert (gold.accuracy, gold.change, gold.looked) == pytest.approx((0.5, 0, 0.5)) and gold.sight == "not worse"
    kinds = table[(table.method == "base") & (table.kind != "all")].set_index("kind")
    expected = pd.Series([seeing.kind_of(p) for p in problems(seeing.TASK)]).value_counts()
    assert kinds.n.to_dict() == expected.to_dict() and base.n == kinds.n.sum()
    assert base.chance == pytest.approx((kinds.chance * kinds.n).sum() / N)
    assert kinds.loc["compare"].chance > kinds.loc["read"].chance  # which of two kinds is asked for


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.049, 0.02, "not worse"),
        (-0.051, 0.02, "undecided"),
        (-0.04, -0.01, "worse"),
        (0.01, 0.02, "not worse"),
        (float("nan"), float("nan"), "undecided"),
    ],
)
def test_a_loss_is_judged_by_its_interval(low, high, expected):
    assert multimodal.unharmed(low, high, 0.05) == expected


def test_who_sees_is_who_answers_about_pictures(predictions):
    assert multimodal.sighted(predictions) == [SEES]
    blind = predictions[~predictions.test.map(tasks.has_pictures)]
    assert multimodal.sighted(blind) == [] and multimodal.gaps(blind, 0.95).empty
    assert list(multimodal.sight(blind, 0.95)) == multimodal.SIGHT


def test_without_the_exchanged_pictures_nothing_is_said_of_looking(predictions):
    table = multimodal.sight(predictions[predictions.test != EXCHANGED], 0.95)
    assert table.exchanged.isna().all() and table.looked.isna().all() and table.accuracy.notna().all()
    shown = multimodal_shown.sight(table)
    assert (shown["another picture (%)"] == "").all() and (shown["own minus another [95 %]"] == "").all()


def test_one_seed_and_no_answers_give_empty_tables(predictions, tmp_path, capsys):
    none = open_ended.answers(Files(tmp_path / "none"))
    for rows in (none, predictions[predictions.seed == 0]):
        gains, gaps = multimodal.gains(rows, 0.95), multimodal.gaps(rows, 0.95)
        assert gains.empty and gaps.empty
        assert multimodal_shown.gains(gains).empty and multimodal_shown.gaps(gaps).empty
        with pytest.raises(ValueError, match="no student was trained with two seeds"):
            multimodal_shown.figure(gains, multimodal.sight(rows, 0.95))
    assert multimodal.sight(none, 0.95).empty and multimodal_shown.sight(multimodal.sight(none, 0.95)).empty


def test_the_tables_for_reading_and_the_figure(predictions):
    gains, seen = multimodal.gains(predictions, 0.95), multimodal.sight(predictions, 0.95)
    shown = multimodal_shown.gains(gains)
    assert len(shown) == len(gains) and "+10.0 [" in " ".join(shown["difference (points) [95 %]"])
    gaps = multimodal_shown.gaps(multimodal.gaps(predictions, 0.95))
    assert sorted(gaps["seeing: gain"]) == ["+10.0", "+50.0"]
    everything = multimodal_shown.sight(seen[seen.kind == "all"])
    assert everything.sight.tolist() == ["", "not worse", "worse"] and not everything.isna().any(axis=None)
    figure = multimodal_shown.figure(gains, seen)
    left, right = figure.axes
    changes = [line for line in left.lines if len(line.get_xdata()) == 1]
    assert sorted(round(line.get_xdata()[0]) for line in changes) == [10, 30, 50, 50]
    assert [label.get_text() for label in right.get_yticklabels()] == ["all", *seeing.KINDS]


@pytest.mark.parametrize(("study", "expected"), [("mini", []), ("mini-vision", ["16_multimodal"])])
def test_a_study_with_pictures_has_the_notebook(study, expected):
    config, _ = params.load(store.ROOT / "params" / f"{study}.yaml")
    jobs = list(multimodal.jobs(Study(config)))
    assert [job.notebook for job in jobs] == expected
    for job in jobs:
        assert not job.models and {path.name for path in job.outputs} == {
            "multimodal.csv",
            "multimodal_gaps.csv",
            "multimodal_pictures.csv",
        }
