"""The value of a debate on one split: one agent, majorities, each round's consensus, and debates of shuffled peers."""

from __future__ import annotations

import pandas as pd

from agentark import stats
from agentark.evaluate import group
from agentark.mas.protocol import protocols

from .collect import Logs

EQUAL_SAMPLES = "majority vote, equal samples"


def answer_forms(found: Logs, split: str, resamples: int = 10_000, level: float = 0.95) -> pd.DataFrame:
    """Compare the ways to answer with the majority of as many independent samples as the debate had completions.

    `found` are a study's graded logs (see `collect.logs`).  Columns: teacher, task, what, n, accuracy with its Wilson
    interval; difference to that majority on the same problems, with its paired bootstrap interval, p (McNemar's exact)
    and verdict, with Holm's correction over the whole table.  A log that is missing gives no row.
    """
    rows = []
    logs = {(cell.teacher, cell.task, cell.axes, cell.protocol): log for cell, log in found if cell.split == split}
    for key in sorted({key[:3] for key in logs}):
        debate, samples = (logs.get((*key, protocol)) for protocol in ("debate", "self_consistency"))
        if debate is None or samples is None:
            continue
        teacher, task, axes = key
        completions = debate[debate.tokens_in > 0].groupby("problem").size().to_dict()
        against = _right(group.majority(samples, task, {}, completions))
        forms = {
            "one agent": _right(group.single(debate, task, {})),
            f"majority of {debate.agent.max()}": group.consensus(debate, task)[1],
            EQUAL_SAMPLES: against,
        }
        for protocol in protocols().values():
            if protocol.rounds and (log := logs.get((*key, protocol.name))) is not None:
                by_round = group.consensus(log, task)
                forms |= {f"{protocol.label}, round {number}": by_round[number] for number in by_round.columns[1:]}
        for what, right in forms.items():
            right = right.loc[against.index]
            low, high = stats.wilson(int(right.sum()), len(right), level)
            row = {"teacher": teacher, "task": task, **dict(axes), "what": what, "n": len(right)}
            row |= {"accuracy": right.mean(), "ci_low": low, "ci_high": high}
            if what != EQUAL_SAMPLES:
                ours, theirs = right.to_numpy(), against.to_numpy()
                difference, low, high = stats.paired_bootstrap(theirs, ours, resamples=resamples, level=level)
                row |= {"difference": difference, "low": low, "high": high, "p": stats.mcnemar_exact(theirs, ours)}
            rows.append(row)
    table = pd.DataFrame(rows)
    compared = table.p.notna()
    table.loc[compared, "p_holm"] = stats.holm(table.p[compared])
    figures = zip(table.difference, table.low, table.high, table.p_holm, compared, strict=True)
    alpha = 1 - level
    table["verdict"] = [stats.verdict(d, low, high, p, alpha) if given else "" for d, low, high, p, given in figures]
    return table


def _right(answers: pd.DataFrame) -> pd.Series:
    """Whether each item was answered right, by item."""
    return answers.set_index("item").correct_flexible.astype(bool)


def by_majority_size(log: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return how often each round's consensus is right, per number of agents that were right in round 1.

    Columns: right_at_first (0 … n agents), problems, round_1, round_2 … (share of problems).  Input: a graded log.
    """
    first = log[(log["round"] == 1) & (log.agent > 0)]
    right = first.groupby("problem").correct.sum().rename("right_at_first")
    rounds = group.consensus(log, task).rename(columns=lambda number: f"round_{number}")
    figures = {"problems": ("round_1", "size"), **{c: (c, "mean") for c in rounds.columns}}
    return rounds.join(right).groupby("right_at_first").agg(**figures).reset_index()


def naming(log: pd.DataFrame, prefix: str) -> pd.DataFrame:
    """How well agents name a wrong agent and a wrong step, against what an agent named at random would give.

    Per round (from 2), with the columns

    - replies, and named: the share of them that name an agent;
    - named_is_wrong: the share of the named agents that were wrong; chance: the share of wrong agents among all agents
      that these replies could have named, which is what a random choice gives;
    - quoted: the share of the named agents whose trace contains the quoted step;
    - missed: the share of replies that report no mistake although an agent was wrong; silent: without a critique.

    `prefix` opens a critique (`Wording.critique`).  Input: a graded debate log.
    """
    agents = log[log.agent > 0].set_index(["problem", "round", "agent"]).sort_index()
    rows = []
    for (problem, number, _), reply in agents[agents.index.get_level_values("round") > 1].iterrows():
        line = next((line for line in reply.text.splitlines() if line.startswith(prefix)), "")
        before = agents.loc[(problem, number - 1)]
        agent, step = pd.Series([line]).str.extract(r"agent (\d+) is wrong: (.*)").iloc[0]
        known = pd.notna(agent) and int(agent) in before.index
        wrong, quoted = known and not before.correct[int(agent)], known and step in before.text[int(agent)].splitlines()
        chance = 1 - before.correct.astype(float).mean() if known else 0.0
        missed = line == f"{prefix} no mistake" and not before.correct.all()
        rows.append((number, known, wrong, chance, quoted, missed, not line))
    columns = ["round", "named", "wrong", "chance", "quoted", "missed", "silent"]
    by_round = pd.DataFrame(rows, columns=columns).groupby("round")
    named = by_round.named.sum()
    table = {"replies": by_round.size(), "named": by_round.named.mean(), "named_is_wrong": by_round.wrong.sum() / named}
    table |= {"chance": by_round.chance.sum() / named, "quoted": by_round.quoted.sum() / named}
    return pd.DataFrame(table | {name: by_round[name].mean() for name in ("missed", "silent")}).reset_index()
