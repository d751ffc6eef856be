"""Methods against each other over several training seeds: what holds beyond one lucky seed.

The spread over seeds and over test items are kept apart: `seed_sd` is the first, the interval has both.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .. import stats
from .tables import headline

PAIRS = (("pad", "base"), ("pad", "rsft"), ("pad", "da"), ("pad", "pad_shuffled"), ("pad", "rlvr"), ("ppo", "base"), ("ppo", "pad"),
         ("rsft", "base"), ("da", "base"), ("pad_shuffled", "base"), ("rlvr", "base"))
COLUMNS = ["teacher", "student", "train", "test", "method", "against", "seeds", "n", "accuracy", "against_accuracy", "difference", "low", "high",
           "seed_sd", "p", "p_holm", "verdict"]


def over_seeds(predictions: pd.DataFrame, resamples: int, level: float) -> pd.DataFrame:
    """Each pair of PAIRS of which there is something, on the same seeds and items: COLUMNS, a row for each student, training and test set.

    A method that is not trained (base) has one row an item, which serves all seeds.  Holm's correction is over this table.  Empty where no
    method has two seeds.
    """
    rows = headline(predictions)
    taught = rows[rows.train != "-"]
    found = []
    for (teacher, student, train, test), cell in taught.groupby(["teacher", "student", "train", "test"], sort=True):
        at = {"teacher": teacher, "student": student, "train": train, "test": test}
        base = rows[(rows.method == "base") & (rows.student == student) & (rows.test == test)]
        by = {name: part.pivot(index="seed", columns="item", values="correct_flexible").astype(float) for name, part in cell.groupby("method")}
        if len(base):
            by["base"] = base.pivot(index="seed", columns="item", values="correct_flexible").astype(float).iloc[[0]]
        for method, against in PAIRS:
            if method not in by or against not in by or len(by[method]) < 2:
                continue
            ours, theirs = by[method], by[against]
            if against == "base":
                theirs = pd.concat([theirs] * len(ours)).set_axis(ours.index)
            seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
            if len(seeds) < 2:
                continue
            x, y = ours.loc[seeds, items].to_numpy(), theirs.loc[seeds, items].to_numpy()
            difference, low, high, p = stats.crossed_bootstrap(x - y, resamples, level=level)
            found.append(at | {"method": method, "against": against, "seeds": len(seeds), "n": len(items), "accuracy": x.mean(), "against_accuracy": y.mean(),
                               "difference": difference, "low": low, "high": high, "seed_sd": float(np.std((x - y).mean(1), ddof=1)), "p": p})
    if not found:
        return pd.DataFrame(columns=COLUMNS)
    table = pd.DataFrame(found)
    table["p_holm"] = stats.holm(table.p)
    table["verdict"] = [stats.verdict(r.difference, r.low, r.high, r.p_holm, 1 - level) for r in table.itertuples()]
    return table[COLUMNS]


def ppo_and_grpo(table: pd.DataFrame) -> pd.DataFrame:
    """The form of the paper's Table 5: accuracy in % of the base, PPO and GRPO (PAD) with the same reward model; a row a training and test set."""
    against = table[table.against == "base"].set_index(["student", "train", "test", "method"])
    wide = against.accuracy.unstack("method")[["ppo", "pad"]] * 100
    wide.insert(0, "base", against.against_accuracy.groupby(level=["student", "train", "test"]).first() * 100)
    return wide.rename(columns={"ppo": "PPO", "pad": "GRPO"}).reset_index()
