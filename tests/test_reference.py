"""The committed reference: its tables follow from its rows, and it was made with the present params and weights."""

import itertools
import json

import pandas as pd
import pytest

from agentark import cli, params, plan, store
from agentark.cells import COORDINATES, Files, fill_coordinates
from agentark.cells.cell import NONE
from agentark.evaluate import jobs as evaluation
from agentark.evaluate import quality as judging
from agentark.grade import grading
from agentark.graph import graph
from agentark.graph.job import Study
from agentark.mas.protocol import protocols
from agentark.models import fit, load
from agentark.report import collect, cost, debating, perplexity, quality

REFERENCES = store.ROOT / "results" / "reference"


@pytest.fixture(scope="module", params=sorted(path.name for path in REFERENCES.iterdir()))
def reference(request) -> tuple[Files, params.Params]:
    """A committed study: its files, and its params with those of its teachers that were run."""
    files = Files(REFERENCES / request.param)
    config, _ = params.load(store.ROOT / "params" / f"{request.param}.yaml")
    run = [t for t in config.study.teachers if t in set(pd.read_csv(files.root / "main_results.csv").teacher)]
    return files, graph.of_teachers(config, run)


@pytest.fixture(scope="module")
def tables_of_rows(reference) -> dict[str, pd.DataFrame]:
    files, config = reference
    return collect.results(files, config.stats.resamples, config.stats.level)


def committed(files: Files, name: str) -> pd.DataFrame:
    """A table of a reference, with the coordinates that it was written without."""
    table = pd.read_csv(files.root / f"{name}.csv", keep_default_na=False, na_values=[""])
    return fill_coordinates(table) if "train" in table else table


@pytest.mark.parametrize(
    "name", ["main_results", "debate_rounds", "accuracies", "comparisons", "inference_cost", "training_cost"]
)
def test_tables_follow_from_the_rows(reference, tables_of_rows, name):
    made, written = tables_of_rows[name].reset_index(drop=True), committed(reference[0], name)
    axes = dict.fromkeys((column for column in made if "." in column), str)  # a file does not say that 64 is a text
    pd.testing.assert_frame_equal(made.astype(axes), written.astype(axes), check_dtype=False, rtol=1e-9)


def test_the_value_of_debates_on_dev_follows_from_their_logs(reference):
    files, config = reference
    table = debating.answer_forms(collect.logs(files, "dev"), "dev", config.stats.resamples, config.stats.level)
    written = committed(files, "debate_on_dev").replace({"what": {"majority of as many": debating.EQUAL_SAMPLES}})
    pd.testing.assert_frame_equal(
        table.assign(verdict=table.verdict.replace("", None)), written, check_dtype=False, rtol=1e-9
    )


@pytest.mark.parametrize("study", sorted(path.parent.name for path in REFERENCES.glob("*/cost.csv")))
def test_costs_follow_from_the_rows_and_the_manifests(study):
    files, (config, _) = Files(REFERENCES / study), params.load(store.ROOT / "params" / f"{study}.yaml")
    _, stages, answers = cost.tables(files, plan.billions, config.stats.level)
    for name, table in (("cost", stages), ("cost_per_answer", answers)):
        pd.testing.assert_frame_equal(table, committed(files, name), check_dtype=False, rtol=1e-9)


@pytest.mark.parametrize("study", sorted(path.parent.name for path in REFERENCES.glob("*/perplexity.csv")))
def test_perplexities_follow_from_their_rows(study):
    files, (config, _) = Files(REFERENCES / study), params.load(store.ROOT / "params" / f"{study}.yaml")
    rows = pd.read_parquet(files.root / perplexity.ROWS)
    options = {"level": config.stats.level, "resamples": config.stats.resamples}
    tables = {"perplexity": perplexity.means, "perplexity_differences": perplexity.differences}
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table(rows, **options), committed(files, name), check_dtype=False, rtol=1e-9)


@pytest.mark.parametrize("study", sorted(path.parent.name for path in REFERENCES.glob("*/reasoning_quality.csv")))
def test_the_quality_of_reasoning_follows_from_its_rows_and_these_from_the_answers(study):
    config, _ = params.load(store.ROOT / "params" / f"{study}.yaml")
    files = Files(REFERENCES / study, {path: config.value(path) for path in config.study.axes})
    written = [pd.read_parquet(files.root / name) for name in quality.NAMES[:2]]
    options = {"level": config.stats.level, "resamples": config.stats.resamples}
    tables = {"reasoning_quality": quality.means, "reasoning_quality_differences": quality.differences}
    for name, made in tables.items():
        table = made(written[0], **options)
        pd.testing.assert_frame_equal(table, committed(files, name), check_dtype=False, rtol=1e-9)
    if config.judges.quality is None:  # a program: the same scores at any time
        of_study = Study(config)
        tests = {test: of_study.size("test", test) for test in config.study.test_tasks}
        found = judging.run(files, config, evaluation.cells(of_study), tests, config.study.seeds[0])
        for made, old in zip(found, written, strict=True):
            pd.testing.assert_frame_equal(made, old, check_dtype=False)


