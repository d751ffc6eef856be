"""Which answers are right.  Only the answer is judged, never the reasoning before it (A.3; DECISIONS 6)."""

from __future__ import annotations

import pandas as pd

from agentark import tasks


def verify(log: pd.DataFrame, task: str, split: str) -> pd.DataFrame:
    """The debate log with `correct_strict` and `correct` (flexible extraction) for each row.

    Raises ValueError where the log names a problem that the split does not have, or another gold answer for it.
    """
    known = {p.id: p for p in tasks.problems(task, split, log.problem.nunique())}
    strange = sorted(set(log.problem) - set(known))
    if strange:
        raise ValueError(
            f"the log has {len(strange)} problems that {task}/{split} does not have, first {strange[0]!r}: it was made from other data"
        )
    grader = tasks.get(task)
    verified = [grader.verify(text, known[problem])[1:] for text, problem in zip(log.text, log.problem)]
    if any(known[problem].answer != gold for problem, gold in zip(log.problem, log.gold)):
        raise ValueError(f"the log's gold answers are not those of {task}/{split}: it was made from other data")
    strict, flexible = zip(*verified)
    return log.assign(correct_strict=list(strict), correct=list(flexible))
