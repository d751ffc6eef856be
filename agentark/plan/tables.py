"""The plan as tables: beside what was measured of a study, and beside the hours that the paper reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agentark import params, store
from agentark.distill.method import methods
from agentark.graph import graph
from agentark.graph.job import Job

from .cost import expected
from .rates import KINDS, Rates, rates, speed

if TYPE_CHECKING:  # `agentark plan` starts without pandas
    import pandas as pd

PAPER = store.ROOT / "params" / "paper.yaml"
STUDENT = "Qwen3-8B"  # Table 6: "8B student model"; the paper has two of that size
TRAINING = ("sampled", "trained")  # the kinds of tokens of a training


def planned(config: params.Params, limit: int) -> pd.DataFrame:
    """Return the expected cost of each run of a stage: name, notebook, method, by_rewards, `KINDS`, planned_s.

    These are the plan's rates, also where a run was measured.  Reports on the whole study are left out.
    """
    import pandas as pd

    r, rows = rates(config), []
    for job in graph.all_jobs(config, limit):
        if job.coordinates:
            cost, method = expected(job, config, r), str(job.coordinates.get("method", ""))
            row = {"name": job.name, "notebook": job.notebook, "method": method, "by_rewards": _by_rewards(method)}
            rows.append(row | cost.tokens | {"planned_s": cost.wall_s})
    return pd.DataFrame(rows, columns=["name", "notebook", "method", "by_rewards", *KINDS, "planned_s"])


def _by_rewards(method: str) -> bool:
    return method in methods() and bool(methods()[method].reward)


def runs(folder: Path) -> pd.DataFrame:
    """Return what Snakemake measured of each notebook run below a study's results: name, wall_s, cpu_s, max_rss_mb.

    cpu_s is a lower bound: after 15 s Snakemake looks every 30 s, and does not see what follows its last look.
    """
    import pandas as pd

    names = {"s": "wall_s", "cpu_time": "cpu_s", "max_rss": "max_rss_mb"}
    rows = [{"name": p.stem, **pd.read_csv(p, sep="\t").iloc[0]} for p in sorted((folder / "benchmarks").glob("*.tsv"))]
    table = pd.DataFrame(rows).rename(columns=names).reindex(columns=["name", *names.values()])
    return table.astype({column: float for column in names.values()})


def beside_plan(planned: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """Return the plan's minutes beside those measured, per notebook and in total.

    planned: what `planned` returns; measured: what `runs` returns.  Columns: notebook, runs (of the plan), measured
    (of these), and of the measured ones plan_min, wall_min, cpu_min (at least), wall_over_plan, cpu_over_plan.
    """
    import pandas as pd

    both = planned.merge(measured, on="name", how="left")
    seen = both[both.wall_s.notna()]
    minutes = seen.groupby("notebook")[["planned_s", "wall_s", "cpu_s"]].sum() / 60
    table = both.groupby("notebook").agg(runs=("name", "size"), measured=("wall_s", "count")).join(minutes)
    table = pd.concat([table, table.sum().to_frame("all").T.rename_axis("notebook")]).reset_index()
    table = table.rename(columns={"planned_s": "plan_min", "wall_s": "wall_min", "cpu_s": "cpu_min"})
    ratios = {f"{kind}_over_plan": table[f"{kind}_min"] / table.plan_min for kind in ("wall", "cpu")}
    return table.assign(**ratios).astype({"runs": int, "measured": int})


def tokens_beside_plan(planned: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Return the plan's tokens beside those in the rows, by kind: kind, plan_m, rows_m (millions), rows_over_plan.

    "trained" is of imitation and of reward models; the logs of training by rewards have the sampled tokens only.
    """
    import pandas as pd

    texts = found[found.stage.isin(["debate", "evaluate"])]
    trained = found.tokens_trained[found.stage.isin(["distill", "prm"])].sum()
    counted = {
        "generated": texts.tokens_out.sum() - texts.tokens_revised.sum(), "revised": texts.tokens_revised.sum(),
        "read": (texts.tokens_in - texts.tokens_cached).sum(), "trained": trained,
        "sampled": found.tokens_out[found.stage.isin(["rl", "select"])].sum(),
    }  # fmt: skip
    plans = {kind: planned[kind][~planned.by_rewards | (kind != "trained")].sum() for kind in counted}
    table = pd.DataFrame({"kind": counted.keys(), "plan_m": plans.values(), "rows_m": counted.values()})
    table[["plan_m", "rows_m"]] /= 1e6
    return table.assign(rows_over_plan=table.rows_m / table.plan_m)[(table.plan_m > 0) | (table.rows_m > 0)]


def paper_hours(student: str = STUDENT) -> pd.DataFrame:
    """Return the GPU-hours of Table 6 beside those that the plan of params/paper.yaml expects, per training set.

    Columns: what (debates, extraction, or a row of Table 6), paper (GPUs × hours; NaN where the paper has none), and
    one column per training set.  Of a training run only the training counts, not the answers to the test sets, and of
    the reward models not the control, whose training is as long.  The plan is that of the study's first teacher.
    """
    import pandas as pd

    from agentark.report import paper

    config, _ = params.load(PAPER)
    study = config.study.model_copy(update={"teachers": config.study.teachers[:1], "students": [student]})
    config = config.model_copy(update={"study": study})
    r, hours = rates(config), {}
    for job in graph.all_jobs(config, 0):
        if job.coordinates.get("split", "train") == "train" and "task" in job.coordinates:
            name = {"01_debate_generation": "debates", "02_filtering": "extraction", "06_prm": "prm"}.get(job.notebook)
            name = name or {"pad": "grpo"}.get(job.coordinates["method"], job.coordinates["method"])
            whole = name in ("debates", "extraction")
            seconds = expected(job, config, r).device_s if whole else _training(job, r)
            models = 2 if name == "prm" else 1  # 06_prm trains the control along
            hours[name, job.coordinates["task"]] = seconds / 3600 / models
    table = pd.Series(hours).unstack()[config.study.train_tasks]
    table.loc["pad"] = table.loc["prm"] + table.loc["grpo"]
    theirs = paper.table("table06_training_cost").set_index("method")
    table.insert(0, "paper", (theirs.gpus * theirs.hours).reindex(table.index))
    first = ["debates", "extraction"]
    rest = [name for name in table.index if name not in (*first, *theirs.index)]
    return table.loc[[*first, *theirs.index, *rest]].rename_axis("what").reset_index()


def _training(job: Job, r: Rates) -> float:
    """The expected seconds of the training in a run that trains and answers."""
    return sum(n / speed(kind, model, r) for (kind, model), n in job.tokens(r).items() if kind in TRAINING)
