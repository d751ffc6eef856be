"""Imitation beside its controls: accuracies over seeds by half of the test, what is shown, and which studies have it."""

import json
import re

import pandas as pd
import pytest
from test_report import N, cell

from agentark import params, store
from agentark.cells import Files
from agentark.graph.job import Study
from agentark.report import controls, show

PLACE = {"teacher": "big", "student": "s", "train": "mini_gsm"}


def rows() -> pd.DataFrame:
    parts = [cell("base", 0.4, student="s", test=test) for test in ("mini_gsm", "mini_med")]
    for method, by_seed in {"rsft": (0.6, 0.8), "rsft_single": (0.5, 0.6)}.items():
        for seed, share in enumerate(by_seed):
            parts.append(cell(method, share, **PLACE, seed=seed))
            parts.append(cell(method, share / 2, **PLACE, seed=seed, test="mini_med"))
    return pd.concat([*parts, cell("teacher_debate", 0.9, teacher="big", sample=0)], ignore_index=True)


def test_means_over_seeds_and_halves(tmp_path):
    table = controls.means(rows(), Files(tmp_path), 0.95).set_index(["method", "test"])
    rsft = table.loc[("rsft", "mini_gsm")]
    assert (rsft.seeds, rsft.n, rsft.least, rsft.most) == (2, N, 0.6, 0.8) and rsft.accuracy == pytest.approx(0.7)
    right = {seed: [i < round(share * N) for i in range(N)] for seed, share in ((0, 0.6), (1, 0.8))}
    seen = [hit for hits in right.values() for i, hit in enumerate(hits) if i % 2]  # each second template was held out
    unseen = [hit for hits in right.values() for i, hit in enumerate(hits) if not i % 2]
    assert rsft.seen == sum(seen) / len(seen) and rsft.unseen == sum(unseen) / len(unseen)
    assert (
        table.loc[("base", "mini_gsm"), "seeds"] == 1 and table.loc[("teacher_debate", "mini_gsm"), "accuracy"] == 0.9
    )
    assert table.tokens.isna().all() and table.examples.isna().all()  # there are no training logs


def test_a_table_has_both_tests_and_what_was_not_trained(tmp_path):
    table = controls.shown(controls.means(rows(), Files(tmp_path), 0.95), "mini_gsm")
    by_method = table.set_index("method")
    assert set(by_method.index) == {show.label(m) for m in ("base", "rsft", "rsft_single", "teacher_debate")}
    rsft = by_method.loc[show.label("rsft")]
    assert rsft["accuracy (%) [95 %]"].startswith("70.0 [") and rsft["lowest, highest seed"] == "60.0, 80.0"
    assert rsft["on mini_med"] == "35.0" and by_method.loc[show.label("teacher_debate"), "on mini_med"] == ""
    assert controls.shown(controls.means(rows(), Files(tmp_path), 0.95), "mini_med").method.tolist() == [
        show.label("base")
    ]


def test_studies_with_the_controls_of_selection_have_the_notebook():
    found = {}
    for name in ("mini-controls", "mini", "mini-quantity"):
        study = Study(params.load(store.ROOT / "params" / f"{name}.yaml")[0])
        found[name] = [job.notebook for job in controls.jobs(study)]
    assert found == {"mini-controls": ["22_controls"], "mini": [], "mini-quantity": []}
    one_seed = params.load(store.ROOT / "params" / "mini-controls.yaml")[0]
    one_seed = one_seed.model_copy(update={"study": one_seed.study.model_copy(update={"seeds": [0]})})
    assert list(controls.jobs(Study(one_seed))) == []


def test_the_documents_have_the_numbers_of_the_run():
    """Each number with an interval, in docs/results.md and in the notebook's last cell, is that of a row."""
    folder = store.ROOT / "results" / "reference" / "mini-controls"
    table, compared = pd.read_csv(folder / "controls.csv"), pd.read_csv(folder / "over_seeds.csv")
    values = [(r.accuracy, r.low, r.high) for r in table.itertuples()]
    values += [(r.difference, r.low, r.high) for r in compared.itertuples()]
    known = {"{:.1f} [{:.1f}, {:.1f}]".format(*(100 * number for number in value)) for value in values}
    section = (store.ROOT / "docs" / "results.md").read_text().split("## All controls, five seeds")[1].split("\n## ")[0]
    cells = json.loads((store.ROOT / "notebooks" / "22_controls.ipynb").read_text())["cells"]
    for text in (section, "".join(cells[-1]["source"]).replace("−23.5 points [", "")):
        text = " ".join(text.replace("−", "-").replace("+", "").split())
        shown = re.findall(r"-?\d+\.\d \[[^]]+\]", text)
        assert len(shown) > 10
        assert set(shown) <= known, set(shown) - known
