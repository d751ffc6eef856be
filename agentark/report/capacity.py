"""Reward models on several backbones: what each knows, what policies gain, larger against smaller (C.1, Table 4).

A policy imitates the best of its own samples by a reward model (`prm_select`).  Its controls select by the plain
likelihood of the same backbone, by chance, and by truth, of which no reward model can keep more.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

from agentark.cells import Files
from agentark.cells.cell import NONE
from agentark.distill.method import methods
from agentark.graph.job import Job, Study, report_job
from agentark.models import names

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

BACKBONE = "prm.backbone"
METHOD, LIKELIHOOD = "prm_select", "likelihood_select"
SELECTED = (METHOD, LIKELIHOOD, "chance_select", "truth_select")
TERMS = {  # what is compared for two backbones: methods that are added and subtracted
    METHOD: {METHOD: 1},
    LIKELIHOOD: {LIKELIHOOD: 1},
    f"{METHOD} - {LIKELIHOOD}": {METHOD: 1, LIKELIHOOD: -1},
}
EXAMINED = {  # columns of `knowledge` that are measures of an examination
    "errors": "errors that lower the score", "step_auroc": "step AUROC", "minus_vote": "best of N - vote",
}  # fmt: skip
KNOWN = ["student", "task", "seed", "method", BACKBONE, "exam", "exam_low", "exam_high", "exam_n", "kept", "kept_low"]
KNOWN += ["kept_high", "kept_n", "all_samples", "at_best", *EXAMINED, "usable"]
PAIRS = ["teacher", "student", "train", "test", "protocol", "what", "smaller", "larger", "differ_in", "seeds", "n"]
PAIRS += ["value_smaller", "value_larger", "difference", "low", "high", "p", "p_holm", "smallest_detectable", "verdict"]


def backbones(values: list[str]) -> pd.DataFrame:
    """Return how networks of the zoo were trained, smallest first.

    Columns: backbone, parameters, tokens, steps, debates (whether it has debated) and longest, the largest number of
    events of the problems that it was trained on.  Raises ValueError for a network without a card: nothing would be
    known of its exposure.
    """
    import pandas as pd

    cards, rows = names.cards(), []
    for value in values:
        if value not in cards:
            raise ValueError(
                f"{value} has no card: the size and the exposure of reward models are told apart in the zoo"
            )
        card = cards[value]
        row = {"backbone": value, **{name: card[name] for name in ("parameters", "tokens", "steps")}}
        row["debates"] = any("debate" in phase["shares"] for phase in card["phases"])
        rows.append(row | {"longest": max(max(phase["lengths"]) for phase in card["phases"])})
    return pd.DataFrame(rows).sort_values(["parameters", "tokens"], kind="stable", ignore_index=True)


def differ_in(smaller: str, larger: str) -> str:
    """Return in what two networks of the zoo differ: "size", "exposure" (tokens or curriculum), or both."""
    one, other = (names.cards()[name] for name in (smaller, larger))
    size = one["parameters"] != other["parameters"]
    exposure = (one["tokens"], one["phases"]) != (other["tokens"], other["phases"])
    return " and ".join(word for word, differs in (("size", size), ("exposure", exposure)) if differs) or "nothing"


def knowledge(files: Files, examined: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return what each way to select knows of a policy's own samples: KNOWN, one row per training.

    examined: what `collect.examinations` returns.  exam: the share of right ones among the best of N samples of dev
    problems (by chance: of all samples; by truth: of problems with a right one), with its interval where the
    examination has one.  kept: the share of right ones among the kept samples of the training problems, with Wilson's
    interval; all_samples, at_best: what chance and truth have of the same samples.  EXAMINED and usable are those of a
    reward model's examination.
    """
    import pandas as pd

    from agentark import stats

    from . import collect

    rows = []
    for method in SELECTED:
        for place, log in collect.training_logs(files, method):
            counts = log["selection"]
            kept, n = counts["right_kept"], counts["problems"] - counts["left_out"]
            low, high = stats.wilson(kept * n, n, level)
            row = {**place, "method": method, BACKBONE: place.get(BACKBONE, NONE)}
            row |= {"kept": kept, "kept_low": low, "kept_high": high, "kept_n": n}
            row |= {"all_samples": counts["right_completions"], "at_best": counts["right_at_best"]}
            rows.append(row | _exam(examined, row))
    return pd.DataFrame(rows, columns=KNOWN)


