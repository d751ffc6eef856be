"""Reads the numbers of the paper (arXiv 2602.03955v1, Tables 1-13), which are never mixed with ours.

The CSV files in `paper/` contain the printed percentages; `cells` and `main` return fractions, with `source` = "paper".
There are no intervals, because the paper gives neither numbers of items nor seeds.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "paper"
SOURCE = "paper"
METHODS = ("base", "sft", "rsft", "da", "pad")
TEACHER = "qwen3-32b"  # of the paper's headline figures (Fig. 2 right, Fig. 3)


def names() -> list[str]:
    """Return the names of all tables."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def table(name: str) -> pd.DataFrame:
    """Return a table of the paper as printed, by its name ("table08_sft").  Raises ValueError for an unknown name."""
    if name not in names():
        raise ValueError(f"the paper has no table {name!r}; choose one of {', '.join(names())}")
    return pd.read_csv(FOLDER / f"{name}.csv")


def cells(teacher: str = TEACHER) -> pd.DataFrame:
    """Return the cells of Tables 8-13 for one teacher: source, teacher, student, method, train, test, accuracy.

    Base and SFT (gold answers) have no teacher ("-").  Raises ValueError for a teacher that is not in the paper.
    """
    base = table("table09_13_baselines").assign(method="base", teacher="-", train="-")
    sft = table("table08_sft").query("train != 'base'").assign(method="sft", teacher="-")
    distilled = table("table09_13_distillation")
    teachers = sorted(distilled["teacher"].unique())
    if teacher not in teachers:
        raise ValueError(f"the paper has no teacher {teacher!r}; choose one of {', '.join(teachers)}")
    table_cells = pd.concat([base, sft, distilled[distilled["teacher"] == teacher]], ignore_index=True)
    table_cells = table_cells.assign(source=SOURCE, accuracy=table_cells["value"] / 100)
    return table_cells[["source", "teacher", "student", "method", "train", "test", "accuracy"]]


def main(teacher: str = TEACHER) -> pd.DataFrame:
    """Return the mean accuracy per method and test set: source, teacher, method, test, cells, accuracy, gain.

    The unweighted mean is over the five students and, except for base, the four training sets.
    """
    means = cells(teacher).groupby(["method", "test"])["accuracy"].agg(cells="size", accuracy="mean").reset_index()
    base = means[means["method"] == "base"].set_index("test")["accuracy"]
    means["gain"] = means["accuracy"] - means["test"].map(base)
    means["teacher"] = means["method"].map(lambda method: "-" if method in ("base", "sft") else teacher)
    means["order"] = means["method"].map(METHODS.index)
    means = means.sort_values(["order", "test"], ignore_index=True).assign(source=SOURCE)
    return means[["source", "teacher", "method", "test", "cells", "accuracy", "gain"]]