def test_the_columns_that_others_read(reference):
    columns = committed(reference[0], "main_results").columns
    axes = list(reference[1].study.axes)
    assert list(columns) == [*COORDINATES, *axes, "n", "accuracy", "ci_low", "ci_high"]
    assert COORDINATES == ("teacher", "student", "method", "train", "test", "protocol", "seed")
    rounds = committed(reference[0], "debate_rounds").columns
    assert {"round", "single_accuracy", "consensus_accuracy", "unanimous", "corrected", "corrupted", "copied"} <= set(
        rounds
    )


def test_every_cell_of_the_study_is_there_or_named_as_lacking(reference, tables_of_rows):
    files, config = reference
    main, s = tables_of_rows["main_results"], config.study
    lacking = files.root / cli.OPEN
    missing = {tuple(line.split()) for line in lacking.read_text().splitlines()} if lacking.exists() else set()
    made = {(method, str(seed)) for method, seed in itertools.product(s.methods, s.seeds)} - missing
    trained = main[main.train != "-"]
    assert {(method, str(seed)) for method, seed in zip(trained.method, trained.seed, strict=True)} == made
    cells = [cell for cell in evaluation.cells(Study(config)) if cell.train != NONE]
    taken = [fit.tests_of(c.student, s.test_tasks, config.engine) for c in cells if (c.method, str(c.seed)) in made]
    assert len(trained) == sum(map(len, taken))
    known = protocols()
    tested = [known[control] for name in s.protocols for control in known[name].controls.get("test", ())]
    teachers = {protocol.method for protocol in [*tested, *(known[name] for name in s.protocols)]}
    assert set(main[main.train == "-"].method) == {"base", "base_majority", "teacher_single", *teachers}
    assert (trained.n == [config.sizes.count("test", test) for test in trained.test]).all()
    assert (main.n >= [config.sizes.count("debate_test", test) for test in main.test]).all()


SECTIONS = ("debate", "extract", "distill", "dpo", "prm", "rl", "evaluate", "engine")


def network(about: dict) -> str | None:
    """The network whose revision a manifest names; None if it is a checkpoint of the study, or if there is none."""
    if "start" in about:  # a student that was trained further
        return None
    if isinstance(model := about.get("model"), dict):  # of predictions, and of rollouts of the untrained student
        return model["student"] if model.get("method", "base") == "base" else None
    names = [model, *(about.get(role) for role in ("student", "base", "teacher"))]
    return next((name for name in names if name), None) if "revision" in about else None


def test_it_was_made_with_the_present_params_and_weights(reference):
    files, config = reference
    former = files.root / cli.FORMER
    if former.exists() and "former zoo" in former.read_text():
        pytest.skip("its networks are no longer there, which `agentark report` says")
    paths = sorted(files.root.rglob("*.manifest.json"))
    assert paths
    for path in paths:
        manifest = json.loads(path.read_text())
        about = manifest["about"]
        assert manifest["machine"] and manifest["versions"]["torch"] and manifest["seconds"] >= 0
        for section in SECTIONS:
            of_study = getattr(config, section)
            if section in ("distill", "rl"):
                of_study = of_study.of(about.get("method", ""))
            recorded, present = about.get(section), of_study.model_dump()
            if section == "engine" and present["dtype"] == "auto":
                present["dtype"] = recorded and recorded["dtype"]  # depends on the machine
            if section == "prm" and recorded:
                recorded = {**recorded, "shuffled_labels": False}  # true of the control
            for axis, values in config.study.axes.items():
                of, _, key = axis.partition(".")
                if of == section and recorded and recorded.get(key) in values:
                    present[key] = recorded[key]
            if isinstance(recorded, dict) and about.get("method") not in (
                "rlvr",
                "ppo",
                "truth_select",
            ):  # these change `rl`
                # a key that is younger than the rows had its present value when they were made; some keys are gone
                known = present.keys() & recorded.keys()
                assert {k: present[k] for k in known} == {k: recorded[k] for k in known}, (
                    f"{path.name} was made with other {section} parameters: run make reproduce reference TIER={config.study.name}"
                )
        name = network(about)
        if name and name.startswith("zoo/"):
            assert about["revision"] == load.revision(name), f"{path.name} was made with other weights of {name}"


def test_each_stage_has_read_what_lies_beside_it(reference):
    """Students the traces, and traces the logs: a stage that was not made again would still name its former input."""
    files, config = reference
    if (files.root / cli.FORMER).exists():
        pytest.skip("it was made by several versions, which `agentark report` says")
    traces = {store.identity(path) for path in files.root.glob("traces/*.parquet")}
    logs = {grading.identity(path) for path in files.root.glob("debates/*.parquet")}
    read = {"students": "traces", "traces": "log"}
    for folder, key in read.items():
        for path in files.root.glob(f"{folder}/*.manifest.json"):
            about = json.loads(path.read_text())["about"]
            assert about.get(key) in {None, *traces, *logs}, f"{path.name} was made from another input"
    sized = "sizes.train" in config.study.axes
    for path in files.root.glob("debates/*.manifest.json"):
        about = json.loads(path.read_text())["about"]
        size = {"test": "debate_test"}.get(about["split"], about["split"])
        assert sized or about["n"] == config.sizes.count(size, about["task"]), path.name


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


def test_a_former_reference_says_by_what_it_was_made():
    """The words follow "The reference run was"; `make reference` replaces the whole folder and with it the mark."""
    for path in REFERENCES.glob(f"*/{cli.FORMER}"):
        text = path.read_text()
        assert text.startswith("made ") and text.endswith("\n") and len(text.splitlines()) == 1 and len(text) < 200
