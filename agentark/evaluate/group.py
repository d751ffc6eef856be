"""The answers of groups (a majority of samples, a debate, one of its agents) and the effects of a debate's revisions.

They are read from existing logs, as the same per-item rows as the answers of a single model.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from agentark import tasks
from agentark.mas import votes
from agentark.stats import wilson

COUNTED = ["tokens_in", "tokens_cached", "tokens_out"]


def _item(rows: pd.DataFrame, answering: pd.Series | None, columns: dict) -> dict:
    """One item's row: answer and grade of the `answering` row (None: nobody answered), and the cost of all `rows`."""
    first, costs = rows.iloc[0], dict(zip(COUNTED, rows[COUNTED].sum().tolist(), strict=True))
    answer, text, right, score = None, "", False, 0.0
    if answering is not None:
        answer = answering.answer if isinstance(answering.answer, str) else None
        text, right, score = answering.text, bool(answering.correct), float(answering.score)
    item: dict[str, Any] = {"item": first.problem, "template": first.template, "held_out": bool(first.held_out)}
    item |= {"sample": 0, "text": text, "answer_strict": answer, "answer_flexible": answer, "gold": first.gold}
    item |= {"correct_strict": right, "correct_flexible": right, "score": score, **costs}
    item |= {"finish": "length" if (rows.finish == "length").all() else "stop", **columns}
    return item | {"calls": int((rows.tokens_in > 0).sum())}


def single(log: pd.DataFrame, task: str, columns: dict) -> pd.DataFrame:
    """The answer of agent 1 in round 1: one sample of the teacher alone.  Works on the graded log of any protocol."""
    rows = log[(log["round"] == 1) & (log.agent == 1)]
    return pd.DataFrame([_item(part, part.iloc[0], columns) for _, part in rows.groupby("problem", sort=False)])


def debate(log: pd.DataFrame, task: str, columns: dict) -> pd.DataFrame:
    """The final answers of a debate, its aggregator's; the cost is that of all its completions."""
    groups = log.groupby("problem", sort=False)
    return pd.DataFrame([_item(rows, rows[rows.agent == 0].iloc[0], columns) for _, rows in groups])


def majority(log: pd.DataFrame, task: str, columns: dict, samples: dict[Any, int] | None = None) -> pd.DataFrame:
    """The most frequent answer of independent samples.

    `samples` gives, per problem, how many of the log's samples vote (default: all); with as many as a debate of that
    problem had completions, the two cost the same.  Raises ValueError if the log has fewer.
    """
    equal = tasks.get(task).equal
    items = []
    for problem, rows in log.groupby("problem", sort=False):
        rows = rows.sort_values("agent")
        if samples:
            if len(rows) < samples[problem]:
                raise ValueError(f"{problem}: {samples[problem]} votes are needed, the log has {len(rows)} samples")
            rows = rows[: samples[problem]]
        items.append(_item(rows, _winner(rows, equal), columns))
    return pd.DataFrame(items)


def base_majority(predictions: pd.DataFrame, task: str, columns: dict) -> pd.DataFrame:
    """The student's own majority vote over its sampled predictions."""
    names = {"item": "problem", "answer_flexible": "answer", "correct_flexible": "correct", "sample": "agent"}
    return majority(predictions[predictions["sample"] >= 0].rename(columns=names), task, columns)


def _answers(rows: pd.DataFrame) -> list[str | None]:
    return [answer if isinstance(answer, str) else None for answer in rows.answer]


def _winner(rows: pd.DataFrame, equal: votes.Equal) -> pd.Series | None:
    """The first row that gives the majority's answer; None if nobody answered."""
    answers = _answers(rows)
    answer = votes.majority(answers, equal)
    return None if answer is None else rows.iloc[answers.index(answer)]


def rounds(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """A graded debate log, round by round; a problem whose debate has stopped keeps its last answers.

    Columns: round, problems, debating (problems that had this round), single_accuracy (of all agents' answers; its
    interval takes problems, not agents, as independent) and consensus_accuracy (of the round's majority), both with
    intervals, unanimous (share of problems), and the number of agents whose revision corrected (wrong to right),
    corrupted (right to wrong), copied (a changed answer that a peer had given in the round before) or changed it.
    """
    equal = tasks.get(task).equal
    agents = log[log.agent > 0]
    last: dict[str, pd.DataFrame] = {}
    table = []
    for number in sorted(agents["round"].unique()):
        counts = {"corrected": 0, "corrupted": 0, "copied": 0, "changed": 0}
        groups = agents[agents["round"] == number].groupby("problem", sort=False)
        current = {str(problem): rows.sort_values("agent") for problem, rows in groups}
        for problem in current.keys() & last.keys():
            before = list(last[problem].itertuples())
            for old, new in zip(before, current[problem].itertuples(), strict=False):
                for name, hit in _revision(old, new, before, equal).items():
                    counts[name] += hit
        last |= current
        right = [rows.correct.sum() / len(rows) for rows in last.values()]
        winners = [_winner(rows, equal) for rows in last.values()]
        agreed = [winner is not None and bool(winner.correct) for winner in winners]
        n = len(last)
        row: dict[str, Any] = {"round": int(number), "problems": n, "debating": len(current)}
        for name, hits in (("single", right), ("consensus", agreed)):
            low, high = wilson(sum(hits), n)
            row |= {f"{name}_accuracy": sum(hits) / n, f"{name}_low": low, f"{name}_high": high}
        unanimous = sum(votes.consensus(_answers(rows), equal, "unanimous") for rows in last.values())
        table.append(row | {"unanimous": unanimous / n, **counts})
    return pd.DataFrame(table)


def consensus(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """Whether the majority of the agents was right after each round: one row per problem, one column per round.

    A problem whose debate has stopped keeps its last answers.  Input: a graded debate log.
    """
    equal = tasks.get(task).equal
    agents = log[log.agent > 0].sort_values(["problem", "round", "agent"])
    right: dict[int, dict[str, bool]] = {}
    for _, rows in agents.groupby(["problem", "round"], sort=False):
        winner, first = _winner(rows, equal), rows.iloc[0]
        right.setdefault(int(first["round"]), {})[first.problem] = winner is not None and bool(winner.correct)
    return pd.DataFrame(right)[sorted(right)].loc[log.problem.unique()].astype("boolean").ffill(axis=1).astype(bool)


def _revision(before, after, peers: list, equal: votes.Equal) -> dict[str, bool]:
    """The effect of one agent's revision; `peers` are all agents' rows of the round before."""
    old, new = (answer if isinstance(answer, str) else None for answer in (before.answer, after.answer))
    changed = not equal(old, new) if old is not None and new is not None else old is not new
    given = [p.answer for p in peers if p.agent != after.agent and isinstance(p.answer, str)]
    return {
        "changed": changed,
        "corrected": after.correct and not before.correct,
        "corrupted": before.correct and not after.correct,
        "copied": changed and new is not None and any(equal(answer, new) for answer in given),
    }
