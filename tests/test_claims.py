"""The claims: the committed file, mistakes in it, cells that a study does not make, and the rule of the verdicts."""

import copy
import re
from datetime import date

import numpy as np
import pandas as pd
import pytest
import yaml
from test_report import cell

from agentark import claims, params, store, tasks
from agentark.claims import evaluate, references
from agentark.params import ParamsError

PLACE = {"teacher": "big", "student": "s", "train": "mini_gsm", "test": "mini_gsm"}
COMPARISON = {
    "id": "gain", "primary": True, "study": None, "waits_for": "a study", "cells": ["gsm"], "method": "rsft",
    "against": "base", "direction": "higher", "smallest": 4.0, "because": "the paper's gain",
}  # fmt: skip


def content(*comparisons, changes=()):
    """A claims file with one claim of these comparisons, each given by its changes to COMPARISON."""
    listed = [COMPARISON | more for more in comparisons or ({},)]
    claim = {"id": "first", "finding": "f", "quote": "q", "section": "4.2", "comparisons": listed}
    cells = {
        "gsm": PLACE,
        "med": PLACE | {"train": "mini_med", "test": "mini_med"},
        "out": PLACE | {"test": "mini_med"},
    }
    return copy.deepcopy({"cells": cells, "claims": [claim], "changes": list(changes)})


def read(tmp_path, values):
    path = tmp_path / "claims.yaml"
    path.write_text(yaml.safe_dump(values))
    return claims.read(path)


def test_the_committed_claims():
    found = claims.read()
    assert claims.unmade(found) == []
    primary = [comparison for _, comparison in found.comparisons() if comparison.primary]
    assert len(primary) == 10
    assert not {change.comparison for change in found.changes} & {comparison.id for comparison in primary}
    assert all(comparison.seeds == 5 for comparison in primary)
    named = {place.test for place in found.cells.values()} | {place.train for place in found.cells.values()}
    assert named <= set(tasks.names())


