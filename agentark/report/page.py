"""One page that needs nothing else: tables, figures and debates as a single HTML file, without scripts and without anything from a network.

All text that is put in is escaped; debates come from the viewer, which escapes what models wrote.
"""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure

from . import viewer

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; background: #fff }
h1 { font-size: 1.5rem; margin-bottom: .3rem } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; border-bottom: 1px solid #ddd }
.lead { font-size: 1.05rem; background: #f3f6f9; border-left: 4px solid #0072B2; padding: .6rem 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px } td, th { text-align: left; vertical-align: top; padding: 4px 10px }
.plain td, .plain th { border-bottom: 1px solid #e3e3e3; white-space: pre-wrap; overflow-wrap: anywhere }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: 12px } img { max-width: 100% } figure { margin: 1rem 0 }
summary { cursor: pointer; margin: .6rem 0 }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # a browser then loads and runs nothing, whatever a text holds


def page(title: str, lead: str, parts: dict[str, str]) -> str:
    """The whole document.  `title`, `lead` and the headings of `parts` are text; the bodies of `parts` are HTML as the functions below make it."""
    body = "".join(f"<h2>{escape(heading)}</h2>\n{part}\n" for heading, part in parts.items())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>\n{body}</body></html>\n'
    )


def text(words: str) -> str:
    """A paragraph."""
    return f"<p>{escape(words)}</p>"


def listing(words: str) -> str:
    """Text as it stands, in a fixed width."""
    return f"<pre>{escape(words)}</pre>"


def table(frame: pd.DataFrame) -> str:
    """A table; every cell is escaped, an empty one where a value is missing."""
    head = "".join(f"<th>{escape(str(column))}</th>" for column in frame.columns)
    cells = (("" if pd.isna(cell) else escape(str(cell)) for cell in row) for row in frame.itertuples(index=False))
    rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells)
    return f'<div class="wide"><table class="plain"><tr>{head}</tr>{rows}</table></div>'


def picture(figure: Figure, says: str) -> str:
    """A figure inside the page; `says` is what it shows, for those who cannot see it."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return f'<figure><img alt="{escape(says)}" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"></figure>'


def debates(log: pd.DataFrame, questions: dict[str, str]) -> str:
    """The debates that `telling` chooses, each folded.  `log` is a verified log, `questions` the text of each problem."""
    shown = (
        f"<details><summary>{escape(kind)}: {escape(problem)}</summary>"
        f'<div class="wide">{viewer.debate(log[log.problem == problem], questions[problem])}</div></details>'
        for kind, problem in telling(log).items()
    )
    return "".join(shown)


def telling(log: pd.DataFrame) -> dict[str, str]:
    """One problem of each kind that there is: where most agents came to the right answer, left it, never had it, and where all had it at once.

    `log` is a verified log; agents' first answers are compared with their last ones.  Of equals the first in the log is taken.
    """
    agents = log[log.agent > 0].sort_values("round", kind="stable").groupby(["problem", "agent"], sort=False)
    first, last = (
        rows.groupby("problem", sort=False).correct.mean().reindex(log.problem.unique())
        for rows in (agents.head(1), agents.tail(1))
    )
    gain = last - first
    kinds = {
        "the debate helped": gain > 0,
        "the debate did harm": gain < 0,
        "nobody found it": (first == 0) & (last == 0),
        "all were right at once": first == 1,
    }
    return {kind: gain[those].abs().idxmax() for kind, those in kinds.items() if those.any()}
