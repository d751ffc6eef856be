"""Shows debates and scored traces as HTML.

A debate is a table of rounds and agents with right and wrong answers in colour and changed answers marked, like the
case study of Appendix E.  A scored trace has each step coloured by the score of a reward model.  All text that a model
wrote is escaped.
"""

from __future__ import annotations

from html import escape

import pandas as pd

GREEN, RED, GREY = "#d9f0e3", "#fbdcd5", "#eeeeee"
_CELL = "vertical-align:top;text-align:left;padding:6px 8px;border:1px solid #ccc;background:{};color:#111"
_MARKS = {True: "✓", False: "✗", None: "·"}
_STEP = "color:#111;padding:2px 6px;white-space:pre-wrap;font-family:monospace;font-size:12px"
_TEXT = "white-space:pre-wrap;font-family:monospace;font-size:12px;margin:4px 0 0 0"


def debate(log: pd.DataFrame, question: str) -> str:
    """Return the debate of one problem as an HTML table.  Raises ValueError unless `log` has one problem."""
    if log.problem.nunique() != 1:
        raise ValueError(f"the viewer shows one problem at a time, but the log has {log.problem.nunique()}: select one")
    agents = log[log.agent > 0]
    numbers = sorted(agents.agent.unique())
    previous: dict[int, str | None] = {}
    lines = ["<tr><th></th>" + "".join(f"<th>agent {n}</th>" for n in numbers) + "</tr>"]
    for number, rows in agents.groupby("round"):
        cells = []
        for row in rows.sort_values("agent").itertuples():
            cells.append(_cell(row, changed=row.agent in previous and previous[row.agent] != _answer(row)))
            previous[row.agent] = _answer(row)
        lines.append(f"<tr><th>round {number}</th>{''.join(cells)}</tr>")
    for row in log[log.agent == 0].itertuples():
        lines.append(f"<tr><th>aggregator</th>{_cell(row, changed=False, span=len(numbers))}</tr>")
    gold = escape(str(log.gold.iloc[0]))
    return (
        f'<p style="white-space:pre-wrap"><b>Problem</b> {escape(log.problem.iloc[0])}\n{escape(question)}</p>'
        f'<p><b>Gold answer</b> {gold} &nbsp; <span style="background:{GREEN};color:#111">right</span> '
        f'<span style="background:{RED};color:#111">wrong</span> '
        f'<span style="background:{GREY};color:#111">no answer</span> &nbsp; ↻ changed answer</p>'
        f'<table style="border-collapse:collapse">{"".join(lines)}</table>'
    )


def _answer(row) -> str | None:
    return row.answer if isinstance(row.answer, str) else None


def _cell(row, changed: bool, span: int = 1) -> str:
    answer = _answer(row)
    colour = GREEN if row.correct else GREY if answer is None else RED
    mark = "↻ " if changed else ""
    text = escape(answer) if answer is not None else "–"
    head = f"<b>{mark}{text}</b>{' (cut off)' if row.finish == 'length' else ''}"
    body = f'<div style="{_TEXT}">{escape(row.text)}</div>'
    return f'<td colspan="{span}" style="{_CELL.format(colour)}">{head}{body}</td>'


def scored(traces: list[str], steps: list[list[str]], scores: list[list[float]], labels: list[list]) -> str:
    """Return traces as HTML, with each step coloured by its score (red 0, green 1) and marked ✓ true or ✗ false.

    traces: the headings, for example ids; steps, scores, labels: one list per trace.  Raises ValueError if a trace does
    not have one score and one label per step.
    """
    blocks = []
    for heading, lines, row, row_labels in zip(traces, steps, scores, labels, strict=True):
        if not len(lines) == len(row) == len(row_labels):
            counts = f"{len(lines)} steps, {len(row)} scores, {len(row_labels)} labels"
            raise ValueError(f"{heading}: {counts}; pass one of each per step")
        worst = min(row, default=None)
        body = "".join(
            f'<div style="background:{_shade(score)};{_STEP}">'
            f"{_MARKS[label]} {score:.2f}{' ◀' if score == worst else '  '} {escape(line)}</div>"
            for line, score, label in zip(lines, row, row_labels)
        )
        blocks.append(f'<p style="margin:10px 0 2px 0"><b>{escape(heading)}</b></p>{body}')
    return "".join(blocks)


def _shade(score: float) -> str:
    """Return a colour between red (0) and green (1) by way of white."""
    low, middle, high = (244, 165, 146), (250, 250, 250), (150, 214, 178)
    share = min(max(score, 0.0), 1.0)
    a, b, weight = (low, middle, 2 * share) if share < 0.5 else (middle, high, 2 * share - 1)
    return "#" + "".join(f"{round(x + (y - x) * weight):02x}" for x, y in zip(a, b))