@pytest.mark.parametrize(
    ("break_it", "parts"),
    [
        (lambda f: f["claims"][0].pop("quote"), ["claim first: quote is missing"]),
        (lambda f: f["claims"][0].update(quote=" "), ["claim first: quote"]),
        (lambda f: f["claims"][0].update(qoute="x"), ["claim first: unknown key 'qoute'", "did you mean 'quote'"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(direction="hihger"),
         ["claim first, comparison gain: direction", "'hihger'", "did you mean 'higher'"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(smalest=1.0), ["comparison gain: unknown key 'smalest'"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(smallest=0.0), ["comparison gain: smallest"]),
        (lambda f: f["claims"][0]["comparisons"][0].pop("waits_for"), ["comparison gain: no study tests it"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(cells=["gms"]), ["unknown cell 'gms'; did you mean 'gsm'"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(direction="equal"), ["'equal' is shown by an interval"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(over="every", minus=["out"]), ["remove minus"]),
        (lambda f: f["claims"][0]["comparisons"][0].update(against="rsft"), ["rsft is compared with itself"]),
        (lambda f: f["claims"][0]["comparisons"].append(COMPARISON), ["the id gain occurs 2 times"]),
        (lambda f: f["cells"]["gsm"].pop("student"), ["cell gsm: student is missing"]),
        (lambda f: f["claims"].append("text"), ["claim 2: must be a mapping with the keys id, finding"]),
        (lambda f: f["claims"][0]["comparisons"].append(None), ["claim first, comparison 2: must be a mapping"]),
        (lambda f: f.update(claim=[]), ["must have the keys cells, claims, changes"]),
        (lambda f: f["changes"].append({"date": date(2026, 12, 1), "comparison": "gian", "what": "w", "why": "w"}),
         ["unknown comparison 'gian'; did you mean 'gain'"]),
        (lambda f: f["changes"].append({"date": "soon", "comparison": "gain", "what": "w", "why": "w"}), ["change 1: date"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path, break_it, parts):
    values = content()
    read(tmp_path, values)
    break_it(values)
    with pytest.raises(ParamsError) as raised:
        read(tmp_path, values)
    assert "\n" not in str(raised.value) and all(part in str(raised.value) for part in parts), raised.value


def test_at_most_ten_comparisons_are_primary(tmp_path):
    read(tmp_path, content(*({"id": f"c{n}"} for n in range(10))))
    with pytest.raises(ParamsError, match="11 comparisons are primary .*c10.*at most 10"):
        read(tmp_path, content(*({"id": f"c{n}"} for n in range(11))))


def test_no_file_and_no_yaml(tmp_path):
    with pytest.raises(ParamsError, match="there are no claims"):
        claims.read(tmp_path / "claims.yaml")
    (tmp_path / "claims.yaml").write_text("a: [")
    with pytest.raises(ParamsError, match="line 1 is not YAML"):
        claims.read(tmp_path / "claims.yaml")


@pytest.mark.parametrize("key", ["cells", "claims", "changes"])
def test_a_part_of_the_wrong_kind(tmp_path, key):
    with pytest.raises(ParamsError, match=rf"claims.yaml, line \d+: {key} must be a (list|mapping), not 5"):
        read(tmp_path, content() | {key: 5})


MINI = {"study": "mini", "cells": ["here"]}


@pytest.mark.parametrize(
    ("changes", "place", "what"),
    [
        ({}, {}, None),
        ({}, {"teacher": "zoo/other"}, "teacher zoo/other"),
        ({}, {"student": "zoo/other"}, "student zoo/other"),
        ({}, {"train": "mini_math"}, "train mini_math"),
        ({}, {"test": "mini_hotpot"}, "test mini_hotpot"),
        ({}, {"protocol": "single"}, "protocol single"),
        ({"method": "nothing"}, {}, "method nothing"),
        ({"against": "nothing"}, {}, "method nothing"),
        ({"against": "teacher_debate", "controls": ["base", "nothing"]}, {}, "control nothing"),
        ({"axes": {"debate.agents": 7}}, {}, "debate.agents = 7"),
        ({"seeds": 99}, {}, "training seeds, the claim needs 99"),
    ],
)
def test_what_a_study_does_not_make(tmp_path, changes, place, what):
    config = params.load(store.ROOT / "params" / "mini.yaml")[0]
    study = config.study
    here = {"teacher": study.teachers[0], "student": study.students[0], "train": "mini_gsm", "test": "mini_gsm"}
    values = content(MINI | changes)
    values["cells"]["here"] = here | place
    found = read(tmp_path, values)
    sentences = claims.unmade(found, store.ROOT / "params")
    path = tmp_path / "claims.yaml"
    if what is None:
        claims.refuse(config, path)
        assert sentences == []
        return
    assert len(sentences) == 1 and "claim first, comparison gain: the study" in sentences[0]
    assert what in sentences[0] and "change the claim and say so under changes" in sentences[0]
    with pytest.raises(ParamsError, match=re.escape(sentences[0])):
        claims.refuse(config, path)


def test_a_value_that_nobody_learns_from(tmp_path):
    """mini-agents answers test problems with 10 agents and teaches none of their traces."""
    here = {"teacher": "zoo/qwen3-32b", "student": "zoo/qwen3-0.6b", "train": "mini_gsm", "test": "mini_gsm"}
    for method, against, sentences in (("da", "da_single", 1), ("teacher_debate", "teacher_majority", 0)):
        axes = dict.fromkeys(("axes", "against_axes"), {"debate.agents": 10})
        values = content(MINI | axes | {"study": "mini-agents", "method": method, "against": against, "controls": []})
        values["cells"]["here"] = here
        found = claims.unmade(read(tmp_path, values), store.ROOT / "params")
        assert len(found) == sentences and all("debate.agents = 10" in sentence for sentence in found)


def test_a_study_that_does_not_exist_yet(tmp_path):
    waits = read(tmp_path, content({"study": "later"}))
    assert claims.unmade(waits, tmp_path) == []
    forgotten = read(tmp_path, content({"study": "later", "waits_for": None}))
    assert "there is no" in claims.unmade(forgotten, tmp_path)[0]
    claims.refuse(params.load(store.ROOT / "params" / "mini.yaml")[0], tmp_path / "claims.yaml")  # not of this study
    claims.refuse(
        params.load(store.ROOT / "params" / "mini.yaml")[0], tmp_path / "absent.yaml"
    )  # no claims, no refusal


def one(**changes):
    return claims.Comparison.model_validate(COMPARISON | {"primary": False} | changes)


@pytest.mark.parametrize(
    ("direction", "numbers", "expected"),
    [
        ("higher", (5, 1, 9, 0.01), "holds"),
        ("higher", (5, 1, 9, 0.06), "undecided"),  # not after Holm
        ("higher", (3.9, 1, 7, 0.01), "undecided"),  # smaller than of interest
        ("higher", (5, -1, 11, 0.01), "undecided"),  # the interval has 0
        ("higher", (-5, -9, -1, 0.01), "opposite"),
        ("higher", (-3, -5, -1, 0.01), "undecided"),
        ("lower", (-5, -9, -1, 0.01), "holds"),
        ("lower", (5, 1, 9, 0.01), "opposite"),
        ("equal", (1, -2, 3.9, 0.9), "holds"),
        ("equal", (1, -2, 4.1, 0.9), "undecided"),
        ("equal", (1, -4.1, 3, 0.9), "undecided"),
        ("equal", (-5, -9, -1, 0.01), "opposite"),
        ("not higher", (-9, -20, 3, 0.01), "holds"),
        ("not higher", (1, -2, 5, 0.9), "undecided"),
        ("not higher", (5, 1, 9, 0.01), "opposite"),
    ],
)
def test_the_rule(direction, numbers, expected):
    assert claims.verdict(one(direction=direction), *numbers) == expected


def test_the_rule_at_another_level_and_on_nonsense():
    assert claims.verdict(one(), 5, 1, 9, 0.05) == "holds"
    assert claims.verdict(one(), 5, 1, 9, 0.05, level=0.99) == "undecided"
    with pytest.raises(ValueError, match="NaN"):
        claims.verdict(one(), float("nan"), 1, 9, 0.01)
    with pytest.raises(ValueError, match="upside down"):
        claims.verdict(one(), 5, 9, 1, 0.01)


def students(method, shares, train="mini_gsm", test="mini_gsm", n=200):
    return [cell(method, share, "big", "s", train, test, seed=seed, n=n) for seed, share in enumerate(shares)]


@pytest.fixture(scope="module")
def rows():
    """R-SFT gains 20 points on its own task and none elsewhere, DA 1; the base was tested once."""
    parts = [cell("base", 0.4, student="s", test=test, n=200) for test in ("mini_gsm", "mini_med")]
    parts += [cell("teacher_debate", 0.8, teacher="big", sample=0, n=200)]
    parts += students("rsft", [0.58, 0.6, 0.62]) + students("rsft", [0.4] * 3, test="mini_med")
    parts += students("rsft", [0.5, 0.5, 0.5], train="mini_med", test="mini_med") + students("da", [0.41] * 2)
    return pd.concat(parts, ignore_index=True)


def found(tmp_path, rows, **changes):
    file = read(tmp_path, content(changes))
    return evaluate.evaluate(file, file.claims[0].comparisons[0], evaluate.Study(rows))


def test_differences_by_hand(tmp_path, rows):
    gain = found(tmp_path, rows)
    assert gain.difference == pytest.approx(20) and (gain.seeds, gain.clusters) == (3, 200)
    assert gain.low < 20 < gain.high and gain.p < 0.001
    assert found(tmp_path, rows, minus=["out"]).difference == pytest.approx(20)
    assert found(tmp_path, rows, cells=["gsm", "med"]).difference == pytest.approx(15)
    assert found(tmp_path, rows, cells=["gsm", "med", "out"], over="every").difference == pytest.approx(0)
    assert found(tmp_path, rows, method="da", against="rsft").seeds == 2  # those that both have
    assert found(tmp_path, rows, against="teacher_debate").difference == pytest.approx(-20)
    assert found(tmp_path, rows, method="base", against="rsft").difference == pytest.approx(-20)


def test_the_worst_cell_of_a_claim_on_every_cell(tmp_path, rows):
    against = pd.concat([rows, *students("worse", [0.4] * 3), *students("worse", [0.2] * 3, test="mini_med")])
    alone = found(tmp_path, against, method="worse", cells=["out"])
    every = found(tmp_path, against, method="worse", cells=["gsm", "out"], over="every")
    assert every.difference == alone.difference == pytest.approx(-20) and every.p == pytest.approx(2 * alone.p)
    equal = found(tmp_path, rows, cells=["out", "gsm"], over="every", direction="equal", primary=False)
    assert equal.difference == pytest.approx(20)


def test_items_that_share_a_source_are_one_cluster(tmp_path):
    problems = tasks.problems("mini_med", "test", 300)
    parts = [cell("base", 0.4, student="s", test="mini_med", n=300)]
    parts += students("rsft", [0.6, 0.6], train="mini_med", test="mini_med", n=300)
    table = pd.concat([part.assign(item=[p.id for p in problems]) for part in parts])
    labels = {p.cluster for p in problems}
    assert found(tmp_path, table, cells=["med"]).clusters == len(labels) < 300


def test_other_measures_and_axes(tmp_path, rows):
    nll = rows.assign(nll=np.where(rows.method == "base", 0.65, 0.41))
    assert found(tmp_path, nll, measure="nll", direction="lower").difference == pytest.approx(-0.24)
    with pytest.raises(ParamsError, match="comparison gain, cell gsm: its rows have no measure 'nll'"):
        found(tmp_path, rows, measure="nll", direction="lower")
    few, many = rows.assign(**{"debate.agents": "5"}), rows.assign(**{"debate.agents": "20"})
    many = many[(many.method == "da")].assign(correct_flexible=True)
    both = pd.concat([few, many])
    axes = {"axes": {"debate.agents": 20}, "against_axes": {"debate.agents": 5}}
    assert found(tmp_path, both, method="da", against="da", **axes).difference == pytest.approx(59)
    with pytest.raises(ParamsError, match="da was run with several values of debate.agents: name one in axes"):
        found(tmp_path, both, method="da")
    with pytest.raises(ParamsError, match="no rows of da with {'debate.agents': 7}"):
        found(tmp_path, both, method="da", axes={"debate.agents": 7})


def test_a_cell_without_rows_and_without_common_seeds(tmp_path, rows):
    with pytest.raises(ParamsError, match="cell gsm: the study has no rows of pad: run that cell"):
        found(tmp_path, rows, method="pad")
    later = pd.concat([rows, cell("pad", 0.5, "big", "s", "mini_gsm", seed=7)])
    with pytest.raises(ParamsError, match="pad and rsft have no training seed in common"):
        found(tmp_path, later, method="pad", against="rsft")


def test_the_table_of_verdicts(tmp_path, rows):
    change = {"date": date(2026, 12, 1), "comparison": "tie", "what": "w", "why": "w"}
    listed = [{"study": "now", "seeds": 5}, {"id": "tie", "study": "now", "method": "da"}, {"id": "later"},
              {"id": "other", "study": "now", "primary": False, "cells": ["med"]}]  # fmt: skip
    file = read(tmp_path, content(*listed, changes=[change]))
    table = evaluate.table(file, {"now": evaluate.Study(rows)}).set_index("comparison")
    assert table.verdict.to_dict() == {"gain": "holds", "tie": "undecided", "later": "waits", "other": "holds"}
    assert table.p_holm["gain"] == pytest.approx(3 * table.p["gain"])  # one that waits counts as well
    assert table.p_holm["other"] == table.p["other"]  # exploratory: by itself
    assert table.note["gain"] == "rests on one debate; 3 of 5 seeds"
    assert table.note["tie"] == "changed on 2026-12-01; rests on one debate"
    assert table.note["other"] == "exploratory; rests on one debate"
    assert table.note["later"] == "waits for a study" and table.loc["later", ["p", "difference"]].isna().all()
    assert 0 < table.detectable["gain"] < 20


def test_what_lacks_rows_waits_and_says_which(tmp_path, rows):
    listed = [{"study": "now"}, {"id": "later", "study": "now", "method": "pad"}]
    table = evaluate.table(read(tmp_path, content(*listed)), {"now": evaluate.Study(rows)}).set_index("comparison")
    assert table.verdict.to_dict() == {"gain": "holds", "later": "waits"}
    assert "waits for rows: comparison later, cell gsm: the study has no rows of pad" in table.note["later"]
    assert table.p_holm["gain"] == pytest.approx(2 * table.p["gain"])


def test_the_verdicts_on_committed_rows():
    stated = claims.read()
    steps = stated.model_copy(update={"claims": [c for c in stated.claims if c.id in ("two-step", "two-step-gsm")]})
    assert [name for name, _ in references.studies(steps)] == ["mini-steps"]
    decided = references.verdicts(steps)
    found = references.findings(steps, decided)
    assert list(found.index) == ["two-step", "two-step-gsm"] and found.waits.tolist() == [3, 0]
    assert found[references.COUNTED].sum().sum() == len(decided)


def test_a_second_debate_is_a_source_of_variance(tmp_path, rows):
    file = read(tmp_path, content({"study": "now"}))
    several = evaluate.Study(rows, debates={0: "a", 1: "b", 2: "c"})
    row = evaluate.table(file, {"now": several}).iloc[0]
    assert row.debates == 3 and "one debate" not in row.note
