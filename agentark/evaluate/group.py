"""The answers of groups (a majority of samples, a debate, one of its agents) and the effects of a debate's revisions.

They are read from existing logs, as the same per-item rows as the answers of a single model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from agentark import tasks
from agentark.mas import votes
from agentark.stats import wilson

COUNTED = ["tokens_in", "tokens_cached", "tokens_out"]
Rows = list[dict[str, Any]]  # plain records: a study has thousands of small groups, on which pandas is slow


def _groups(log: pd.DataFrame) -> dict[str, Rows]:
    """The rows of each problem, in the log's order."""
    groups: dict[str, Rows] = {}
    for row in log.to_dict("records"):
        groups.setdefault(row["problem"], []).append({str(key): value for key, value in row.items()})
    return groups


def _by_agent(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: row["agent"])


def _item(rows: Rows, answering: dict[str, Any] | None, columns: dict) -> dict:
    """One item's row: answer and grade of the `answering` row (None: nobody answered), and the cost of all `rows`."""
    first, costs = rows[0], {name: _sum(row[name] for row in rows) for name in COUNTED}
    answer, text, right, score = None, "", False, 0.0
    if answering is not None:
        answer = _answer(answering)
        text, right, score = answering["text"], bool(answering["correct"]), float(answering["score"])
    item: dict[str, Any] = {name: first[column] for name, column in (("item", "problem"), ("template", "template"))}
    item |= {"held_out": bool(first["held_out"]), "sample": 0, "text": text}
    item |= {"answer_strict": answer, "answer_flexible": answer, "gold": first["gold"]}
    item |= {"correct_strict": right, "correct_flexible": right, "score": score, **costs}
    item |= {"finish": "length" if all(row["finish"] == "length" for row in rows) else "stop", **columns}
    return item | {"calls": sum(row["tokens_in"] != 0 for row in rows)}


def _sum(counts: Iterable[float]) -> float:
    """The sum of tokens, NaN if a server did not count some."""
    total = sum(counts)
    return total if math.isnan(total) else int(total)


def single(log: pd.DataFrame, task: str, columns: dict) -> pd.DataFrame:
    """The answer of agent 1 in round 1: one sample of the teacher alone.  Works on the graded log of any protocol."""
    rows = _groups(log[(log["round"] == 1) & (log.agent == 1)])
    return pd.DataFrame([_item(part, part[0], columns) for part in rows.values()])


def debate(log: pd.DataFrame, task: str, columns: dict) -> pd.DataFrame:
    """The final answers of a debate, its aggregator's; the cost is that of all its completions."""
    groups = _groups(log).values()
    return pd.DataFrame([_item(rows, next(row for row in rows if row["agent"] == 0), columns) for rows in groups])


def majority(log: pd.DataFrame, task: str, columns: dict, samples: dict[Any, int] | None = None) -> pd.DataFrame:
    """The most frequent answer of independent samples, or, if they have a `log_prob`, the one with most probability.

    `samples` gives, per problem, how many of the log's samples vote (default: all); with as many as a debate of that
    problem had completions, the two cost the same.  Raises ValueError if the log has fewer.
    """
    equal = tasks.get(task).equal
    items = []
    for problem, group in _groups(log).items():
        rows = _by_agent(group)
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


def _answer(row: dict[str, Any]) -> str | None:
    return row["answer"] if isinstance(row["answer"], str) else None


def _winner(rows: Rows, equal: votes.Equal) -> dict[str, Any] | None:
    """The first row that gives the majority's answer; None if nobody answered."""
    answers = [_answer(row) for row in rows]
    weights = [math.exp(row["log_prob"]) for row in rows if "log_prob" in row]
    answer = votes.weighted(answers, weights, equal) if weights else votes.majority(answers, equal)
    return None if answer is None else rows[answers.index(answer)]


def rounds(log: pd.DataFrame, task: str, level: float = 0.95) -> pd.DataFrame:
    """A graded debate log, round by round; a problem whose debate has stopped keeps its last answers.

    Columns: round, problems, debating (problems that had this round), single_accuracy (of all agents' answers; its
    interval takes problems, not agents, as independent) and consensus_accuracy (of the round's majority), both with
    intervals at `level`, unanimous (share of problems), and the number of agents whose revision corrected (wrong to
    right), corrupted (right to wrong), copied (a changed answer that a peer gave in the round before) or changed it.
    """
    equal = tasks.get(task).equal
    agents = log[log.agent > 0]
    last: dict[str, Rows] = {}
    table = []
    for number in sorted(agents["round"].unique()):
        counts = {"corrected": 0, "corrupted": 0, "copied": 0, "changed": 0}
        groups = _groups(agents[agents["round"] == number])
        current = {problem: _by_agent(rows) for problem, rows in groups.items()}
        for problem in current.keys() & last.keys():
            before = last[problem]
            for old, new in zip(before, current[problem], strict=False):
                for name, hit in _revision(old, new, before, equal).items():
                    counts[name] += bool(hit)
        last |= current
        right = [sum(bool(row["correct"]) for row in rows) / len(rows) for rows in last.values()]
        winners = [_winner(rows, equal) for rows in last.values()]
        agreed = [winner is not None and bool(winner["correct"]) for winner in winners]
        n = len(last)
        row: dict[str, Any] = {"round": int(number), "problems": n, "debating": len(current)}
        for name, hits in (("single", right), ("consensus", agreed)):
            low, high = wilson(sum(hits), n, level)
            row |= {f"{name}_accuracy": sum(hits) / n, f"{name}_low": low, f"{name}_high": high}
        answers = ([_answer(row) for row in rows] for rows in last.values())
        unanimous = sum(votes.consensus(given, equal, "unanimous") for given in answers)
        table.append(row | {"unanimous": unanimous / n, **counts})
    return pd.DataFrame(table)


def consensus(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """Whether the majority of the agents was right after each round: one row per problem, one column per round.

    A problem whose debate has stopped keeps its last answers.  Input: a graded debate log.
    """
    equal = tasks.get(task).equal
    right: dict[int, dict[str, bool]] = {}
    for number, part in log[log.agent > 0].groupby("round"):
        for problem, rows in sorted(_groups(part).items()):
            winner = _winner(_by_agent(rows), equal)
            right.setdefault(int(str(number)), {})[problem] = winner is not None and bool(winner["correct"])
    return pd.DataFrame(right)[sorted(right)].loc[log.problem.unique()].astype("boolean").ffill(axis=1).astype(bool)


def _revision(before: dict, after: dict, peers: Rows, equal: votes.Equal) -> dict[str, bool]:
    """The effect of one agent's revision; `peers` are all agents' rows of the round before."""
    old, new = _answer(before), _answer(after)
    changed = not equal(old, new) if old is not None and new is not None else old is not new
    given = [_answer(peer) for peer in peers if peer["agent"] != after["agent"]]
    return {
        "changed": changed,
        "corrected": after["correct"] and not before["correct"],
        "corrupted": before["correct"] and not after["correct"],
        "copied": changed and new is not None and any(equal(answer, new) for answer in given if answer is not None),
    }
