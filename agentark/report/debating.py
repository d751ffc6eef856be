"""What a debate is worth on one split: one agent, majorities, each round's consensus, and debates of shuffled peers."""

from __future__ import annotations

import pandas as pd

from agentark import stats
from agentark.evaluate import group


def worth(
    found: list[tuple[dict, pd.DataFrame]], split: str, resamples: int = 10_000, level: float = 0.95
) -> pd.DataFrame:
    """Every way to answer, per teacher and task, against the majority of as many independent samples as the debate had completions.

    `found` are a study's verified logs (see `collect.logs`).  Columns: teacher, task, what, n, accuracy with its Wilson interval;
    difference (to that majority, on the same problems) with its paired bootstrap interval, p (McNemar's exact) and verdict, after
    Holm over the whole table.  A log that is not there is no row.
    """
    rows = []
    here = {(at["model"], at["task"], at["protocol"]): log for at, log in found if at["split"] == split}
    for teacher, task in sorted({key[:2] for key in here}):
        debate, samples = (here.get((teacher, task, protocol)) for protocol in ("debate", "self_consistency"))
        if debate is None or samples is None:
            continue
        spent = debate[debate.tokens_in > 0].groupby("problem").size().to_dict()
        against = _right(group.majority(samples, task, {}, spent))
        agents = int(debate.agent.max())
        ways = {
            "one agent": _right(group.single(debate, task, {})),
            f"majority of {agents}": group.consensus(debate, task)[1],
            "majority of as many": against,
        }
        for protocol, name in (("debate", "debate"), ("shuffled", "debate of shuffled peers")):
            if (log := here.get((teacher, task, protocol))) is not None:
                by_round = group.consensus(log, task)
                ways |= {f"{name}, round {number}": by_round[number] for number in by_round if number > 1}
        for what, right in ways.items():
            right = right.loc[against.index]
            low, high = stats.wilson(int(right.sum()), len(right), level)
            row = {
                "teacher": teacher,
                "task": task,
                "what": what,
                "n": len(right),
                "accuracy": right.mean(),
                "ci_low": low,
                "ci_high": high,
            }
            if what != "majority of as many":
                ours, theirs = right.to_numpy(), against.to_numpy()
                difference, low, high = stats.paired_bootstrap(theirs, ours, resamples=resamples, level=level)
                row |= {"difference": difference, "low": low, "high": high, "p": stats.mcnemar_exact(theirs, ours)}
            rows.append(row)
    table = pd.DataFrame(rows)
    compared = table.p.notna()
    table.loc[compared, "p_holm"] = stats.holm(table.p[compared])
    table["verdict"] = [
        stats.verdict(r.difference, r.low, r.high, r.p_holm, 1 - level) if pd.notna(r.p) else ""
        for r in table.itertuples()
    ]
    return table


def _right(answers: pd.DataFrame) -> pd.Series:
    """Whether each item was answered right, by item."""
    return answers.set_index("item").correct_flexible.astype(bool)


def by_majority_size(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """When a debate's second round helps: per number of agents that were right in round 1, how often each round's consensus is right.

    Columns: right_at_first (0 … n agents), problems, round_1, round_2 … (share of problems).  Input: a verified debate log.
    """
    first = log[(log["round"] == 1) & (log.agent > 0)]
    right = first.groupby("problem").correct.sum().rename("right_at_first")
    rounds = group.consensus(log, task).rename(columns=lambda number: f"round_{number}")
    return (
        rounds.join(right)
        .groupby("right_at_first")
        .agg(problems=("round_1", "size"), **{c: (c, "mean") for c in rounds.columns})
        .reset_index()
    )


def naming(log: pd.DataFrame, task: str, prefix: str) -> pd.DataFrame:
    """How well agents name a wrong step: what their critiques claim, against what their peers had answered.

    Per round (from 2): replies, named (share that name a wrong agent), right_of_named (share of those whose named agent was wrong indeed),
    quoted (share of those whose quoted step stands in that agent's trace), missed (share of "no mistake" though some peer was wrong), problems.
    `prefix` opens a critique (`Wording.critique`).  Input: a verified debate log.
    """
    agents = log[log.agent > 0].set_index(["problem", "round", "agent"]).sort_index()
    rows = []
    for (problem, number, _), reply in agents[agents.index.get_level_values("round") > 1].iterrows():
        line = next((line for line in reply.text.splitlines() if line.startswith(prefix)), "")
        before = agents.loc[(problem, number - 1)]
        named = pd.Series([line]).str.extract(r"agent (\d+) is wrong: (.*)").iloc[0]
        known = pd.notna(named[0]) and int(named[0]) in before.index
        rows.append(
            {
                "round": number,
                "named": known,
                "right": known and not before.correct[int(named[0])],
                "quoted": known and named[1] in before.text[int(named[0])].splitlines(),
                "missed": line == f"{prefix} no mistake" and not before.correct.all(),
                "silent": not line,
            }
        )
    table = pd.DataFrame(rows, columns=["round", "named", "right", "quoted", "missed", "silent"])
    by = table.groupby("round")
    named = by.named.sum()
    return pd.DataFrame(
        {
            "replies": by.size(),
            "named": by.named.mean(),
            "right_of_named": by.right.sum() / named,
            "quoted": by.quoted.sum() / named,
            "missed": by.missed.mean(),
            "silent": by.silent.mean(),
        }
    ).reset_index()
