"""The committed reference: its tables are what its rows give, and it was made with the params and weights that are here."""

import json

import pandas as pd
import pytest

from agentark import params, store, study
from agentark.models import load
from agentark.report import collect, debating

REFERENCES = store.ROOT / "results" / "reference"


@pytest.fixture(scope="module", params=sorted(path.name for path in REFERENCES.iterdir()))
def reference(request) -> tuple[study.Files, params.Params]:
    """A committed study: its files, and its params with those of its teachers that were run (of mini-full, one)."""
    files = study.Files(REFERENCES / request.param)
    told, _ = params.load(store.ROOT / "params" / f"{request.param}.yaml")
    run = [t for t in told.study.teachers if t in set(pd.read_csv(files.root / "main_results.csv").teacher)]
    return files, study.of_teachers(told, run)


@pytest.fixture(scope="module")
def made(reference) -> dict[str, pd.DataFrame]:
    files, told = reference
    return collect.results(files, told.stats.resamples, told.stats.level)


@pytest.mark.parametrize(
    "name", ["main_results", "debate_rounds", "accuracies", "comparisons", "inference_cost", "training_cost"]
)
def test_tables_are_made_of_the_rows(reference, made, name):
    committed = pd.read_csv(reference[0].root / f"{name}.csv", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(made[name].reset_index(drop=True), committed, check_dtype=False, rtol=1e-9)


def test_what_debates_are_worth_on_dev_is_made_of_their_logs(reference):
    files, told = reference
    committed = pd.read_csv(files.root / "debate_on_dev.csv", keep_default_na=False, na_values=[""])
    table = debating.worth(collect.logs(files, "dev"), "dev", told.stats.resamples, told.stats.level)
    pd.testing.assert_frame_equal(
        table.assign(verdict=table.verdict.replace("", None)), committed, check_dtype=False, rtol=1e-9
    )


def test_the_columns_that_others_read(reference):
    columns = pd.read_csv(reference[0].root / "main_results.csv").columns
    assert list(columns) == [
        "teacher",
        "student",
        "method",
        "train",
        "test",
        "seed",
        "n",
        "accuracy",
        "ci_low",
        "ci_high",
    ]
    rounds = pd.read_csv(reference[0].root / "debate_rounds.csv").columns
    assert {"round", "single_accuracy", "consensus_accuracy", "unanimous", "corrected", "corrupted", "copied"} <= set(
        rounds
    )


def test_every_cell_of_the_study_is_there(reference, made):
    told = reference[1]
    main, s = made["main_results"], told.study
    taught = main[main.train != "-"]
    assert len(taught) == len(s.teachers) * len(s.students) * len(s.train_tasks) * len(s.methods) * len(
        s.test_tasks
    ) * len(s.seeds)
    assert set(main[main.train == "-"].method) == {
        "base",
        "base_majority",
        "teacher_single",
        "teacher_majority",
        "teacher_debate",
    }
    assert (taught.n == [told.sizes.of("test", test) for test in taught.test]).all()
    assert (main.n >= [told.sizes.of("debate_test", test) for test in main.test]).all()


def test_it_was_made_with_what_is_here(reference):
    files, told = reference
    found = sorted(files.root.rglob("*.manifest.json"))
    assert found
    for path in found:
        manifest = json.loads(path.read_text())
        about = manifest["about"]
        assert manifest["machine"] and manifest["versions"]["torch"] and manifest["seconds"] >= 0
        for section in ("debate", "extract", "distill", "prm", "rl", "evaluate", "engine"):
            said, here = about.get(section), getattr(told, section).model_dump()
            if section == "engine" and here["dtype"] == "auto":
                here["dtype"] = said and said["dtype"]  # what it was there
            if section == "prm" and said:
                said = {**said, "shuffled_labels": False}  # true of the control
            if isinstance(said, dict) and about.get("method") not in (
                "rlvr",
                "ppo",
            ):  # which have rl as their method needs it
                # a key that came later had, when the rows were made, what is now told
                assert {k: v for k, v in here.items() if k in said} == said, (
                    f"{path.name} was made with other {section} parameters: run make reproduce reference TIER={told.study.name}"
                )
        name = about.get("model") or about.get("student") or about.get("base")
        if isinstance(name, str) and name.startswith("zoo/"):
            assert about["revision"] == load.revision(name), f"{path.name} was made with other weights of {name}"


def test_figures_are_there(reference):
    names = {path.name for path in (store.ROOT / "figures" / "reference" / reference[0].root.name).iterdir()}
    assert {
        f"{name}.{kind}"
        for name in (
            "fig2_right_by_method",
            "fig3a_in_and_out_of_domain",
            "fig3b_by_dataset_and_student",
            "debate_rounds",
            "debate_on_dev",
        )
        for kind in ("png", "pdf")
    } <= names
