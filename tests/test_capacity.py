"""Reward models on several backbones: size and exposure, knowledge, gains, larger minus smaller, and Table 4."""

import json
import re

import pandas as pd
import pytest

from agentark import cli, notebook, params, store
from agentark.cells import Files
from agentark.cells.cell import NONE
from agentark.evaluate.criteria import REWARD_MODEL, USABLE
from agentark.graph.job import Study
from agentark.params import ParamsError
from agentark.plan.rates import models as networks
from agentark.report import capacity, capacity_shown, collect, exam_and_gain, scorecard, tables

OWN, SMALL, LARGE = "zoo/qwen3-0.6b", "zoo/qwen3-0.6b-teacher", "zoo/qwen3-8b-teacher"
POLICIES = ("zoo/qwen3-0.6b", "zoo/qwen3-8b")
N, AXIS = 40, capacity.BACKBONE
RIGHT = {  # right answers of 40, from the first item on
    ("base", NONE): 10, ("chance_select", NONE): 8, ("truth_select", NONE): 30,
    ("prm_select", OWN): 10, ("prm_select", SMALL): 16, ("prm_select", LARGE): 26,
    ("likelihood_select", OWN): 10, ("likelihood_select", SMALL): 12, ("likelihood_select", LARGE): 20,
}  # fmt: skip


def answers(policy: str, method: str, backbone: str, seed: int = 0) -> pd.DataFrame:
    base = method == "base"
    place = {"teacher": NONE if base else "zoo/qwen3-32b", "student": policy, "method": method, "test": "mini_gsm"}
    place |= {"train": NONE if base else "mini_gsm", "protocol": NONE if base else "debate", "seed": seed}
    right = [n < RIGHT[method, backbone] for n in range(N)]
    items = [f"p{n}" for n in range(N)]
    rows = pd.DataFrame({"item": items, "sample": -1, "gold": "1", "correct_flexible": right})
    return rows.assign(**place, **{AXIS: backbone})


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return pd.concat([answers(policy, *cell) for policy in POLICIES for cell in RIGHT], ignore_index=True)


@pytest.fixture(scope="module")
def compared(predictions) -> pd.DataFrame:
    return tables.comparisons(predictions, resamples=300)


def examination(policy: str, backbone: str, best: float, usable: bool) -> pd.DataFrame:
    """The rows of an examination that `capacity` reads, on the policy's own traces."""
    measures = {"best of N": best, "pass at N": 0.5, "errors that lower the score": 0.9, "step AUROC": 0.8}
    measures |= {"best of N - vote": best - 0.2}
    rows = [
        {"scorer": scorer, "measure": m, "value": v - less, "low": v - 0.1, "high": v + 0.1, "chance": 0.2, "n": 80}
        for scorer, less in ((REWARD_MODEL, 0.0), ("likelihood", 0.05))
        for m, v in measures.items()
    ]
    rows.append({"scorer": REWARD_MODEL, "measure": USABLE, "n": 80, "passed": usable})
    place = {"traces": "own", "student": policy, "task": "mini_gsm", "seed": 0, AXIS: backbone}
    return pd.DataFrame(rows).assign(**place)


