"""The quality of reasoning (Table 1; DECISIONS 28): means by dimension, comparisons, and what the judge can see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentark.evaluate import jobs as evaluation
from agentark.evaluate.jobs import PREDICTIONS
from agentark.graph.job import Job, Study

from . import jobs as reports

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

NAMES = ("quality.parquet", "quality_controls.parquet", "reasoning_quality.csv", "reasoning_quality_differences.csv")
INSTRUMENT = ["test", "dimension", "text", "n", "mean", "low", "high", "unscored"]
INSTRUMENT += ["difference", "diff_low", "diff_high"]


def _dimensions(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that have a score, by the measure, which becomes the score that `measured` reads."""
    from agentark.evaluate.quality import MEASURES

    present = [measure for measure in MEASURES.values() if measure in rows and rows[measure].notna().any()]
    return {m: rows[rows[m].notna()].assign(score=rows[m].astype(float)) for m in present}


def means(rows: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """Return `reasoning_quality.csv`: n, the mean score (1 to 5) and its interval, by cell and dimension.

    rows: what `evaluate.quality.run` returns.  n are the answers that have a score in this dimension.
    """
    import pandas as pd

    from . import measured, tables

    by_dimension = _dimensions(rows)
    if not by_dimension:
        return pd.DataFrame(columns=[*tables.KEYS, "dimension", *measured.MEANS])
    return measured.means(by_dimension, "dimension", level=level, resamples=resamples)


def differences(rows: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """Return `reasoning_quality_differences.csv`: scores minus those of the base and the controls, by item.

    Items without a score on either side are left out (localization has one only where a step is false).
    """
    from . import measured

    return measured.compared(_dimensions(rows), "dimension", level=level, resamples=resamples)


def instrument(controls: pd.DataFrame, *, level: float, resamples: int) -> pd.DataFrame:
    """What the judge says of texts of which it is known what is wrong: INSTRUMENT, a row per test, dimension and text.

    controls: the second table of `evaluate.quality.run`.  The mean score, and its difference to that of the gold
    solution on the same items, both with their interval; an interval of a difference that excludes 0 is one that
    the judge sees.
    """
    import pandas as pd

    from agentark.evaluate import judge_scores, quality

    parts = []
    for test, scored in controls.groupby("test", sort=False):
        table = judge_scores.means(scored, level=level, resamples=resamples)
        pairs = judge_scores.compare(scored, quality.GOLD, level=level, resamples=resamples)
        pairs = pairs.rename(columns={"low": "diff_low", "high": "diff_high"})
        pairs = pairs[["dimension", "model", "difference", "diff_low", "diff_high"]]
        parts.append(table.merge(pairs, on=["dimension", "model"], how="left").assign(test=test))
    if not parts:
        return pd.DataFrame(columns=INSTRUMENT)
    table = pd.concat(parts, ignore_index=True).rename(columns={"items": "n", "model": "text"})
    return table.assign(dimension=table.dimension.map(quality.MEASURES))[INSTRUMENT]


def papers() -> pd.DataFrame:
    """The lower half of the paper's Table 1: mean scores without a scale, a number of repeats, or intervals."""
    from . import paper

    table = paper.table("table01_reasoning_quality").query("metric not in ('avg_nll', 'perplexity')")
    wide = table.pivot(index="metric", columns="method", values="value")
    return wide.loc[list(dict.fromkeys(table.metric)), ["single", "rsft", "da", "pad"]].rename_axis(columns=None)


def jobs(study: Study) -> Iterator[Job]:
    """One run for all answers of a study."""
    config, root = study.base, study.files.root
    quality = config.judges.quality
    local = quality is not None and not (quality.engine or config.engine).serves
    code = ("agentark.evaluate.quality:run", "agentark.report.quality", *reports.graders(study))
    inputs, outputs = reports.written(study, PREDICTIONS.folder), [root / name for name in NAMES]
    models = (quality.model,) if quality and local else ()
    sections = ("judges", "prm.labeller", "stats", *(["engine"] if quality else []))

    def judged(rates) -> dict[tuple[str, str], float]:
        """The expected tokens of a language model as judge: each answer and each control, by dimension and repeat."""
        if quality is None:
            return {}
        from agentark.evaluate import judge  # a plan without a judge starts without large libraries
        from agentark.evaluate.quality import CONTROLS

        texts = len(evaluation.cells(study)) + len(CONTROLS)
        questions = texts * len(config.study.test_tasks) * quality.items * len(judge.DIMENSIONS) * quality.repeats
        return {("read", quality.model): questions * (rates.question + rates.reply)}

    yield Job("13_reasoning_quality", {}, tuple(inputs), tuple(outputs), sections, code, models, tokens=judged,
              params=config)  # fmt: skip
