"""Methods against each other over several training seeds: what holds beyond one lucky seed.

The spread over seeds and over test items are kept apart: `seed_sd` is the first, the interval has both.  Greedy and sampled answers (one an
item, at the evaluation's temperature) are compared apart: training by rewards can sharpen a policy, which shows in its samples first.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .. import stats
from .tables import ONE_SAMPLE

PAIRS = (
    ("pad", "base"),
    ("pad", "rsft"),
    ("pad", "da"),
    ("pad", "pad_shuffled"),
    ("pad", "rlvr"),
    ("ppo", "base"),
    ("ppo", "pad"),
    ("rsft", "base"),
    ("da", "base"),
    ("pad_shuffled", "base"),
    ("rlvr", "base"),
)
COLUMNS = [
    "teacher",
    "student",
    "train",
    "test",
    "decoding",
    "method",
    "against",
    "seeds",
    "n",
    "accuracy",
    "against_accuracy",
    "difference",
    "low",
    "high",
    "seed_sd",
    "p",
    "p_holm",
    "verdict",
]


def over_seeds(predictions: pd.DataFrame, resamples: int, level: float) -> pd.DataFrame:
    """Each pair of PAIRS of which there is something, on the same seeds and items: COLUMNS, a row for each student, training and test set.

    A method that is not trained (base) has one row an item, which serves all seeds.  Holm's correction is over this table.  Empty where no
    method has two seeds.
    """
    found = []
    for decoding, sample in (("greedy", -1), ("sampled", 0)):
        rows = predictions[(predictions["sample"] == sample) & ~predictions.method.isin(ONE_SAMPLE)]
        for (teacher, student, train, test), cell in rows[rows.train != "-"].groupby(
            ["teacher", "student", "train", "test"], sort=True
        ):
            base = rows[(rows.method == "base") & (rows.student == student) & (rows.test == test)]
            by = {name: _matrix(part) for name, part in cell.groupby("method")} | (
                {"base": _matrix(base).iloc[[0]]} if len(base) else {}
            )
            at = {"teacher": teacher, "student": student, "train": train, "test": test, "decoding": decoding}
            found += [
                at | pair
                for pair in (_pair(by, method, against, resamples, level) for method, against in PAIRS)
                if pair
            ]
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(found)
    table["p_holm"] = stats.holm(table.p)
    table["verdict"] = [stats.verdict(r.difference, r.low, r.high, r.p_holm, 1 - level) for r in table.itertuples()]
    return table[COLUMNS]


def _matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Right or not: a row a seed, a column an item."""
    return rows.pivot(index="seed", columns="item", values="correct_flexible").astype(float)


def _pair(by: dict[str, pd.DataFrame], method: str, against: str, resamples: int, level: float) -> dict | None:
    """One comparison, None where there are not two seeds of both."""
    if method not in by or against not in by:
        return None
    ours, theirs = by[method], by[against]
    if against == "base":  # not trained: its one row serves all seeds
        theirs = pd.concat([theirs] * len(ours)).set_axis(ours.index)
    seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
    if len(seeds) < 2:
        return None
    x, y = ours.loc[seeds, items].to_numpy(), theirs.loc[seeds, items].to_numpy()
    difference, low, high, p = stats.crossed_bootstrap(x - y, resamples, level=level)
    return {
        "method": method,
        "against": against,
        "seeds": len(seeds),
        "n": len(items),
        "accuracy": x.mean(),
        "against_accuracy": y.mean(),
        "difference": difference,
        "low": low,
        "high": high,
        "seed_sd": float(np.std((x - y).mean(1), ddof=1)),
        "p": p,
    }


def ppo_and_grpo(table: pd.DataFrame) -> pd.DataFrame:
    """The form of the paper's Table 5: greedy accuracy in % of the base, PPO and GRPO (PAD) with the same reward model; a row a training and test set."""
    against = table[(table.against == "base") & (table.decoding == "greedy")].set_index(
        ["student", "train", "test", "method"]
    )
    wide = against.accuracy.unstack("method")[["ppo", "pad"]] * 100
    wide.insert(0, "base", against.against_accuracy.groupby(level=["student", "train", "test"]).first() * 100)
    return wide.rename(columns={"ppo": "PPO", "pad": "GRPO"}).reset_index()