@pytest.fixture(scope="module")
def examined() -> pd.DataFrame:
    parts = [
        examination(policy, backbone, best, best > 0.3)
        for policy in POLICIES
        for backbone, best in ((OWN, 0.2), (SMALL, 0.3), (LARGE, 0.4))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    """The training logs of a study: 200 problems, of which none of ten samples was usable for 20."""
    root = tmp_path_factory.mktemp("study")
    kept = {"chance_select": 0.25, "truth_select": 0.75, "prm_select": 0.5, "likelihood_select": 0.4}
    for policy in POLICIES:
        for method, backbone in RIGHT:
            if method == "base":
                continue
            folder = root / "students" / f"{policy.split('/')[1]}.{method}.{backbone.split('/')[-1]}"
            folder.mkdir(parents=True)
            counts = {"problems": 200, "left_out": 20, "right_kept": kept[method]}
            counts |= {"right_completions": 0.25, "right_at_best": 0.7}
            (folder / "training.json").write_text(json.dumps({"selection": counts}))
            about = {"student": policy, "method": method, "train": "mini_gsm", "seed": 0}
            about |= {} if backbone == NONE else {AXIS: backbone}
            store.manifest_path(folder).write_text(json.dumps({"about": about}))
    return Files(root)


@pytest.fixture(scope="module")
def points(files, examined, compared) -> pd.DataFrame:
    return capacity.points(capacity.knowledge(files, examined), compared)


def test_size_and_exposure():
    assert capacity.differ_in(SMALL, LARGE) == "size"
    assert capacity.differ_in(OWN, SMALL) == "exposure"
    assert capacity.differ_in(OWN, LARGE) == "size and exposure"
    assert capacity.differ_in(OWN, "zoo/qwen3-1.7b") == "size"
    assert capacity.differ_in(OWN, "zoo/qwen3-8b") == "size and exposure"  # 1,200 and 900 steps
    assert capacity.differ_in(OWN, OWN) == "nothing"


def test_backbones_are_ordered_by_size_and_exposure():
    table = capacity.backbones([LARGE, SMALL, OWN])
    assert table.backbone.tolist() == [OWN, SMALL, LARGE] and table.debates.tolist() == [False, True, True]
    assert table.longest.tolist() == [3, 4, 4] and table.steps.tolist() == [1200, 2500, 2500]
    with pytest.raises(ValueError, match="Qwen3-8B has no card"):
        capacity.backbones(["Qwen3-8B"])


def test_larger_minus_smaller_by_hand(predictions):
    table = capacity.pairs(predictions)
    assert len(table) == 2 * 3 * 3 and (table.n == N).all() and (table.seeds == 1).all()
    by = table.set_index(["student", "what", "smaller", "larger"])
    size = by.loc[POLICIES[0], "prm_select", SMALL, LARGE]
    assert (size.value_smaller, size.value_larger, size.differ_in) == (0.4, 0.65, "size")
    assert size.difference == pytest.approx(0.25) and size.low > 0 and size.verdict == "better"
    known = by.loc[POLICIES[0], "likelihood_select", SMALL, LARGE]
    assert known.difference == pytest.approx(0.2)
    both = by.loc[POLICIES[0], "prm_select - likelihood_select", SMALL, LARGE]
    assert both.difference == pytest.approx(0.05) and both.verdict == "no difference detectable"
    assert both.value_smaller == pytest.approx(0.1) and both.value_larger == pytest.approx(0.15)
    assert 0 < size.smallest_detectable < both.smallest_detectable + 1 and (table.p_holm >= table.p).all()
    assert by.loc[POLICIES[1], "prm_select", OWN, SMALL].differ_in == "exposure"


def test_seeds_and_missing_cells(predictions):
    other = predictions[predictions.method != "base"].assign(seed=1)
    two = capacity.pairs(pd.concat([predictions, other], ignore_index=True))
    assert (two.seeds == 2).all() and two.difference.tolist() == pytest.approx(
        list(capacity.pairs(predictions).difference)
    )
    part = predictions[(predictions.method != "likelihood_select") & (predictions.student == POLICIES[0])]
    assert set(capacity.pairs(part).what) == {"prm_select"}
    one = capacity.pairs(predictions[predictions[AXIS].isin([NONE, OWN])])
    assert one.empty and list(one) == capacity.PAIRS
    assert capacity.pairs(predictions.drop(columns=AXIS)).empty


def test_what_each_way_to_select_knows(points):
    assert len(points) == 2 * 8
    by = points[points.student == POLICIES[0]].set_index(["method", AXIS])
    best = by.loc["prm_select", LARGE]
    assert (best.exam, best.exam_n, best.usable, best.step_auroc) == (0.4, 80, True, 0.8)
    assert not by.loc["prm_select", SMALL].usable and by.loc["likelihood_select", LARGE].exam == pytest.approx(0.35)
    assert pd.isna(by.loc["likelihood_select", LARGE].usable)
    assert by.loc["chance_select", NONE].exam == 0.2 and by.loc["truth_select", NONE].exam == 0.5
    assert pd.isna(by.loc["chance_select", NONE].exam_low)
    assert (best.kept, best.kept_n) == (0.5, 180) and best.kept_low < 0.5 < best.kept_high
    assert best.gain == pytest.approx(0.4) and by.loc["chance_select", NONE].gain == pytest.approx(-0.05)


def test_what_a_larger_backbone_keeps(points):
    changed = points.assign(kept=points.kept.where(points[AXIS] != LARGE, 0.6), kept_low=0.45, kept_high=0.65)
    table = capacity.judged(changed).set_index(["student", "method", "smaller", "larger"])
    assert len(table) == 2 * 2 * 3
    row = table.loc[POLICIES[0], "prm_select", SMALL, LARGE]
    assert row.difference == pytest.approx(0.1) and row.differ_in == "size"
    assert row.low == pytest.approx(0.1 - (0.15**2 + 0.15**2) ** 0.5)  # Newcombe's, by hand
    shown = capacity_shown.judged(capacity.judged(changed))
    assert shown.shape == (3, 4) and "+10.0 [" in " ".join(shown.iloc[:, 0])


def test_the_comparisons_have_their_own_backbone(compared):
    own = compared[(compared.method == "prm_select") & (compared.student == POLICIES[0])].set_index([AXIS, "against"])
    assert len(own) == 3 * 4
    assert own.loc[(LARGE, "likelihood_select"), "difference"] == pytest.approx(0.15)
    assert own.loc[(SMALL, "likelihood_select"), "difference"] == pytest.approx(0.1)
    assert own.loc[(LARGE, "chance_select"), "difference"] == pytest.approx(0.45)
    assert own.loc[(LARGE, "truth_select"), "difference"] == pytest.approx(-0.1)


def test_tables_for_reading(points, compared, predictions):
    shown = capacity_shown.knowledge(points)
    row = shown[(shown.selected == "best by the reward model") & (shown.backbone.str.contains("8B"))].iloc[0]
    assert row["usable"] == "pass" and row["best of N on dev (%)"] == "40.0 [30.0, 50.0]" and row["n, dev"] == 80
    assert row["right of the imitated (%)"].startswith("50.0 [") and row["gain (points)"].startswith("+40.0 [")
    assert shown[shown.selected == "own right samples"].iloc[0]["best of N on dev (%)"] == "50.0"
    assert len(capacity_shown.selections(compared)) == len(compared)
    pairs = capacity_shown.backbones(capacity.pairs(predictions))
    first = pairs[(pairs["differ in"] == "size") & (pairs.compared == "best by the reward model")].iloc[0]
    assert first["smaller (%)"] == "40.0" and first["difference (points) [95 %]"].startswith("+25.0 [")
    assert "best by the reward model minus best by likelihood" in set(pairs.compared)


def test_the_figure(points):
    figure = exam_and_gain.exam_and_gain(points)
    assert len(figure.axes) == 4 and figure.axes[0].get_title().startswith("")
    above = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert len(above) == 8 and (40.0, pytest.approx(40.0)) in above
    with pytest.raises(ValueError, match="nothing to draw"):
        exam_and_gain.exam_and_gain(points[:0])


def test_the_papers_table_and_ours_beside_it(predictions):
    table = capacity.table4()
    means = table[table.train == "avg"].set_index(["test", "policy"])
    assert means.loc[("gsm8k", "0.6B"), ["0.6B", "8B", "difference"]].tolist() == [42.63, 42.63, 0.0]
    assert means.difference.tolist() == [0.0, 0.07, -0.07, 0.14] and len(table) == 20
    assert (table.difference.min(), table.difference.max()) == (-0.34, 0.45)
    ours = capacity.beside_paper(capacity.pairs(predictions))
    assert ours.policy.tolist() == list(POLICIES) and ours.difference.tolist() == [25.0, 25.0]
    assert ours["smaller PRM"].tolist() == [SMALL] * 2 and ours.value_larger.tolist() == [65.0] * 2


def test_examinations_of_several_backbones_stand_side_by_side(examined):
    rows = examined.assign(required=0.1, passed=True, chance=0.2).drop_duplicates(
        ["student", AXIS, "scorer", "measure"]
    )
    wide = scorecard.scorecard(rows)
    assert wide.shape[1] == 2 * 3 and AXIS in wide.columns.names


def test_training_logs_tell_the_axes(files):
    places = [place for place, _ in collect.training_logs(files, "prm_select")]
    assert {place[AXIS] for place in places} == {OWN, SMALL, LARGE}
    cost = collect.training_cost(files)
    assert set(cost[cost.method == "chance_select"][AXIS]) == {NONE}


@pytest.mark.parametrize(("name", "expected"), [("mini", 0), ("mini-own", 0), ("mini-capacity", 1)])
def test_a_study_has_the_notebook_if_it_varies_the_backbone(name, expected):
    jobs = list(capacity.jobs(Study(study(name))))
    assert [job.notebook for job in jobs] == ["09_prm_capacity"] * expected
    for job in jobs:
        assert not job.models and {path.parent.name for path in job.inputs} >= {"prms", "students"}


def study(name: str) -> params.Params:
    return params.load(store.ROOT / "params" / f"{name}.yaml")[0]


def test_a_backbone_that_does_not_exist_is_refused_before_anything_runs():
    _, coordinates = params.load(store.ROOT / "params" / "mini-capacity.yaml")
    config = study("mini-capacity")
    notebook.check_names(config, coordinates)
    axes = {AXIS: [LARGE, "zoo/qwen3-0.6b-teachr"]}
    wrong = config.model_copy(update={"study": config.study.model_copy(update={"axes": axes})})
    with pytest.raises(ParamsError, match="did you mean 'zoo/qwen3-0.6b-teacher'"):
        notebook.check_names(wrong, coordinates)


def test_a_slice_of_selection_may_be_smaller_than_a_step():
    cli._check_prompts(study("mini-capacity"), 16)
    with pytest.raises(ParamsError, match="rl.prompts_per_step = 64 problems a step, mini_gsm has 16"):
        cli._check_prompts(study("mini-own"), 16)


def test_the_plan_knows_every_backbone():
    assert set(networks(study("mini-capacity"))) == {"zoo/qwen3-32b", *POLICIES, SMALL, LARGE}


def test_the_documents_have_the_numbers_of_the_run():
    rows = pd.read_csv(store.ROOT / "results" / "reference" / "mini-capacity" / "capacity.csv")
    pairs = pd.read_csv(store.ROOT / "results" / "reference" / "mini-capacity" / "capacity_pairs.csv")
    text = (store.ROOT / "docs" / "results.md").read_text().split("## Larger reward models")[1].split("\n## ")[0]
    shown = set(re.findall(r"[-+]?[0-9.]+ \[[^]]+\]", text))
    for row in rows.itertuples():
        kept = f"{100 * row.kept:.1f} [{100 * row.kept_low:.1f}, {100 * row.kept_high:.1f}]"
        gain = f"{100 * row.gain:+.1f} [{100 * row.gain_low:+.1f}, {100 * row.gain_high:+.1f}]"
        assert {kept, gain} <= shown, (row.student, row.method)
    size = pairs[(pairs.differ_in == "size") & (pairs.what != "likelihood_select")]
    assert len(size) == 4
    differences = text.replace("points ", "")
    for row in size.itertuples():
        assert f"{100 * row.difference:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]" in differences
