"""How different two traces are in structure, and the choice of different ones (A.4, DECISIONS 10).

A trace's signature is its sequence of steps: for arithmetic the operation with its result, for anything else the step's
words.  Two traces that say the same in the same order have distance 0, whatever their wording around the equations.
"""

from __future__ import annotations

import re
from random import Random

_EQUATION = re.compile(r"(\d+)\s*([-+*/×÷])\s*(\d+)\s*=\s*(\d+)")
_ANSWER_LINE = re.compile(r"^\s*(?:final\s+)?answer\b", re.IGNORECASE)

Signature = tuple[tuple[str, ...], ...]


def signature(trace: str) -> Signature:
    """The steps of a trace, without its answer line: operations with sorted operands where the order does not matter, and results."""
    steps: list[tuple[str, ...]] = []
    for line in trace.splitlines():
        if not line.strip() or _ANSWER_LINE.match(line):
            continue
        equations = _EQUATION.findall(line)
        for x, op, y, result in equations:
            op = {"×": "*", "÷": "/"}.get(op, op)
            operands = sorted((x, y)) if op in "+*" else (x, y)
            steps.append((op, *operands, result))
        if not equations:
            steps.append(tuple(re.findall(r"\w+", line.lower())))
    return tuple(steps)


def distance(a: Signature, b: Signature) -> float:
    """Levenshtein distance of two step sequences over the longer one's length: 0 equal, 1 nothing in common."""
    if not a and not b:
        return 0.0
    row = list(range(len(b) + 1))
    for i, step in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (step != other))
    return row[-1] / max(len(a), len(b))


def choose(traces: list[str], first: list[bool], most: int, rng: Random) -> list[int]:
    """Up to `most` traces, each the farthest from those before it; none that is structurally equal to one before.

    `first[i]` marks traces to start from (corrective ones, DECISIONS 8); among equals the seeded order decides.
    Returns their indices, in the order of choice.
    """
    order = list(range(len(traces)))
    rng.shuffle(order)
    order.sort(key=lambda i: not first[i])
    signatures = {i: signature(traces[i]) for i in order}
    chosen = order[:1]
    while len(chosen) < most:
        gap, best = max(
            ((min(distance(signatures[i], signatures[c]) for c in chosen), i) for i in order if i not in chosen),
            key=lambda found: found[0],
            default=(0.0, -1),
        )
        if gap == 0.0:
            break
        chosen.append(best)
    return chosen
