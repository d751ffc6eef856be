"""The value of a debate on one split: one agent, majorities, each round's consensus, and debates of shuffled peers."""

from __future__ import annotations

import pandas as pd

from agentark import stats
from agentark.evaluate import group
from agentark.mas import checks
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
        completions = debate[debate.tokens_in != 0].groupby("problem").size().to_dict()
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
    return stats.decided(pd.DataFrame(rows), level)


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


def naming(log: pd.DataFrame) -> pd.DataFrame:
    """How well agents tell wrong peers from right ones, against what agents named at random would give.

    What a reply says of a trace is read by `mas.checks`, which only the networks of the zoo write.  An agent's verdict
    on its own trace is not counted, nor one on an agent that there is not.  Per round (from 2), with the columns

    - replies; checked: the share of them with a verdict on a peer; none: the share without any verdict;
    - named_share: the share of the judged peers that are called wrong;
    - named_is_wrong: the share of those whose answer is wrong; chance: the share of wrong peers among all judged ones,
      which is what calling peers wrong at random gives;
    - missed: the share of the judged wrong peers that are not called wrong;
    - kept_is_right: the share of the traces that a reply keeps whose answer is right; chance_kept: the share of right
      traces among all that these replies could have kept.

    A share of nothing is NaN.  Input: a graded debate log.
    """
    agents = log[log.agent > 0]
    right: dict[tuple, dict[int, bool]] = {}
    for row in agents.to_dict("records"):
        right.setdefault((row["problem"], row["round"]), {})[row["agent"]] = bool(row["correct"])
    rows, judged = [], []
    for reply in agents[agents["round"] > 1].to_dict("records"):
        number = reply["round"]
        peers = right[reply["problem"], number - 1]
        said = [verdict for verdict in checks.verdicts(reply["text"]) if verdict.agent in peers]
        judged += [(number, not peers[v.agent], v.wrong) for v in said if v.agent != reply["agent"]]
        kind, kept = checks.choice(reply["text"]) or ("", 0)
        is_kept = kind == "keep" and kept in peers
        share = sum(peers.values()) / len(peers)
        rows.append((number, any(v.agent != reply["agent"] for v in said), not said,
                     peers[kept] if is_kept else None, share if is_kept else None))  # fmt: skip
    columns = ["round", "checked", "none", "kept_is_right", "chance_kept"]
    replies = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[1:], float))
    verdicts = pd.DataFrame(judged, columns=["round", "wrong", "named"]).astype({"wrong": bool, "named": bool})
    named, wrong = (verdicts[verdicts[column]].groupby("round") for column in ("named", "wrong"))
    table = replies.groupby("round").agg(replies=("checked", "size"), checked=("checked", "mean"))
    table["named_is_wrong"], table["chance"] = named.wrong.mean(), verdicts.groupby("round").wrong.mean()
    table["named_share"], table["missed"] = verdicts.groupby("round").named.mean(), 1 - wrong.named.mean()
    rest = replies.groupby("round")[["kept_is_right", "chance_kept", "none"]].mean()
    return table.join(rest).reset_index()
