"""What the notebooks show besides figures: code beside its equation, tables for reading, and whole tables folded."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from agentark.models.names import display_name

from . import page, paper
from .methods import shown

if TYPE_CHECKING:
    from IPython.display import HTML, Markdown

NETWORKS = ["teacher", "student"]  # the columns of which `network` makes one name
TRAINING = ("examples", "steps", "completion_tokens", "completions", "seconds")  # of training.json


def code(*functions: Callable) -> Markdown:
    """The source of some functions, with their docstrings, as highlighted code."""
    from IPython.display import Markdown

    blocks = []
    for function in functions:
        source = textwrap.dedent(inspect.getsource(function)).rstrip()
        blocks.append(f"`{function.__module__}`:\n\n```python\n{source}\n```")
    return Markdown("\n\n".join(blocks))


def folded(frame: pd.DataFrame, summary: str, open_at_first: bool = False) -> HTML:
    """A whole table behind a line that a click unfolds; all text in it is escaped."""
    from IPython.display import HTML

    start = "<details open>" if open_at_first else "<details>"
    return HTML(f"{start}<summary>{escape(summary)}</summary>{page.table(frame.round(3))}</details>")


def label(method: str) -> str:
    """The name of a method in tables and legends."""
    return shown()[method].label if method in shown() else method


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    """A value with its interval as text, in percent or percentage points: "58.9 [55.8, 61.9]"."""
    return f"{100 * value:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def network(row) -> str:
    """The name of the student of a row, or of the teacher if there is none."""
    return display_name(row.student if row.student != "-" else row.teacher)


def accuracies(main: pd.DataFrame) -> pd.DataFrame:
    """The main table for reading: names instead of identifiers, accuracies in % with their 95 % interval."""
    rows = [
        (network(r), label(r.method), r.train, r.test, r.n, interval(r.accuracy, r.ci_low, r.ci_high))
        for r in main.itertuples()
    ]
    return pd.DataFrame(rows, columns=["network", "method", "trained on", "tested on", "n", "accuracy (%) [95 %]"])


def differences(paired: pd.DataFrame) -> pd.DataFrame:
    """Paired comparisons for reading: names instead of identifiers, differences in points with their interval."""
    rows = []
    for r in paired.itertuples():
        difference = interval(r.difference, r.low, r.high, "+")
        compared = (network(r), r.train, r.test, label(r.method), label(r.against), r.n, difference)
        rows.append((*compared, f"{r.p:.2g}", f"{r.p_holm:.2g}", r.verdict))
    columns = ["network", "trained on", "tested on", "method", "against", "n", "difference (points) [95 %]"]
    return pd.DataFrame(rows, columns=[*columns, "p", "Holm p", "verdict"])


def protocols(table: pd.DataFrame) -> pd.DataFrame:
    """`protocols.ways` for reading: accuracies in %, differences in points, with their 95 % intervals."""
    rows = []
    for r in table.itertuples():
        row = {"teacher": display_name(r.teacher), "tested on": r.task, "protocol": r.protocol, "n": r.n}
        row |= {"accuracy (%) [95 %]": interval(r.accuracy, r.ci_low, r.ci_high), "completions": f"{r.completions:.1f}"}
        row |= {"tokens": f"{r.tokens_out:.0f}", "vote (%)": f"{100 * r.vote:.1f}"}
        rows.append(row | _tested(r, "minus the vote"))
    return pd.DataFrame(rows)


def protocol_students(table: pd.DataFrame) -> pd.DataFrame:
    """`protocols.students` for reading: accuracies in %, differences in points, with their 95 % intervals."""
    rows = []
    for r in table.itertuples():
        row = {
            "student": display_name(r.student),
            "trained on": r.train,
            "tested on": r.test,
            "method": label(r.method),
        }
        row |= {"protocol": r.protocol, "against": r.against, "seeds": r.seeds, "n": r.n}
        row |= {"accuracy (%)": f"{100 * r.accuracy:.1f}", "that of the other (%)": f"{100 * r.against_accuracy:.1f}"}
        rows.append(row | _tested(r, "difference"))
    return pd.DataFrame(rows)


def _tested(r, name: str) -> dict[str, str]:
    """A tested difference of accuracies for reading, in points; `name` heads its column."""
    tested = {f"{name} (points) [95 %]": interval(r.difference, r.low, r.high, "+")}
    tested |= {"detectable": f"{100 * r.smallest_detectable:.1f}", "p": f"{r.p:.2g}", "Holm p": f"{r.p_holm:.2g}"}
    return tested | {"verdict": r.verdict}


def measured(table: pd.DataFrame, name: str, digits: int = 2) -> pd.DataFrame:
    """Differences of a measure (`measured.compared`, `perplexity.orders`) for reading, in the unit of the measure.

    name: the column that says what was measured.  Columns that the table does not have are left out.
    """
    rows = []
    for r in table.itertuples():
        row = {"network": network(r), "trained on": r.train, "tested on": r.test, name: getattr(r, name)}
        row |= {"method": label(r.method)} | ({"against": label(r.against)} if "against" in table else {})
        row |= {"n": r.n, "difference [95 %]": _signed(r.difference, r.low, r.high, digits)}
        if "p_holm" in table:
            row |= {"p": f"{r.p:.2g}", "Holm p": f"{r.p_holm:.2g}", "verdict": r.verdict}
        rows.append(row)
    return pd.DataFrame(rows)


def _signed(value: float, low: float, high: float, digits: int) -> str:
    """A difference with its interval as text; empty if there is none."""
    return "" if pd.isna(value) else f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _plain(value: float, low: float, high: float, digits: int) -> str:
    """A mean with its interval as text; empty if there is none, and without an interval that could not be computed."""
    if pd.isna(value):
        return ""
    return f"{value:.{digits}f}" + ("" if pd.isna(low) else f" [{low:.{digits}f}, {high:.{digits}f}]")


def perplexities(table: pd.DataFrame) -> pd.DataFrame:
    """`perplexity.means` for reading: NLL in nats per token, and both perplexities, with their 95 % intervals."""
    rows = []
    for r in table.itertuples():
        row = {"network": network(r), "method": label(r.method), "trained on": r.train, "tested on": r.test}
        row |= {"source": r.source, "n": r.n, "tokens": f"{r.tokens:.1f}"}
        row |= {"NLL [95 %]": _plain(r.nll, r.low, r.high, 3)}
        row |= {"ppl [95 %]": _plain(r.ppl, r.ppl_low, r.ppl_high, 3)}
        rows.append(row | {"mean ppl [95 %]": _plain(r.mean_ppl, r.mean_low, r.mean_high, 3)})
    return pd.DataFrame(rows)


def qualities(table: pd.DataFrame) -> pd.DataFrame:
    """`quality.means` for reading: one row per cell; in each dimension the mean score, its 95 % interval, and n."""
    rows: dict[tuple, dict[str, str]] = {}
    for r in table.itertuples():
        cell = (network(r), label(r.method), r.train, r.test, r.seed)
        rows.setdefault(cell, {})[r.dimension] = f"{_plain(r.mean, r.low, r.high, 2)}, n = {r.n}"
    names = ["network", "method", "trained on", "tested on", "seed"]
    return pd.DataFrame([dict(zip(names, cell)) | scores for cell, scores in rows.items()]).fillna("")


def instrument(table: pd.DataFrame) -> pd.DataFrame:
    """`quality.instrument` for reading: what the judge says of each text, and the difference to the gold solution."""
    rows = []
    for r in table[table.n > 0].itertuples():
        difference = _signed(r.difference, r.diff_low, r.diff_high, 2)
        rows.append((r.test, r.dimension, r.text, r.n, _plain(r.mean, r.low, r.high, 2), difference))
    names = ["tested on", "dimension", "text", "n", "score [95 %]", "minus gold [95 %]"]
    return pd.DataFrame(rows, columns=names)


def open_ended(cells: pd.DataFrame) -> pd.DataFrame:
    """`open_ended.measured` for reading: each score beside its floor and ceiling, and its change by training.

    detectable: the smallest change in points that the test would have found.
    """
    rows = []
    for r in cells.itertuples():
        measure = f"{r.reading}, {r.metric}" if "reading" in cells else r.measure
        scores = [
            interval(r.score, r.low, r.high),
            interval(r.floor, r.floor_low, r.floor_high),
            f"{100 * r.ceiling:.1f}",
        ]
        change = [""] * 4
        if pd.notna(r.difference):
            change = [interval(r.difference, r.diff_low, r.diff_high, "+"), f"{100 * r.smallest_detectable:.1f}"]
            change += [f"{r.p_holm:.2g}", r.verdict]
        rows.append([network(r), label(r.method), r.test, measure, r.n, *scores, *change])
    columns = ["network", "method", "tested on", "measure", "n", "score (%) [95 %]", "floor (%) [95 %]", "ceiling (%)"]
    return pd.DataFrame(rows, columns=[*columns, "change (points) [95 %]", "detectable", "Holm p", "verdict"])


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """`cost.per_right_answer` for reading: what a right answer costs by each measure, with its 95 % interval.

    The last columns have the ratio to the teacher's debate on the `shared` problems: of tokens, and of GFLOP.
    """
    place, rows = [column for column in table.columns[: table.columns.get_loc("n")] if column not in NETWORKS], []
    for _, cell in table.groupby([*NETWORKS, *place], sort=False):
        first, by_cost = cell.iloc[0], {r.cost: r for r in cell.itertuples()}
        row = {name: label(first[name]) if name == "method" else first[name] for name in place}
        row |= {"network": network(first), "n": first.n}
        row |= {"accuracy (%) [95 %]": interval(first.accuracy, first.ci_low, first.ci_high)}
        row |= {name: _within(r.per_right, r.low, r.high) for name, r in by_cost.items()}
        ratios = ((name, by_cost[name]) for name in ("tokens", "gflop"))
        row |= {f"{name} / debate": _within(r.of_debate, r.of_low, r.of_high) for name, r in ratios}
        rows.append(row | {"shared": first.shared})
    columns = [*place, "network", "n", "accuracy (%) [95 %]"]
    return pd.DataFrame(rows, columns=None if rows else columns).rename(columns={"device_seconds": "seconds"})


def _within(value: float, low: float, high: float) -> str:
    """A value with its interval, each with three digits; empty if there is none."""
    return "" if pd.isna(value) else f"{_digits(value)} [{_digits(low)}, {_digits(high)}]"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def rounds(table: pd.DataFrame) -> pd.DataFrame:
    """`debate_rounds` for reading: accuracies in % with their 95 % interval, and the revisions, counted in agents."""
    counts = ["corrected", "corrupted", "copied", "changed"]
    rows = []
    for r in table.itertuples():
        single = interval(r.single_accuracy, r.single_low, r.single_high)
        majority = interval(r.consensus_accuracy, r.consensus_low, r.consensus_high)
        row = (r.task, r.protocol, r.round, r.problems, r.debating, single, majority, round(100 * r.unanimous, 1))
        rows.append((*row, *(getattr(r, name) for name in counts)))
    shares = ["one agent (%) [95 %]", "majority (%) [95 %]", "unanimous (%)"]
    return pd.DataFrame(rows, columns=["task", "protocol", "round", "problems", "debating", *shares, *counts])


def answer_forms(table: pd.DataFrame) -> pd.DataFrame:
    """`debating.answer_forms` for reading: accuracies in %, differences to the majority vote in points."""
    rows = []
    for r in table.itertuples():
        accuracy, p, difference = interval(r.accuracy, r.ci_low, r.ci_high), "", ""
        if pd.notna(r.p):
            p, difference = f"{r.p_holm:.2g}", interval(r.difference, r.low, r.high, "+")
        rows.append((display_name(r.teacher), r.task, r.what, r.n, accuracy, difference, p, r.verdict))
    columns = ["teacher", "task", "answer", "n", "accuracy (%) [95 %]", "difference (points) [95 %]", "Holm p"]
    return pd.DataFrame(rows, columns=[*columns, "verdict"])


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """`seeds.over_seeds` for reading: the accuracy of each seed in %, and the difference in points."""
    rows = []
    for r in table.itertuples():
        by_seed = map(_each, (r.accuracies, r.against_accuracies))
        difference = interval(r.difference, r.low, r.high, "+")
        compared = (r.train, r.test, r.decoding, label(r.method), label(r.against), *by_seed, difference)
        rows.append((*compared, f"{r.p:.2g}", f"{r.p_holm:.2g}", r.verdict))
    columns = ["trained on", "tested on", "decoding", "method", "against", "accuracy by seed (%)", "against (%)"]
    return pd.DataFrame(rows, columns=[*columns, "difference (points) [95 %]", "p", "Holm p", "verdict"])


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """`claims.evaluate.table` for reading: each comparison with its interval, its smallest effect and its verdict."""
    rows = []
    for r in table.itertuples():
        compared = (label(r.method), r.direction, label(r.against), r.smallest)
        difference = f"{r.difference:+.1f} [{r.low:+.1f}, {r.high:+.1f}]"
        numbers = (difference, f"{r.p_holm:.2g}", f"{r.detectable:.1f}") if r.verdict != "waits" else ("", "", "")
        rows.append((*compared, *numbers, r.verdict, r.note))
    columns = ["method", "is", "than (as)", "by at least", "difference [interval]", "Holm p", "detectable", "verdict"]
    return pd.DataFrame(rows, index=list(table.comparison), columns=[*columns, "note"])


def own_task(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of tests on the set that the student was trained on, and of networks that were not trained here."""
    return rows[(rows.train == rows.test) | (rows.train == "-")] if len(rows) else rows


