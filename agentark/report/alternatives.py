"""What else could be done with the same debates and hours: each method's gain beside what its training took.

The methods that learn from a student's own samples are read from the committed rows of another study, BESIDE: the same
student, seeds and test problems.  They are compared only if both studies' untrained students gave the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agentark import store
from agentark.cells import Files
from agentark.distill.method import links, methods
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

BESIDE = "mini-own"
TAKEN = ("rsft", "opd", "prm_select")  # of its methods
PLACE = ["student", "train", "test", "study", "method"]
GAINS = ["against", "seeds", "n", "accuracy", "against_accuracy", "difference", "low", "high", "smallest_detectable"]
GAINS += ["p", "p_holm", "verdict"]
COSTS = ["trainings", "examples", "tokens", "core_minutes", "at_most"]


def gains(studies: Mapping[str, pd.DataFrame], level: float) -> pd.DataFrame:
    """Each trained method of each study against the untrained student, R-SFT and its controls: PLACE, then GAINS.

    studies: per-item rows by the name of the study; the first one's base, R-SFT and controls are those of all.  Greedy
    answers over seeds and the test items that both have (`stats.crossed`), Holm's correction over this table.  Raises
    ValueError if the untrained students of two studies answered differently.
    """
    import pandas as pd

    from agentark import stats

    from .methods import trained
    from .seeds import clusters, matrix

    greedy = {name: rows[rows["sample"] == -1] for name, rows in studies.items()}
    first, found = next(iter(greedy)), []
    for (student, test), mine in greedy[first].groupby(["student", "test"], sort=False):
        if not (mine.method == "base").any():
            continue
        own = {str(name): matrix(part) for name, part in mine.groupby("method")}
        base = own["base"].iloc[0]
        shared = clusters(str(test), mine.item)
        for study, rows in greedy.items():
            here = rows[(rows.student == student) & (rows.test == test)]
            if study != first:
                _same(base, here[here.method == "base"], first, study)
            for (method, train), part in here[here.method.map(trained)].groupby(["method", "train"], sort=False):
                ours = matrix(part)
                controls = methods()[str(method)].controls if study == first else ()
                for against in dict.fromkeys(("base", "rsft", *controls)):
                    if against not in own or (study, against) == (first, method):
                        continue
                    theirs = own[against]
                    if against == "base":  # not trained: its one row serves all seeds
                        theirs = theirs.iloc[[0] * len(ours)].set_axis(ours.index)
                    seeds, items = ours.index.intersection(theirs.index), ours.columns.intersection(theirs.columns)
                    a, b = (side.loc[seeds, items].to_numpy() for side in (ours, theirs))
                    crossed = stats.crossed(a - b, [shared[item] for item in items], level=level)
                    row = {"student": student, "train": train, "test": test, "study": study, "method": method}
                    row |= {"against": against, "seeds": len(seeds), "n": len(items), "accuracy": a.mean()}
                    found.append(row | {"against_accuracy": b.mean()} | crossed.columns())
    if not found:
        return pd.DataFrame(columns=PLACE + GAINS)
    table = stats.decided(pd.DataFrame(found), level)
    order = {name: rank for rank, name in enumerate(methods())}
    ranks = table.assign(rank=table.method.map(order), other=table.against.map({"base": -2, "rsft": -1} | order))
    return table.loc[ranks.sort_values(["student", "test", "rank", "study", "other"], kind="stable").index][
        PLACE + GAINS
    ]


def _same(base: pd.Series, other: pd.DataFrame, first: str, study: str) -> None:
    """Raise ValueError unless the untrained student answered the common items of two studies alike."""
    theirs = other.set_index("item").correct_flexible.astype(float)
    items = base.index.intersection(theirs.index)
    if not len(items) or (theirs[items] != base[items]).any():
        wrong = f"{first} and {study}" + (" have no test item in common" if not len(items) else "")
        raise ValueError(
            f"the untrained students of {wrong} did not answer alike, so that their students cannot be compared"
        )


def costs(files: Files, name: str) -> pd.DataFrame:
    """What the training of each method took, all links of its chain together: student, train, study, method, COSTS.

    Means over the seeds.  tokens: those trained on, or sampled and trained on.  core_minutes: of the training itself;
    of an older study, whose logs do not have them, at most so many (`at_most`): the time that its training took on a
    machine with other work, or the core-seconds of the whole notebook run if these are fewer; with the reward model's.
    """
    import pandas as pd

    from .collect import training_cost, training_logs

    models = training_cost(files)
    rows = []
    for method in methods():
        for place, log in training_logs(files, method):
            seconds = log.get("core_seconds", _at_most(files, method, place, log["seconds"]))
            if methods()[method].reward == "prm":
                seconds += models.seconds[(models.method == "prm") & (models.seed == place["seed"])].sum()
            tokens = log["completion_tokens"] if "completions" in log else log["tokens"]
            row = {"student": place["student"], "train": place["task"], "method": method, "tokens": tokens}
            row |= {"examples": log.get("examples", log.get("completions")), "core_minutes": seconds / 60}
            rows.append(row | {"at_most": "core_seconds" not in log})
    if not rows:
        return pd.DataFrame(columns=["student", "train", "study", "method", *COSTS])
    groups = pd.DataFrame(rows).groupby(["student", "train", "method"], sort=False)
    means, table = groups[["examples", "tokens", "core_minutes"]].mean(), []
    for (student, train, method), part in groups:
        chain = [(student, train, link) for link in links(method) if (student, train, link) in means.index]
        row = {"student": student, "train": train, "study": name, "method": method, "trainings": len(part)}
        table.append(row | means.loc[chain].sum().to_dict() | {"at_most": bool(part.at_most.iloc[0])})
    return pd.DataFrame(table)


def _at_most(files: Files, method: str, place: dict, seconds: float) -> float:
    """`seconds`, or the core-seconds that Snakemake measured of the notebook run that trained a student, if fewer."""
    found = (files.root / "benchmarks").glob(f"*-{method}-{place['task']}-s{place['seed']}.tsv")
    return min([seconds, *(float(path.read_text().splitlines()[-1].split("\t")[-1]) for path in found)])


def beside(study: str) -> Files | None:
    """The committed rows of BESIDE; None for that study itself, or if it has none."""
    files = Files(store.ROOT / "results" / "reference" / BESIDE)
    return files if study != BESIDE and (files.root / "predictions").is_dir() else None


def jobs(study: Study) -> Iterator[Job]:
    """The comparison of ways to learn, if the study has DPO beside R-SFT."""
    chosen = study.base.study.methods
    if "rsft" in chosen and any(methods()[name].pairs for name in chosen):
        files = {"inputs": [*reports.graded(study, "predictions"), *reports.written(study, "students")]}
        files["outputs"] = [study.files.root / name for name in ("alternatives.csv", "alternatives_cost.csv")]
        code = ["collect", "seeds", "alternatives"]
        yield report_job(study, "22_alternatives", code, reports.graders(study), sections=["stats"], **files)
