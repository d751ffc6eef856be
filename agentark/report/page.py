"""Builds a self-contained HTML page of tables, figures and debates, without scripts and without network access.

All inserted text is escaped; debates come from the viewer, which escapes the text of the models.
"""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure

from . import viewer

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem; margin-bottom: .3rem }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ddd }
.lead { font-size: 1.05rem; background: #f3f6f9; border-left: 4px solid #0072B2; padding: .6rem 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px }
td, th { text-align: left; vertical-align: top; padding: 4px 10px }
.plain td, .plain th { border-bottom: 1px solid #e3e3e3; white-space: pre-wrap; overflow-wrap: anywhere }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: 12px }
img { max-width: 100% } figure { margin: 1rem 0 } summary { cursor: pointer; margin: .6rem 0 }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # the browser loads and runs nothing


def page(title: str, lead: str, parts: dict[str, str]) -> str:
    """Return the document.  `title`, `lead` and the keys of `parts` are text, the values of `parts` are HTML."""
    body = "".join(f"<h2>{escape(heading)}</h2>\n{part}\n" for heading, part in parts.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f'<body><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>\n{body}</body></html>\n'
    )


def paragraph(text: str) -> str:
    """Return a paragraph of escaped text."""
    return f"<p>{escape(text)}</p>"


def listing(text: str) -> str:
    """Return preformatted, escaped text."""
    return f"<pre>{escape(text)}</pre>"


def table(frame: pd.DataFrame) -> str:
    """Return a table with escaped cells; missing values give empty cells."""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in frame.columns)
    cells = (("" if pd.isna(cell) else escape(str(cell)) for cell in row) for row in frame.itertuples(index=False))
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="wide"><table class="plain"><tr>{head}</tr>{rows}</table></div>'


def picture(figure: Figure, alt: str) -> str:
    """Return a figure that is embedded in the page; `alt` describes it for those who cannot see it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'


def debates(log: pd.DataFrame, questions: dict[str, str]) -> str:
    """Return the debates of `examples(log)`, collapsed; `questions` maps the ids of problems to texts."""
    sections = ""
    for kind, problem in examples(log).items():
        shown = viewer.debate(log[log.problem == problem], questions[problem])
        heading = f"<summary>{escape(kind)}: {escape(problem)}</summary>"
        sections += f'<details>{heading}<div class="wide">{shown}</div></details>'
    return sections


def examples(log: pd.DataFrame) -> dict[str, str]:
    """Return one problem of each kind that occurs in a verified log.

    The kinds are: most agents found the right answer during the debate, most agents lost it, no agent had it, and all
    agents had it at once.  The first answer of each agent is compared with its last one; of equal problems the first in
    the log is chosen.
    """
    agents = log[log.agent > 0].sort_values("round", kind="stable").groupby(["problem", "agent"], sort=False)
    shares = (rows.groupby("problem", sort=False).correct.mean() for rows in (agents.head(1), agents.tail(1)))
    first, last = (share.reindex(log.problem.unique()) for share in shares)
    gain = last - first
    kinds = {"the debate helped": gain > 0, "the debate did harm": gain < 0}
    kinds |= {"no agent was right": (first == 0) & (last == 0), "all agents were right at once": first == 1}
    return {kind: gain[mask].abs().idxmax() for kind, mask in kinds.items() if mask.any()}