def _exam(examined: pd.DataFrame, row: dict) -> dict:
    """The examination's measures of one way to select, on the policy's own samples."""
    from agentark.evaluate.criteria import REWARD_MODEL, USABLE

    own = examined[(examined.traces == "own") & (examined.student == row["student"]) & (examined.task == row["task"])]
    own = own[own.seed == row["seed"]]
    if row["method"] in (METHOD, LIKELIHOOD):
        own = own[own[BACKBONE] == row[BACKBONE]]
        scorer = REWARD_MODEL if row["method"] == METHOD else "likelihood"
    else:  # the same of every reward model
        scorer = REWARD_MODEL
    of = own[own.scorer == scorer].drop_duplicates("measure").set_index("measure")
    if of.empty:
        return {}
    best = of.loc["best of N"]
    if row["method"] not in (METHOD, LIKELIHOOD):
        value = best.chance if row["method"] == "chance_select" else of.loc["pass at N"].value
        return {"exam": value, "exam_n": best.n}
    found = {"exam": best.value, "exam_low": best.low, "exam_high": best.high, "exam_n": best.n}
    found |= {column: of.loc[measure].value for column, measure in EXAMINED.items()}
    return found | ({"usable": str(of.loc[USABLE].passed) == "True"} if row["method"] == METHOD else {})


def points(known: pd.DataFrame, compared: pd.DataFrame) -> pd.DataFrame:
    """Return `knowledge` with each policy's gain over its base on the task that it practised (`capacity.csv`).

    compared: what `tables.comparisons` returns.  Adds teacher, n, gain, gain_low, gain_high, p, p_holm,
    smallest_detectable and verdict.  Backbones are ordered by size.
    """
    import pandas as pd

    gains = compared[(compared.against == "base") & (compared.train == compared.test)]
    renamed = {"train": "task", "difference": "gain", "low": "gain_low", "high": "gain_high"}
    added = ["n", "gain", "gain_low", "gain_high", "p", "p_holm", "smallest_detectable", "verdict"]
    by = ["student", "task", "seed", "method", BACKBONE]
    joined = known.merge(gains.rename(columns=renamed)[["teacher", *by, *added]], on=by)
    ranks = {name: rank for rank, name in enumerate([NONE, *(backbones(used(known)).backbone if used(known) else ())])}
    order = [joined.student, joined.method.map(SELECTED.index), joined[BACKBONE].map(ranks), joined.seed]
    return joined.loc[pd.concat(order, axis=1, ignore_index=True).sort_values([0, 1, 2, 3]).index].reset_index(
        drop=True
    )


