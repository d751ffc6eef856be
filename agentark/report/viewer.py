"""A debate as a person reads it: rounds down, agents across, right and wrong in colour, changed answers marked (Appendix E's case study);
and traces with each step coloured by a reward model's score.

All text that a model wrote is escaped.
"""

from __future__ import annotations

from html import escape

import pandas as pd

GREEN, RED, GREY = "#d9f0e3", "#fbdcd5", "#eeeeee"
_CELL = "vertical-align:top;text-align:left;padding:6px 8px;border:1px solid #ccc;background:{};color:#111"
_TEXT = "white-space:pre-wrap;font-family:monospace;font-size:12px;margin:4px 0 0 0"


def debate(log: pd.DataFrame, question: str) -> str:
    """A problem's debate as an HTML table.  `log` is a verified log of one problem; ValueError where it is of several, or of none."""
    if log.problem.nunique() != 1:
        raise ValueError(f"a debate is shown one problem at a time; the log has {log.problem.nunique()}")
    agents = log[log.agent > 0]
    numbers = sorted(agents.agent.unique())
    before: dict[int, str | None] = {}
    lines = ["<tr><th></th>" + "".join(f"<th>agent {n}</th>" for n in numbers) + "</tr>"]
    for number, rows in agents.groupby("round"):
        cells = []
        for row in rows.sort_values("agent").itertuples():
            cells.append(_cell(row, changed=row.agent in before and before[row.agent] != _said(row)))
            before[row.agent] = _said(row)
        lines.append(f"<tr><th>round {number}</th>{''.join(cells)}</tr>")
    for row in log[log.agent == 0].itertuples():
        lines.append(f"<tr><th>aggregator</th>{_cell(row, changed=False, span=len(numbers))}</tr>")
    gold = escape(str(log.gold.iloc[0]))
    return (
        f'<p style="white-space:pre-wrap"><b>Problem</b> {escape(log.problem.iloc[0])}\n{escape(question)}</p><p><b>Gold answer</b> {gold} '
        f'&nbsp; <span style="background:{GREEN};color:#111">right</span> <span style="background:{RED};color:#111">wrong</span> '
        f'<span style="background:{GREY};color:#111">no answer</span> &nbsp; ↻ changed answer</p>'
        f'<table style="border-collapse:collapse">{"".join(lines)}</table>'
    )


def _said(row) -> str | None:
    return row.answer if isinstance(row.answer, str) else None


def _cell(row, changed: bool, span: int = 1) -> str:
    said = _said(row)
    colour = GREEN if row.correct else GREY if said is None else RED
    mark = "↻ " if changed else ""
    head = f"<b>{mark}{escape(said) if said is not None else '–'}</b>{' (cut off)' if row.finish == 'length' else ''}"
    return (
        f'<td colspan="{span}" style="{_CELL.format(colour)}">{head}<div style="{_TEXT}">{escape(row.text)}</div></td>'
    )


def scored(
    traces: list[str], steps: list[list[str]], scores: list[list[float]], labels: list[list[bool | None]]
) -> str:
    """Traces with a line a step, coloured by its score (red 0, green 1), as HTML; a mark says what is known of it: ✓ true, ✗ false.

    traces are headings (an id, say); the rest is a list a trace.  ValueError where a trace has not one score and label a step.
    """
    blocks = []
    for heading, lines, row, known in zip(traces, steps, scores, labels, strict=True):
        if not len(lines) == len(row) == len(known):
            raise ValueError(f"{heading}: {len(lines)} steps, {len(row)} scores, {len(known)} labels")
        worst = min(row, default=None)
        body = "".join(
            f'<div style="background:{_shade(score)};color:#111;padding:2px 6px;white-space:pre-wrap;font-family:monospace;font-size:12px">'
            f"{ {True: '✓', False: '✗', None: '·'}[label] } {score:.2f}{' ◀' if score == worst else '  '} {escape(line)}</div>"
            for line, score, label in zip(lines, row, known)
        )
        blocks.append(f'<p style="margin:10px 0 2px 0"><b>{escape(heading)}</b></p>{body}')
    return "".join(blocks)


def _shade(score: float) -> str:
    """Between red (0) and green (1), through white."""
    low, middle, high = (244, 165, 146), (250, 250, 250), (150, 214, 178)
    share = min(max(score, 0.0), 1.0)
    a, b, at = (low, middle, 2 * share) if share < 0.5 else (middle, high, 2 * share - 1)
    return "#" + "".join(f"{round(x + (y - x) * at):02x}" for x, y in zip(a, b))
