"""What groups of completions answer: a majority of samples, a debate, one agent of it; and what a debate's revisions do.

All of them are read from logs that are there already, and are given as the same per-item rows as a single model's answers.
"""

from __future__ import annotations

import pandas as pd

from agentark import tasks
from agentark.mas import votes
from agentark.stats import wilson

COUNTED = ["tokens_in", "tokens_cached", "tokens_out"]


def _item(rows: pd.DataFrame, answer: str | None, text: str, equal, who: dict) -> dict:
    """One item's row: its answer and what all of `rows` cost together."""
    first = rows.iloc[0]
    right = answer is not None and equal(first.gold, answer)
    return {
        "item": first.problem,
        "template": first.template,
        "held_out": bool(first.held_out),
        "sample": 0,
        "text": text,
        "answer_strict": answer,
        "answer_flexible": answer,
        "gold": first.gold,
        "correct_strict": right,
        "correct_flexible": right,
        "score": float(right),
        **rows[COUNTED].sum().to_dict(),
        "finish": "length" if (rows.finish == "length").all() else "stop",
        **who,
        "calls": int((rows.tokens_in > 0).sum()),
    }


def single(log: pd.DataFrame, task: str, who: dict) -> pd.DataFrame:
    """The answer of agent 1 in round 1: one sample of the teacher working alone.  Works on any protocol's log."""
    equal = tasks.get(task).equal
    rows = log[(log["round"] == 1) & (log.agent == 1)]
    return pd.DataFrame(
        [_item(rows[rows.problem == p], *_said(rows[rows.problem == p].iloc[0]), equal, who) for p in rows.problem]
    )


def debate(log: pd.DataFrame, task: str, who: dict) -> pd.DataFrame:
    """What a debate answers in the end: its aggregator's answer; the cost is that of all its completions."""
    equal = tasks.get(task).equal
    return pd.DataFrame(
        [
            _item(rows, *_said(rows[rows.agent == 0].iloc[0]), equal, who)
            for _, rows in log.groupby("problem", sort=False)
        ]
    )


def majority(log: pd.DataFrame, task: str, who: dict, samples: dict[str, int] | None = None) -> pd.DataFrame:
    """The most frequent answer of independent samples.

    `samples` gives, per problem, how many of the log's samples vote (default all): as many as a debate of that problem
    had completions makes the two cost the same.  Raises ValueError where the log has fewer.
    """
    equal = tasks.get(task).equal
    made = []
    for problem, rows in log.groupby("problem", sort=False):
        rows = rows.sort_values("agent")
        if samples:
            if len(rows) < samples[problem]:
                raise ValueError(f"{problem}: {samples[problem]} votes wanted, the log has {len(rows)} samples")
            rows = rows[: samples[problem]]
        answer = votes.majority(_answers(rows), equal)
        text = next((r.text for r in rows.itertuples() if answer is not None and r.answer == answer), "")
        made.append(_item(rows, answer, text, equal, who))
    return pd.DataFrame(made)


def base_majority(predictions: pd.DataFrame, task: str, who: dict) -> pd.DataFrame:
    """The student's own majority vote over its sampled predictions."""
    log = predictions[predictions["sample"] >= 0].rename(
        columns={"item": "problem", "answer_flexible": "answer", "sample": "agent"}
    )
    return majority(log, task, who)


def _said(row: pd.Series) -> tuple[str | None, str]:
    return (row.answer if isinstance(row.answer, str) else None), row.text


def _answers(rows: pd.DataFrame) -> list[str | None]:
    return [a if isinstance(a, str) else None for a in rows.answer]


def rounds(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """A verified debate log, round by round.

    A problem whose debate has stopped counts on with its last answers, so that every round is over all problems.  Columns: round,
    problems, debating (problems that had this round), single_accuracy (of all agents' answers) with its interval, consensus_accuracy
    (of the round's majority) with its interval, unanimous (share of problems), and of the revisions made in this round, counted in
    agents: corrected (wrong to right), corrupted (right to wrong), copied (a changed answer that a peer had given in the round
    before), changed.  The interval of single_accuracy counts problems, not agents, as independent.
    """
    equal = tasks.get(task).equal
    agents = log[log.agent > 0]
    state: dict[str, list] = {}
    table = []
    for number in sorted(agents["round"].unique()):
        counts = {"corrected": 0, "corrupted": 0, "copied": 0, "changed": 0}
        now = {
            p: list(rows.sort_values("agent").itertuples())
            for p, rows in agents[agents["round"] == number].groupby("problem", sort=False)
        }
        for problem, rows in now.items():
            for before, after in zip(state.get(problem, []), rows):
                for name, hit in _revision(before, after, state[problem], equal).items():
                    counts[name] += hit
        debating = len(now)
        state |= now
        right = [sum(r.correct for r in rows) / len(rows) for rows in state.values()]
        answers = [[r.answer if isinstance(r.answer, str) else None for r in rows] for rows in state.values()]
        winners = [votes.majority(a, equal) for a in answers]
        agreed = [w is not None and equal(rows[0].gold, w) for w, rows in zip(winners, state.values())]
        n = len(state)
        single_low, single_high = wilson(sum(right), n)
        consensus_low, consensus_high = wilson(sum(agreed), n)
        table.append(
            {
                "round": int(number),
                "problems": n,
                "debating": debating,
                "single_accuracy": sum(right) / n,
                "single_low": single_low,
                "single_high": single_high,
                "consensus_accuracy": sum(agreed) / n,
                "consensus_low": consensus_low,
                "consensus_high": consensus_high,
                "unanimous": sum(votes.consensus(a, equal, "unanimous") for a in answers) / n,
                **counts,
            }
        )
    return pd.DataFrame(table)


def consensus(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """Whether the majority of the agents was right after each round: a row a problem, a column a round.

    A problem whose debate has stopped counts on with its last answers.  Input: a verified debate log.
    """
    equal = tasks.get(task).equal
    agents = log[log.agent > 0].sort_values(["problem", "round", "agent"])
    right: dict[int, dict[str, bool]] = {}
    for (problem, number), rows in agents.groupby(["problem", "round"], sort=False):
        winner = votes.majority(_answers(rows), equal)
        right.setdefault(int(number), {})[problem] = winner is not None and equal(rows.gold.iloc[0], winner)
    return pd.DataFrame(right)[sorted(right)].loc[log.problem.unique()].astype("boolean").ffill(axis=1).astype(bool)


def _revision(before, after, peers, equal) -> dict[str, bool]:
    """What one agent's revision did.  `peers` are all agents' rows of the round before."""
    old, new = (a if isinstance(a, str) else None for a in (before.answer, after.answer))
    changed = (old is None) != (new is None) or (old is not None and not equal(old, new))
    copied = (
        changed
        and new is not None
        and any(p.agent != after.agent and isinstance(p.answer, str) and equal(p.answer, new) for p in peers)
    )
    return {
        "changed": changed,
        "corrected": after.correct and not before.correct,
        "corrupted": before.correct and not after.correct,
        "copied": copied,
    }
