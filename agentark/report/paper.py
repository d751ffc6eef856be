"""The paper's own numbers (arXiv 2602.03955v1, Tables 1-13), to be shown beside ours and never mixed with them.

The CSV files in `paper/` hold percentages as printed.  What `cells` and `main` return are fractions, as ours are, with
`source` = "paper" on each row.  The tables carry no item counts and no seeds, so there are no intervals here.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "paper"
SOURCE = "paper"
METHODS = ("base", "sft", "rsft", "da", "pad")
TEACHER = "qwen3-32b"  # of the paper's headline figures (Fig. 2 right, Fig. 3)


def names() -> list[str]:
    """The tables there are."""
    return sorted(path.stem for path in FOLDER.glob("*.csv"))


def table(name: str) -> pd.DataFrame:
    """A table of the paper as printed, by its file's stem ("table08_sft"); ValueError with the list where there is none."""
    if name not in names():
        raise ValueError(f"the paper has no table {name!r}; there are {', '.join(names())}")
    return pd.read_csv(FOLDER / f"{name}.csv")


def cells(teacher: str = TEACHER) -> pd.DataFrame:
    """Each cell of Tables 8-13 of one teacher: source, teacher, student, method, train, test, accuracy (fraction).

    Base (no training) and SFT (gold answers) have no teacher: "-".  ValueError for a teacher that the paper has not.
    """
    base = table("table09_13_baselines").assign(method="base", teacher="-", train="-")
    sft = table("table08_sft").query("train != 'base'").assign(method="sft", teacher="-")
    distilled = table("table09_13_distillation")
    teachers = sorted(distilled["teacher"].unique())
    if teacher not in teachers:
        raise ValueError(f"the paper has no teacher {teacher!r}; there are {', '.join(teachers)}")
    every = pd.concat([base, sft, distilled[distilled["teacher"] == teacher]], ignore_index=True)
    every = every.assign(source=SOURCE, accuracy=every["value"] / 100)
    return every[["source", "teacher", "student", "method", "train", "test", "accuracy"]]


def main(teacher: str = TEACHER) -> pd.DataFrame:
    """The paper's average per method × test: source, teacher, method, test, cells, accuracy, gain (over base; fractions).

    An average over the five students and, but for base, the four training sets, each cell weighing the same.
    """
    means = cells(teacher).groupby(["method", "test"])["accuracy"].agg(cells="size", accuracy="mean").reset_index()
    means["gain"] = means["accuracy"] - means["test"].map(
        means[means["method"] == "base"].set_index("test")["accuracy"]
    )
    means["teacher"] = means["method"].map(lambda method: "-" if method in ("base", "sft") else teacher)
    means["order"] = means["method"].map(METHODS.index)
    means = means.sort_values(["order", "test"], ignore_index=True).assign(source=SOURCE)
    return means[["source", "teacher", "method", "test", "cells", "accuracy", "gain"]]
