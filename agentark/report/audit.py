"""What the paper's text and captions say of its tables, each statement recomputed from the tables.

`statements` gives one row per statement: where it stands, its words (shortened), the table, the formula, what that
gives, what chance would give where it is a rate, and a verdict:

    agrees    the formula gives what is said, in every case that the statement covers
    in part   in some of them, or by one reading of the words only
    differs   in none of them
    no table  the tables have no number of it

A verdict is about printed numbers only.  It does not say why text and table differ, nor which of them is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from agentark.graph.job import Job, Study, report_job

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which does not need pandas
    import pandas as pd

    Tables = dict[str, pd.DataFrame]

FILES = sorted((Path(__file__).parent / "paper").glob("*.csv"))
LINE = ("where", "paper", "table", "formula", "recomputed", "verdict", "chance")
Line = tuple[str, str, str, str, str, str, str]  # a value for each of LINE
TEACHER = "qwen3-32b"  # of the comparisons in 4.2
SAME_FAMILY = ("qwen3-8b", "qwen3-1.7b", "qwen3-0.6b")
MATHEMATICS = ("gsm8k", "math", "metamathqa")
TRUTHFULQA = 817  # questions


def verdict(right: int, cases: int) -> str:
    """The verdict on a statement that holds in `right` of its `cases`."""
    return "agrees" if right == cases else "in part" if right else "differs"


def half(cases: int) -> str:
    """Chance for a sign."""
    return f"{cases / 2:g} of {cases}"


def main_results(cells: pd.DataFrame, level: float) -> Iterator[Line]:
    """Statements about all of Tables 9-13.  cells: `audit_numbers.matrix`."""
    from . import audit_numbers

    total, fit = len(cells), int(cells.one_run.sum())
    expected = audit_numbers.one_run(cells).query("rule == 'half up'").expected.sum()
    sizes = ", ".join(f"{test} {n:,}" for test, n in audit_numbers.QUESTIONS.items())
    yield (
        "4.1",
        "accuracy on the test dataset",
        "9-13",
        f"value = 100 k / n, rounded, for a whole k; n: {sizes}",
        f"{fit} of {total}",
        verdict(fit, total),
        f"{expected:.0f} of {total}",
    )
    table = audit_numbers.readings(cells)
    match, chance = audit_numbers.matching(table, 4.8)
    found = [f"{r.form}, {r.method.upper()}, {r.teachers}, {r.test}: {r.gain:.2f}" for r in match.itertuples()]
    points = table[(table.form == "points") & (table.test == "both")].set_index(["method", "teachers"]).gain
    said = f"{len(match)} of {len(table)} readings ({'; '.join(found) or 'none'}); in points PAD of {TEACHER} has "
    said += f"{points['pad', TEACHER]:.2f}, PAD of all {points['pad', 'all']:.2f}, all cells {points['all', 'all']:.2f}"
    yield (
        "4.2",
        "improves by 4.8 %",
        "9-13",
        "a mean gain over the base that is 4.8 at one decimal",
        said,
        verdict(bool(len(match)) + (match.form == "points").any(), 2),
        f"{chance:.1f} readings",
    )
    counted = audit_numbers.experiments(cells)
    trainings, others = counted.found[0], ", ".join(counted.counted[counted.found == 120])
    yield (
        "4.1",
        "120 experiments in total",
        "9-13",
        "teachers × students × methods × training sets",
        f"{counted['product'][0]} = {trainings}; 120 are: {others or 'none'}",
        "agrees" if trainings == 120 else verdict(bool(others), 2),
        "",
    )
    off = cells[cells.train.isin(audit_numbers.QUESTIONS) & (cells.train != cells.test)]
    base = cells.groupby(["student", "test"]).base.first()
    of_row = (off.value - off.base).abs()
    of_column = (off.value - [base[key] for key in zip(off.student, off.train, strict=True)]).abs()
    nearer = int((of_column < of_row).sum())
    yield (
        "captions",
        "rows are training datasets, columns test benchmarks",
        "9-13",
        "|value - base on the row's set|, |value - base on the column's set|, where the two sets differ",
        f"means {of_row.mean():.1f} and {of_column.mean():.1f} points; the second smaller in {nearer} of {len(off)}",
        verdict(2 * nearer > len(off), 1),
        half(len(off)),
    )
    gains = audit_numbers.gains(cells, level)
    pad = gains[gains.method == "pad"]
    up, above, holm = ((pad.gain > 0).sum(), (pad.side == "above").sum(), (pad.p_holm <= 1 - level).sum())
    yield (
        "4.2",
        "PAD consistently yields improvements",
        "9-13, PAD",
        "value - base > 0",
        f"{up} of {len(pad)}, mean {pad.gain.mean():+.2f} points",
        verdict(up, len(pad)),
        half(len(pad)),
    )
    yield (
        "4.2",
        "significantly improves",
        "9-13, PAD",
        f"the unpaired {level:.0%} interval of value - base lies above 0 (Newcombe)",
        f"{above} of {len(pad)}; {holm} after Holm over {len(gains)} (z-test)",
        verdict(above, len(pad)),
        f"{(1 - level) / 2 * len(pad):.0f} of {len(pad)}",
    )
    signs = {m: ((g > 0).sum(), len(g), g.mean()) for m, g in gains.groupby("method").gain if m != "pad"}
    said = "; ".join(f"{m.upper()} {k} of {n}, mean {mean:+.2f} points" for m, (k, n, mean) in signs.items())
    yield (
        "4.2",
        "RSFT and DA sometimes improve",
        "9-13, RSFT, DA",
        "value - base > 0",
        said,
        verdict(sum(0 < k < n for k, n, _ in signs.values()), len(signs)),
        "half of each",
    )


def comparisons(cells: pd.DataFrame) -> Iterator[Line]:
    """Statements of 4.2 that compare training sets, students and domains, for one teacher."""
    cells, table = cells[cells.teacher == TEACHER], f"9-13, {TEACHER}"
    by_set = cells.groupby("train").gain.mean().sort_values(ascending=False)
    said = ["metamathqa", "gsm8k", "math", "medmcqa"]
    yield (
        "4.2",
        "MetaMathQA improves most, then GSM8K, Math, MedMCQA",
        table,
        "mean gain by training set",
        ", ".join(f"{name} {gain:+.2f}" for name, gain in by_set.items()),
        verdict(list(by_set.index) == said, 1),
        "1 order of 24",
    )
    mean, methods = cells.groupby(["method", "student"]).gain.mean(), ("rsft", "da", "pad")
    cross = sorted(set(cells.student) - set(SAME_FAMILY))
    smaller = [(mean[m, s], mean[m, SAME_FAMILY[0]]) for m in methods for s in SAME_FAMILY[1:]]
    larger = [(mean[m, s], mean[m, q]) for m in methods for s in cross for q in SAME_FAMILY]
    for words, pairs, formula in (
        ("1.7B and 0.6B consistently benefit more than 8B", smaller, "mean gain by method: of 1.7B, of 0.6B > of 8B"),
        ("cross-family gains are larger", larger, "mean gain by method: of Gemma-7B, of LLaMA > of each Qwen3 student"),
    ):
        right = sum(a > b for a, b in pairs)
        yield "4.2", words, table, formula, f"{right} of {len(pairs)}", verdict(right, len(pairs)), half(len(pairs))
    domains = {"set": cells.train == cells.test, "field": cells.train.isin(MATHEMATICS) == (cells.test == "gsm8k")}
    best = {
        (name, unit): (cells[inside][column].max(), cells[~inside][column].max())
        for name, inside in domains.items()
        for column, unit in (("relative", "%"), ("gain", "points"))
    }
    hits = [(round(a) == 30) + (round(b) == 7) for a, b in best.values()]
    yield (
        "4.2",
        "maximum improvement 30 % in domain, 7 % out of it",
        table,
        "largest gain in and out of domain; in domain: trained on the test's set, or on its field",
        "; ".join(f"{name}, {unit}: {a:.1f} and {b:.1f}" for (name, unit), (a, b) in best.items()),
        verdict(max(hits), 2),
        "",
    )
    yield (
        "4.2",
        "only slightly worse than the vanilla MAS",
        "none",
        "value - accuracy of the debate",
        "no table has an accuracy of the debate",
        "no table",
        "",
    )


def reasoning(tables: Tables) -> Iterator[Line]:
    """Statements of 4.4 and 4.5 about Tables 1 and 2."""
    quality = tables["table01_reasoning_quality"].pivot(index="metric", columns="method", values="value")
    scores = quality.drop(index=["avg_nll", "perplexity"])
    best = scores.idxmax(axis=1)
    yield (
        "4.4",
        "PAD achieves the highest scores across all dimensions",
        "1",
        "the method with the largest score",
        ", ".join(f"{name} {method}" for name, method in best.items()),
        verdict((best == "pad").sum(), len(best)),
        f"{len(best) / scores.shape[1]:g} of {len(best)}",
    )
    nll, printed = quality.loc["avg_nll"], quality.loc["perplexity"]
    lower = int((printed.drop("single") < printed["single"]).sum())
    yield (
        "4.4",
        "all distilled models have lower perplexity",
        "1",
        "perplexity < that of the single agent",
        f"{lower} of 3",
        verdict(lower, 3),
        half(3),
    )
    power = nll.map(exp)
    equal = (power - printed).abs() <= 5e-5 * (1 + power)  # both are printed with four decimals
    other = [f"{m}: exp({nll[m]}) = {power[m]:.4f}, printed {printed[m]}" for m in nll.index[~equal]]
    yield (
        "Eq. 11",
        "perplexity is exp(mean NLL) of a sample",
        "1",
        "exp(average NLL) = perplexity, within rounding",
        f"{equal.sum()} of {len(equal)} ({'; '.join(other) or 'all'})",
        verdict(equal.sum(), len(equal)),
        "",
    )
    truthful = tables["table02_truthfulqa"].pivot(index="metric", columns="method", values="value")
    first, above = (
        int((truthful.idxmax(axis=1) == "pad").sum()),
        truthful.drop(columns="single").gt(truthful.single, axis=0),
    )
    yield (
        "4.5",
        "PAD achieves the highest scores across all metrics",
        "2",
        "the method with the largest value",
        f"PAD in {first} of {len(truthful)}",
        verdict(first, len(truthful)),
        f"{len(truthful) / 4:g} of {len(truthful)}",
    )
    yield (
        "4.5",
        "all distillation methods improve over the base",
        "2",
        "value > that of the single agent",
        f"{above.sum().sum()} of {above.size}",
        verdict(above.sum().sum(), above.size),
        half(above.size),
    )
    from .audit_numbers import STEPS, hundredths, printable

    fits = hundredths(100 * tables["table02_truthfulqa"].value).isin(printable(TRUTHFULQA))
    yield (
        "4.5",
        "BLEU and ROUGE, which are no shares of questions",
        "2",
        f"value = k / {TRUTHFULQA}, rounded, for a whole k: in less than half",
        f"{fits.sum()} of {len(fits)}",
        verdict(2 * fits.sum() < len(fits), 1),
        f"{len(fits) * (TRUTHFULQA + 1) / (STEPS + 1):.1f} of {len(fits)}",
    )


def statements(tables: Tables, level: float = 0.95) -> pd.DataFrame:
    """All statements, one row each: the columns of LINE, the verdict last.  tables: those of the paper, by name."""
    import pandas as pd

    from . import audit_appendix, audit_numbers

    cells = audit_numbers.matrix(tables["table09_13_distillation"], tables["table09_13_baselines"])
    parts = [main_results(cells, level), comparisons(cells), reasoning(tables), *audit_appendix.parts(tables)]
    table = pd.DataFrame([line for part in parts for line in part], columns=list(LINE))
    return table[[*LINE[:-2], "chance", "verdict"]]


def jobs(study: Study) -> Iterator[Job]:
    """The notebook that shows both: the statements, and what the printed numbers can be."""
    yield report_job(
        study,
        "20_audit",
        ["audit", "audit_numbers"],
        sections=["stats.level"],
        inputs=FILES,
        outputs=[study.files.root / "paper_audit.csv"],
    )
