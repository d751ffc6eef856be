"""Methods against each other over several training seeds: what holds beyond one lucky seed.

Intervals and p are over training seeds and test items, which are crossed (`stats.crossed`); `seed_sd` is the spread of
the seeds alone.  Greedy and sampled answers (one per item, at the evaluation's temperature) are compared apart:
training by rewards can sharpen a policy, which shows in its samples first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from agentark.graph.job import Job, Study, report_job

from .methods import one_sample, shown, trained

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

COLUMNS = ["teacher", "student", "train", "test", "decoding", "method", "against", "seeds", "n", "accuracy"]
COLUMNS += ["against_accuracy", "difference", "low", "high", "seed_sd", "p", "p_holm", "verdict"]
COLUMNS += ["accuracies", "against_accuracies"]  # lists: one value per seed


def over_seeds(predictions: pd.DataFrame, level: float) -> pd.DataFrame:
    """Each trained method against the base and its controls, on the same seeds and items: COLUMNS, one row per pair.

    A method that is not trained (base) has one row per item, which serves all seeds.  Holm's correction is over this
    table.  It is empty if no method has two seeds.
    """
    import pandas as pd

    from agentark import stats

    compared = list(paired(predictions))
    shared = {test: clusters(test, predictions.item[predictions.test == test]) for test in predictions.test.unique()}
    rows = [where | _pair(a, b, shared[where["test"]], level) for where, a, b in compared]
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    table = stats.decided(pd.DataFrame(rows), level)
    return table[[*COLUMNS[:4], "protocol", *(c for c in table if "." in c), *COLUMNS[4:]]]


def paired(predictions: pd.DataFrame) -> Iterator[tuple[dict, pd.DataFrame, pd.DataFrame]]:
    """For each pair that has two seeds in common: its coordinates, and right or wrong by seed and item."""
    from .tables import cells_of, keys

    for decoding, sample in (("greedy", -1), ("sampled", 0)):
        rows = predictions[(predictions["sample"] == sample) & ~predictions.method.map(one_sample)]
        by = [column for column in keys(rows) if column not in ("method", "seed")]
        for values, cell in rows[rows.train != "-"].groupby(by, sort=True):
            where = dict(zip(by, values, strict=True))
            base = cells_of(rows, "base", {**where, "teacher": "-", "train": "-", "protocol": "-"})
            matrices = {str(name): matrix(part) for name, part in cell.groupby("method")}
            if len(base):
                matrices["base"] = matrix(base).iloc[[0]]
            for method, declared in shown().items():
                for against in ("base", *declared.controls) if trained(method) else ():
                    if method in matrices and against in matrices:
                        ours, theirs = matrices[method], matrices[against]
                        if against == "base":  # not trained: its one row serves all seeds
                            theirs = theirs.iloc[[0] * len(ours)].set_axis(ours.index)
                        seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
                        if len(seeds) > 1:
                            pair = {"decoding": decoding, "method": method, "against": against}
                            yield where | pair, ours.loc[seeds, items], theirs.loc[seeds, items]


def clusters(test: str, items: Iterable[str]) -> dict[str, str]:
    """What each test item shares with others (`Problem.cluster`), by its id; its own id if it stands alone."""
    from agentark import tasks

    names = set(items)
    known = {p.id: p.cluster or p.id for p in tasks.problems(test, "test", len(names))}
    return {item: known.get(item, item) for item in names}


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """Right or wrong: one row per seed, one column per item."""
    return rows.pivot(index="seed", columns="item", values="correct_flexible").astype(float)


def _pair(ours: pd.DataFrame, theirs: pd.DataFrame, shared: dict[str, str], level: float) -> dict:
    """One comparison; `ours` and `theirs` (seeds, items): right or wrong; shared: the cluster of each item."""
    from agentark import stats

    labels, (a, b) = [shared[item] for item in ours.columns], (ours.to_numpy(), theirs.to_numpy())
    crossed = stats.crossed(a - b, labels, level=level)
    row = {"seeds": len(a), "n": a.shape[1], "accuracy": a.mean(), "against_accuracy": b.mean()} | crossed.columns()
    row |= {"accuracies": a.mean(axis=1).tolist(), "against_accuracies": b.mean(axis=1).tolist()}
    return row | {"seed_sd": float((a - b).mean(axis=1).std(ddof=1))}


def ppo_and_grpo(table: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's Table 5 per student, training and test set: greedy accuracy in % of base, PPO, GRPO (PAD)."""
    greedy = table[(table.against == "base") & (table.decoding == "greedy")]
    against = greedy.set_index(["student", "train", "test", "method"])
    wide = against.accuracy.unstack("method")[["ppo", "pad"]] * 100
    wide.insert(0, "base", against.against_accuracy.groupby(level=["student", "train", "test"]).first() * 100)
    return wide.rename(columns={"ppo": "PPO", "pad": "GRPO"}).reset_index()


def jobs(study: Study) -> Iterator[Job]:
    """The comparison of PPO and GRPO, if the study has both."""
    if {"pad", "ppo"} <= set(study.base.study.methods):
        files = {"inputs": [study.files.root / "main_results.csv"], "outputs": [study.files.root / "ppo_vs_grpo.csv"]}
        yield report_job(study, "10_ppo_vs_grpo", ["collect", "seeds"], (), sections=["stats"], **files)
