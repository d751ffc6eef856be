"""Measures how much the structure of two traces differs, and chooses different traces (A.4, DECISIONS 10).

The signature of a trace is the multiset of its steps: for an arithmetic step the operation with its result, whatever
the wording around it, for any other step its words.  The order of the steps does not count: the same steps in another
order say nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random

_EQUATION = re.compile(r"(\d+)\s*([-+*/×÷])\s*(\d+)\s*=\s*(\d+)")
_ANSWER_LINE = re.compile(r"^\s*(?:final\s+)?answer\b", re.IGNORECASE)

Signature = tuple[tuple[str, ...], ...]


def signature(trace: str) -> Signature:
    """Return the steps of a trace without its answer line, sorted: traces with the same steps have the same signature.

    An arithmetic step gives the operator, the operands (sorted if their order does not matter) and the result.
    """
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
    return tuple(sorted(steps))


def distance(a: Signature, b: Signature) -> float:
    """Return the share of the steps of the longer trace that the other one does not have, from 0 (equal) to 1."""
    longer = max(len(a), len(b))
    common = (Counter(a) & Counter(b)).total()
    return 1 - common / longer if longer else 0.0


def choose(traces: list[str], preferred: list[bool], max_traces: int, rng: Random) -> list[int]:
    """Choose up to `max_traces` traces, each the farthest from those before it; return their indices in that order.

    A trace with the same structure as a chosen one is never chosen.  The first trace is one with `preferred[i]` if
    there is one (corrective traces, DECISIONS 8); `rng` decides between equally good traces.
    """
    order = list(range(len(traces)))
    rng.shuffle(order)
    order.sort(key=lambda i: not preferred[i])
    signatures = {i: signature(traces[i]) for i in order}
    chosen = order[:1]
    while len(chosen) < max_traces:
        gaps = ((min(distance(signatures[i], signatures[c]) for c in chosen), i) for i in order if i not in chosen)
        gap, farthest = max(gaps, key=lambda candidate: candidate[0], default=(0.0, -1))
        if gap == 0.0:
            break
        chosen.append(farthest)
    return chosen
