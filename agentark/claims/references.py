"""The claims on the committed rows of every study that one of them names."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from agentark import params, store
from agentark.cells import Files
from agentark.graph.job import Study as Cells
from agentark.report import collect

from .evaluate import Study, table
from .file import Claims

COUNTED = ["holds", "opposite", "undecided", "waits"]


def studies(claims: Claims) -> Iterator[tuple[str, Study]]:
    """The name and the rows of each study that the claims name and that has a committed reference, in their order."""
    named = dict.fromkeys(comparison.study for _, comparison in claims.comparisons() if comparison.study)
    for name in named:
        root = store.ROOT / "results" / "reference" / name
        if root.is_dir():
            config = params.load(store.ROOT / "params" / f"{name}.yaml")[0]
            files = Files(root, Cells(config).files.defaults)
            yield name, Study(collect.predictions(files, collect.logs(files, "test")), config.stats.level)


def verdicts(claims: Claims) -> pd.DataFrame:
    """`evaluate.table` on all references; what has none waits."""
    return table(claims, dict(studies(claims)))


def findings(claims: Claims, decided: pd.DataFrame) -> pd.DataFrame:
    """One row per claim: its finding, the paper's section, and how many of its comparisons have each verdict."""
    counts = decided.groupby(["claim", "verdict"]).size().unstack(fill_value=0).reindex(columns=COUNTED, fill_value=0)
    about = {claim.id: (claim.finding, claim.section) for claim in claims.claims}
    rows = [(*about[claim.id], *counts.loc[claim.id]) for claim in claims.claims]
    return pd.DataFrame(rows, index=list(about), columns=["finding of the paper", "section", *COUNTED])