def judged(points: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return how many more right samples the larger backbone of every two keeps, per policy and way to select.

    points: what `points` returns at `level`.  Columns: student, task, seed, method, smaller, larger, differ_in,
    difference, low, high: Newcombe's interval, which is wider than a paired one would be; which samples were kept is
    not stored.
    """
    import pandas as pd

    from agentark import stats

    rows = []
    chosen = points[points[BACKBONE] != NONE]
    for place, part in chosen.groupby(["student", "task", "seed", "method"], sort=False):
        for small, large in combinations(part.to_dict("records"), 2):
            sides = [side[c] for side in (small, large) for c in ("kept", "kept_low", "kept_high")]
            row = dict(zip(("student", "task", "seed", "method"), place, strict=True))
            row |= {"smaller": small[BACKBONE], "larger": large[BACKBONE]}
            row["differ_in"] = differ_in(small[BACKBONE], large[BACKBONE])
            rows.append(row | dict(zip(("difference", "low", "high"), stats.unpaired_difference(*sides))))
    return pd.DataFrame(rows)


def used(rows: pd.DataFrame) -> list[str]:
    """Return the backbones that some rows of a study name; none if it does not vary them."""
    return sorted(set(rows[BACKBONE]) - {NONE}) if BACKBONE in rows else []


def pairs(predictions: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return the larger minus the smaller backbone of every two, item by item (`capacity_pairs.csv`): PAIRS.

    predictions: what `collect.predictions` returns.  what: the accuracy of the policy that
    selects by the reward model, of the one that selects by its backbone's likelihood, and the first minus the second.
    Interval, p and smallest_detectable (at Holm's first step, with power 0.8) are over test items and, if there are
    several, training seeds (`stats.crossed`); Holm's correction is over this table.  Of networks of one size, the one
    with more training stands for the larger one (see `differ_in`).
    """
    import pandas as pd

    from agentark import stats

    from . import tables
    from .seeds import clusters

    if len(used(predictions)) < 2:
        return pd.DataFrame(columns=PAIRS)
    ordered = list(backbones(used(predictions)).backbone)
    rows = tables.headline(predictions)
    rows = rows[rows.method.isin((METHOD, LIKELIHOOD))].assign(score=lambda frame: tables.scores(frame))
    by = [column for column in tables.keys(rows) if column not in ("method", "seed", BACKBONE)]
    found: list[dict] = []
    for place, part in rows.groupby(by, sort=False):
        where = dict(zip(by, place, strict=True))
        made = {
            key: cell.pivot(index="seed", columns="item", values="score")
            for key, cell in part.groupby(["method", BACKBONE], sort=False)
        }
        shared = clusters(where["test"], part.item)
        for (what, terms), (small, large) in (
            (term, pair) for term in TERMS.items() for pair in combinations(ordered, 2)
        ):
            if not all((method, backbone) in made for method in terms for backbone in (small, large)):
                continue
            sides = [
                sum(sign * made[method, backbone] for method, sign in terms.items()) for backbone in (small, large)
            ]
            one, other = (side.dropna(axis=1) for side in sides[0].align(sides[1], join="inner"))
            crossed = stats.crossed((other - one).to_numpy(), [shared[item] for item in one.columns], level=level)
            row = where | {"what": what, "smaller": small, "larger": large, "differ_in": differ_in(small, large)}
            row |= {"seeds": len(one), "n": one.shape[1]} | crossed.columns()
            row |= {"value_smaller": one.to_numpy().mean(), "value_larger": other.to_numpy().mean()}
            found.append(row)
    table = stats.decided(pd.DataFrame(found), level)
    return table[[*PAIRS[:5], *(c for c in by if c not in PAIRS), *PAIRS[5:]]]


def table4() -> pd.DataFrame:
    """Return the paper's Table 4 as printed, with the larger minus the smaller reward model, in percent and points."""
    from . import paper

    table = paper.table("table04_prm_ablation")
    wide = table.pivot(index=["test", "policy", "train"], columns="prm", values="value")
    wide = wide.assign(difference=(wide["8B"] - wide["0.6B"]).round(2)).reset_index().rename_axis(columns=None)
    return wide.sort_values(
        ["test", "policy", "train"], key=lambda column: column.replace("avg", "~"), ignore_index=True
    )


def beside_paper(compared: pd.DataFrame) -> pd.DataFrame:
    """Return our cells in the form of `table4`, of the backbones that differ in size alone, in percent and points.

    compared: what `pairs` returns.  With the interval of each difference, and n.
    """
    rows = compared[(compared.what == METHOD) & (compared.differ_in == "size")]
    columns = {"test": "test", "student": "policy", "train": "train", "smaller": "smaller PRM", "larger": "larger PRM"}
    table = rows[[*columns]].rename(columns=columns)
    shares = ("value_smaller", "value_larger", "difference", "low", "high")
    return table.assign(**{name: (100 * rows[name]).round(1) for name in shares}, n=rows.n).reset_index(drop=True)


def jobs(study: Study) -> Iterator[Job]:
    """The notebook on the capacity of reward models, if a study compares several backbones by selection."""
    known, chosen = methods(), study.base.study.methods
    if len(study.base.study.axes.get(BACKBONE, [])) > 1 and METHOD in chosen and METHOD in known:
        root = study.files.root
        files = {"inputs": [*reports.graded(study, "predictions"), *reports.written(study, "prms", "students")]}
        files["outputs"] = [root / "capacity.csv", root / "capacity_pairs.csv"]
        code = ["collect", "capacity", "capacity_shown", "exam_and_gain", "open_ended"]
        yield report_job(study, "09_prm_capacity", code, reports.graders(study), sections=["stats"], **files)
