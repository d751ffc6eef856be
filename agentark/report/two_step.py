"""Two-step training (Appendix F, Table 7): a student trained further by another method, beside the same in one step.

Comparisons over seeds are those of `seeds`; here are how much each student has learnt from in all its steps, and the
form of the paper's table.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentark.distill.method import links, methods
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which does not need pandas
    import pandas as pd

AMOUNTS = ["examples", "steps", "tokens", "completion_tokens"]


def amounts(costs: pd.DataFrame) -> pd.DataFrame:
    """Return what each student has been trained on in all links of its chain: student, task, method, links, AMOUNTS.

    costs: what `collect.training_cost` returns; the amounts are sums over the links, and means over the seeds.
    Raises ValueError if a link of a chain was not trained.
    """
    import pandas as pd

    place = ["student", "task"]
    each = costs[costs.method.isin(list(methods()))].groupby([*place, "method"], sort=False)[AMOUNTS].mean()
    rows = []
    for student, task, method in each.index:
        chain = links(method)
        if missing := [link for link in chain if (student, task, link) not in each.index]:
            raise ValueError(f"{student} on {task}: {method} starts from {missing[-1]}, whose training is not there")
        total = each.loc[[(student, task, link) for link in chain]].sum()
        rows.append({"student": student, "task": task, "method": method, "links": len(chain)} | total.to_dict())
    table = pd.DataFrame(rows, columns=[*place, "method", "links", *AMOUNTS])
    table[AMOUNTS] = table[AMOUNTS].round().astype(int)
    order = list(methods())
    return table.sort_values([*place, "method"], key=lambda c: c.map(order.index) if c.name == "method" else c)


def shared(traces: pd.DataFrame) -> dict[str, int]:
    """Return how many of a debate's traces R-SFT takes, how many DA takes, and how many both take."""
    debate = traces[traces.source == "debate"]
    one, several = debate.rsft, debate.diversity_rank >= 0
    return {"R-SFT": int(one.sum()), "DA": int(several.sum()), "both": int((one & several).sum())}


def table7(main: pd.DataFrame) -> pd.DataFrame:
    """Return chains in the form of the paper's Table 7: one row per student, training and test set and chain.

    main: the main table.  first, second: the accuracies in % of the last two links, each alone in one step; chain: of
    the chain; gain: the chain minus `first`, as the paper has it.  Means over seeds; NaN where a link was not trained
    alone.  Empty without chains.
    """
    import pandas as pd

    place = ["student", "train", "test"]
    means = 100 * main[main.method.isin(list(methods()))].groupby([*place, "method"]).accuracy.mean()
    rows = []
    for *where, method in means.index:
        if not (first := methods()[method].after):
            continue
        alone = {step: means.get((*where, name)) for step, name in (("first", first), ("second", step_of(method)))}
        chain = means[(*where, method)]
        rows.append(dict(zip(place, where)) | {"method": method} | alone | {"chain": chain})
    table = pd.DataFrame(rows, columns=[*place, "method", "first", "second", "chain"])
    return table.assign(gain=(table.chain - table["first"]).astype(float))


def step_of(method: str) -> str:
    """Return the method that is the last step of a chain when it is taken alone; "" if no method is."""
    chain = methods()[method]

    def same(other) -> bool:
        learns = (chain.examples, chain.pairs, chain.reward, chain.optimiser)
        return (other.examples, other.pairs, other.reward, other.optimiser) == learns

    return next((name for name, other in methods().items() if not other.after and same(other)), "")


def jobs(study: Study) -> Iterator[Job]:
    """The comparison of chains with their steps, if the study has a chain."""
    if any(methods()[name].after for name in study.base.study.methods):
        files = {"inputs": [*reports.graded(study, "predictions"), *reports.written(study, "students", "traces")]}
        files["outputs"] = [study.files.root / name for name in ("two_step.csv", "two_step_amounts.csv")]
        code = ["collect", "seeds", "two_step"]
        yield report_job(study, "17_two_step", code, reports.graders(study), sections=["stats"], **files)
