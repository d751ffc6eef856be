"""Cells: the names of a study's files, the columns of its rows, and rows from before a coordinate existed."""

from pathlib import Path

import pandas as pd
import pytest

from agentark.cells import COORDINATES, Artifact, Cell, Files, fill_coordinates
from agentark.cells.files import touches
from agentark.distill.artifacts import PRMS, SHUFFLED_PRMS, STUDENTS
from agentark.evaluate.jobs import EXAMINATIONS, PREDICTIONS, ROLLOUTS
from agentark.extract.jobs import STEPS, TRACES
from agentark.mas.jobs import DEBATES

ROOT = Path("results/mini")
TRAINED = Cell("zoo/qwen3-32b", "zoo/llama3-8b", "rsft", "mini_gsm", "mini_med", "debate", split="test")
BASE = Cell(student="zoo/llama3-8b", method="base", test="mini_gsm", split="test")


def name(artifact: Artifact, cell: Cell, **defaults) -> str:
    """The path of an artifact below a study's results; `defaults` are {section__key: value}."""
    files = Files(ROOT, {path.replace("__", "."): value for path, value in defaults.items()})
    return str(files.path(artifact, cell).relative_to(ROOT))


@pytest.mark.parametrize(
    ("artifact", "cell", "path"),
    [
        (DEBATES, TRAINED.but(split="train"), "debates/qwen3-32b.mini_gsm.train.debate.s0.parquet"),
        (DEBATES, TRAINED, "debates/qwen3-32b.mini_med.test.debate.s0.parquet"),
        (DEBATES, TRAINED.but(split="dev", protocol="single"), "debates/qwen3-32b.mini_gsm.dev.single.s0.parquet"),
        (TRACES, TRAINED, "traces/qwen3-32b.mini_gsm.s0.parquet"),
        (STEPS, TRAINED, "steps/qwen3-32b.mini_gsm.s0.parquet"),
        (STUDENTS, TRAINED, "students/qwen3-32b.llama3-8b.rsft.mini_gsm.s0"),
        (PREDICTIONS, BASE, "predictions/-.llama3-8b.base.-.mini_gsm.s0.parquet"),
        (PREDICTIONS, TRAINED, "predictions/qwen3-32b.llama3-8b.rsft.mini_gsm.mini_med.s0.parquet"),
        (PRMS, TRAINED, "prms/qwen3-32b.llama3-8b.mini_gsm.s0"),
        (SHUFFLED_PRMS, TRAINED, "prms/qwen3-32b.llama3-8b.mini_gsm.s0.shuffled"),
        (EXAMINATIONS, TRAINED, "prms/qwen3-32b.llama3-8b.mini_gsm.s0.csv"),
        (ROLLOUTS, TRAINED.but(split="dev"), "rollouts/llama3-8b.mini_gsm.dev.s0.parquet"),
    ],
)
def test_default_names(artifact, cell, path):
    assert name(artifact, cell) == path
    assert name(artifact, cell.but(seed=3)) == path.replace(".s0", ".s3")


def test_task_files_and_folders_are_named_by_their_last_part():
    cell = TRAINED.but(teacher="/networks/big", train="data/own.jsonl")
    assert name(TRACES, cell) == "traces/big.own.jsonl.s0.parquet"


def test_other_protocols_are_in_the_names_of_all_that_learns_from_them():
    cell = TRAINED.but(protocol="star")
    assert name(DEBATES, cell) == "debates/qwen3-32b.mini_med.test.star.s0.parquet"  # once
    assert name(TRACES, cell) == "traces/qwen3-32b.mini_gsm.star.s0.parquet"
    assert name(STUDENTS, cell) == "students/qwen3-32b.llama3-8b.rsft.mini_gsm.star.s0"
    assert name(SHUFFLED_PRMS, cell) == "prms/qwen3-32b.llama3-8b.mini_gsm.star.s0.shuffled"