def gains_beside_paper(main: pd.DataFrame) -> pd.DataFrame:
    """Mean gain over the base in points, of the paper's cells and of ours: one row per method, one column per test set.

    A mean over students and training sets, without an interval; the paper's models and tasks are not ours.
    """
    theirs = paper.main().assign(source="paper")
    means = main[main.student != "-"].groupby(["method", "test"]).accuracy.mean().reset_index()
    base = means[means.method == "base"].set_index("test").accuracy
    ours = means.assign(gain=means.accuracy - means.test.map(base), source="ours, another scale")
    both = pd.concat([theirs, ours], ignore_index=True)
    both = both[both.method.isin(paper.METHODS[1:])].assign(method=both.method.map(label), gain=100 * both.gain)
    order = [label(name) for name in paper.METHODS[1:]]
    return both.pivot(index="method", columns=["source", "test"], values="gain").reindex(order).round(2)


def _each(values: list[float]) -> str:
    """The accuracies of the seeds in %; one value if they are all the same, as those of the untrained base."""
    return ", ".join(f"{100 * value:.1f}" for value in (values if len(set(values)) > 1 else values[:1]))


def trainings(logs: dict[str, dict]) -> pd.DataFrame:
    """One row per training: its size, its time and, if it has a loss, its first and its last.

    These are means over the first and the last tenth of the steps (of an older training, those of one step).  A column
    has the warnings of trainings whose loss did not fall, if there are any.
    """
    rows = {}
    for name, log in logs.items():
        rows[name] = {key.replace("_", " "): log[key] for key in TRAINING if key in log}
        if losses := log.get("loss"):
            ends = (("first", 0), ("last", -1))
            rows[name] |= {f"{end} loss": round(log.get(f"{end}_loss", losses[i]["loss"]), 3) for end, i in ends}
        if selection := log.get("selection"):
            shares = {"right of all samples (%)": "right_completions", "right of the kept (%)": "right_kept"}
            rows[name] |= {label: round(100 * selection[key], 1) for label, key in shares.items()}
        if any(each.get("warning") for each in logs.values()):
            rows[name]["warning"] = log.get("warning", "")
    return pd.DataFrame(rows.values(), index=[display_name(name) for name in rows])


def rewards(logs: dict[str, dict]) -> pd.DataFrame:
    """One row per training by rewards: what rose and what fell from its first ten to its last ten steps.

    Reward and sampled accuracy are means over those steps; the dev accuracy is that before and after the training;
    `equal` is the share of all groups whose rewards were equal, so that they taught nothing.
    """
    rows = {}
    for name, log in logs.items():
        steps = pd.DataFrame(log["log"])
        first, last = steps.head(10).mean(), steps.tail(10).mean()
        dev = " → ".join(f"{100 * log['dev'][i]['accuracy']:.0f}" for i in (0, -1)) if log["dev"] else ""
        rows[name] = {"steps": len(steps), "reward": f"{first.reward:.3f} → {last.reward:.3f}"}
        rows[name] |= {"sampled, training (%)": f"{100 * first.accuracy:.0f} → {100 * last.accuracy:.0f}"}
        rows[name] |= {"greedy, dev (%)": dev, "KL at the end (nats)": round(last.get("kl", float("nan")), 3)}
        rows[name] |= {"equal": f"{steps.zero_variance.mean():.0%}"}
    return pd.DataFrame(rows.values(), index=list(rows))
