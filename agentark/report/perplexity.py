"""The perplexity of reasoning (Table 1, E.1; DECISIONS 26): means, and each method against the base and its controls.

The paper averages "per sample", and its Table 1 has exp(mean NLL) for all methods but R-SFT: both are given here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agentark import store, tasks
from agentark.distill.artifacts import STUDENTS
from agentark.evaluate.jobs import PERPLEXITY_ITEMS, PREDICTIONS
from agentark.graph.job import Job, Study

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

ROWS = "perplexity.parquet"  # below the results of a study: what evaluate/perplexity.py writes
ITEMS_READ = 1.5  # texts a test problem, in expectation: gold, own right ones, other orders of some


def sources(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows by their source, with the NLL as score: what `measured` reads."""
    return {source: part.assign(score=part.nll) for source, part in rows.groupby("source", sort=True)}


def means(rows: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """Return `perplexity.csv`, one row per cell and source; rows: what `evaluate.perplexity.run` returns.

    n: solutions; tokens: the mean of their reasoning tokens; nll, low, high: the mean NLL in nats per token with its
    interval; ppl, ppl_low, ppl_high: exp of these; mean_ppl, mean_low, mean_high: the mean of the solutions' exp(NLL).
    """
    import numpy as np

    from . import measured

    options: dict[str, Any] = {"level": level, "resamples": resamples}
    table = measured.means(sources(rows), "source", **options)
    by = list(table.columns[: table.columns.get_loc("n")])
    table = table.rename(columns={"mean": "nll"})
    for name, column in {"ppl": "nll", "ppl_low": "low", "ppl_high": "high"}.items():
        table[name] = np.exp(table[column])
    exponents = {source: part.assign(score=np.exp(part.nll)) for source, part in sources(rows).items()}
    others = measured.means(exponents, "source", **options).drop(columns="n")
    others = others.rename(columns={"mean": "mean_ppl", "low": "mean_low", "high": "mean_high"})
    tokens = rows.groupby(by, sort=False).tokens.mean().reset_index()
    table = table.merge(tokens, on=by).merge(others, on=by)
    return table[[*by, "n", "tokens", *(column for column in table if column not in (*by, "n", "tokens"))]]


def differences(rows: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """Return `perplexity_differences.csv`: NLL of each method minus that of the base and of its controls, by item.

    The texts of `gold` are the same for both; those of `own` are each model's own, of the items that both solve.
    """
    from . import measured

    kept = {name: part for name, part in sources(rows).items() if name in ("gold", "own")}
    return measured.compared(kept, "source", level=level, resamples=resamples)


def orders(rows: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """The control of the instrument: NLL of the reordered gold solutions minus that of the same ones in order.

    One row per cell and order: the coordinates, order, n, difference, low, high.  Below 0 would say that the measure
    does not see whether reasoning makes sense.
    """
    import pandas as pd

    from agentark import stats

    from . import tables

    by = [*tables.keys(rows), "item"]
    wide = rows[rows.source != "own"].pivot(index=by, columns="source", values="nll")
    found = []
    for order in [name for name in ("lines", "words") if name in wide]:
        for key, part in wide[["gold", order]].dropna().groupby(level=by[:-1], sort=False):
            interval = stats.paired_bootstrap(part.gold, part[order], resamples, level=level)
            found.append((*key, order, len(part), *interval))
    table = pd.DataFrame(found, columns=[*by[:-1], "order", "n", "difference", "low", "high"])
    return tables.ordered(table) if len(table) else table


def papers() -> pd.DataFrame:
    """The upper half of the paper's Table 1, without intervals, and exp of its mean NLL."""
    import numpy as np

    from . import paper

    table = paper.table("table01_reasoning_quality").query("metric in ('avg_nll', 'perplexity')")
    wide = table.pivot(index="method", columns="metric", values="value").loc[["single", "rsft", "da", "pad"]]
    return wide.assign(exp_of_nll=np.exp(wide.avg_nll).round(4)).rename_axis(columns=None).reset_index()


def jobs(study: Study) -> Iterator[Job]:
    """One run for all students of a study, if there are any and this program holds their weights."""
    config, root = study.base, study.files.root
    students = config.study.students
    if config.engine.serves or not students:
        return
    inputs = reports.graded(study, PREDICTIONS.folder) + reports.written(study, STUDENTS.folder)
    names = (ROWS, "perplexity.csv", "perplexity_differences.csv")
    outputs = [*(root / name for name in names), store.manifest_path(root / ROWS)]
    code = ["agentark.evaluate.perplexity:run", "agentark.report.perplexity", *reports.graders(study)]
    code += [root for test in config.study.test_tasks for root in tasks.sources(test)["problems"]]

    def read(rates) -> dict[tuple[str, str], float]:
        """The expected tokens: all of a student's methods are read as by the student itself."""
        texts = sum(min(PERPLEXITY_ITEMS, study.size("test", test)) for test in config.study.test_tasks) * ITEMS_READ
        return {("read", s): texts * (rates.question + rates.reply) * (1 + trained) for s in students}

    trained = len(config.study.methods) * len(config.study.train_tasks) * len(config.study.teachers)
    yield Job(
        "12_perplexity", {}, tuple(inputs), tuple(outputs), ("engine.dtype", "stats"), tuple(dict.fromkeys(code)),
        models=tuple(students), tokens=read, params=config,
    )  # fmt: skip