def test_an_axis_is_in_the_names_of_the_files_that_it_changes():
    """The number of agents changes everything after the debate; how students are evaluated, only their answers."""
    cell = TRAINED.but(axes=(("debate.agents", 7), ("evaluate.samples", 4), ("distill.epochs", 2)))
    assert name(DEBATES, cell) == "debates/qwen3-32b.mini_med.test.debate.debate.agents=7.s0.parquet"
    assert name(TRACES, cell) == "traces/qwen3-32b.mini_gsm.debate.agents=7.s0.parquet"
    assert name(STUDENTS, cell) == "students/qwen3-32b.llama3-8b.rsft.mini_gsm.debate.agents=7.distill.epochs=2.s0"
    assert "evaluate.samples=4" in name(PREDICTIONS, cell)
    assert name(ROLLOUTS, cell.but(split="dev")) == "rollouts/llama3-8b.mini_gsm.dev.evaluate.samples=4.s0.parquet"


def test_the_value_of_an_axis_that_the_params_have_is_left_out():
    """A study that varies a key keeps the files that it had before, and shares them with other variants."""
    cell = TRAINED.but(axes=(("debate.agents", 5),))
    assert name(TRACES, cell, debate__agents=5) == name(TRACES, TRAINED)
    assert name(TRACES, cell, debate__agents=3) == "traces/qwen3-32b.mini_gsm.debate.agents=5.s0.parquet"


def test_the_size_of_a_split_is_in_the_names_of_its_log_alone():
    cell = TRAINED.but(axes=(("sizes.train", 50),))
    logs = {split: name(DEBATES, cell.but(split=split)) for split in ("train", "dev", "test")}
    assert {split for split, path in logs.items() if "sizes.train=50" in path} == {"train"}
    tested = TRAINED.but(axes=(("sizes.debate_test", 50),))
    assert "sizes.debate_test=50" in name(DEBATES, tested)
    assert "sizes" not in name(DEBATES, tested.but(split="train")) and "sizes" not in name(TRACES, tested)


def test_different_cells_have_different_files():
    changes = [
        {"teacher": "t"},
        {"student": "u"},
        {"method": "da"},
        {"train": "mini_med"},
        {"test": "mini_gsm"},
        {"protocol": "star"},
        {"seed": 1},
        {"axes": (("debate.agents", 7),)},
    ]
    assert len({name(PREDICTIONS, TRAINED.but(**change)) for change in [{}, *changes]}) == 1 + len(changes)


@pytest.mark.parametrize(
    ("path", "sections", "result"),
    [
        ("debate.agents", ["debate"], True),
        ("debate.agents", ["debate.wording"], False),
        ("sizes.tasks", ["sizes.tasks.math"], True),
        ("debate", ["debate.wording"], True),
        ("rl.beta", ["prm", "rl"], True),
        ("rl.beta", ["r"], False),
        ("rl.beta", [], False),
    ],
)
def test_touches(path, sections, result):
    assert touches(path, sections) is result


# Rows


def test_columns_of_rows_and_of_logs():
    cell = TRAINED.but(axes=(("debate.agents", 7),))
    assert list(cell.columns()) == [*COORDINATES, "debate.agents"]
    assert cell.columns()["debate.agents"] == 7 and cell.columns()["test"] == "mini_med"
    log = {"teacher": "zoo/qwen3-32b", "task": "mini_med", "split": "test", "protocol": "debate", "seed": 0}
    assert cell.log_columns() == {**log, "debate.agents": 7}
    assert cell.but(split="dev").log_columns() == {**log, "task": "mini_gsm", "split": "dev", "debate.agents": 7}


def test_rows_from_before_the_protocol_was_a_column_get_it():
    rows = pd.DataFrame([["t", "s", "rsft", "mini_gsm", "mini_med", 0], ["-", "s", "base", "-", "mini_med", 0]])
    rows.columns = [column for column in COORDINATES if column != "protocol"]
    filled = fill_coordinates(rows, ["debate.agents"])
    assert list(filled.columns) == [*COORDINATES, "debate.agents"] and list(filled.protocol) == ["debate", "-"]
    assert set(filled["debate.agents"]) == {"-"} and "protocol" not in rows
    assert fill_coordinates(filled, ["debate.agents"]) is filled
