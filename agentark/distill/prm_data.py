"""What a process reward model learns from: traces with a label a step, and for Eq. 7 each positive step with its negatives.

Positive: step t of a right trace.  Negatives: step t (the nearest one where the trace is shorter) of other agents' wrong traces on the
same problem, N ≤ 4 of them, none textually equal to the positive (DECISIONS 17).  Most early steps of a wrong trace are right: with the
labellers `arithmetic` and `rollout`, steps that are right by their label are not used as negatives, nor those without one, nor wrong
steps as positives; with `outcome` they are, and `counts` says how many.  Deviation: equal traces of a problem are taken once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pandas as pd

from agentark import params

from . import prm_model
from .prm_model import PrmError, ProcessRewardModel

At = tuple[int, int]  # (number of the trace, number of the step)


@dataclass(frozen=True)
class Trace:
    """A trace that one or more agents wrote.

    labels: the labeller's, a step each, in [0, 1] or None; arithmetic: whether each step is true, or None, for the counts.
    """

    problem: str
    agents: frozenset[int]
    text: str
    steps: tuple[str, ...]
    correct: bool
    labels: tuple[float | None, ...]
    arithmetic: tuple[bool | None, ...]


@dataclass(frozen=True)
class Pair:
    """A positive step and the negatives that it is to beat."""

    positive: At
    negatives: tuple[At, ...]


@dataclass(frozen=True)
class Item:
    """A problem with all that is learnt from it: rows (token ids, ends of the steps), a label a step, pairs (numbering the rows)."""

    problem: str
    rows: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    labels: tuple[tuple[float | None, ...], ...]
    pairs: tuple[Pair, ...]


def traces(steps: pd.DataFrame, labeller: str) -> list[Trace]:
    """The traces of a table of steps, equal ones of a problem once.  PrmError where the table has no label of that kind."""
    if labeller not in steps:
        raise PrmError(
            f"the table of steps has no column {labeller!r}: make it with that labeller, or choose another by prm.labeller"
        )
    found: dict[tuple[str, str], Trace] = {}
    for (problem, agent, _), rows in steps.sort_values("step").groupby(["problem", "agent", "round"], sort=True):
        first = rows.iloc[0]
        made = Trace(
            problem,
            frozenset([int(agent)]),
            first.trace,
            tuple(rows.text),
            bool(first.trace_correct),
            tuple(None if pd.isna(v) else float(v) for v in rows[labeller]),
            tuple(None if pd.isna(v) else bool(v) for v in rows.arithmetic),
        )
        same = found.get((problem, made.text))
        found[problem, made.text] = replace(same, agents=same.agents | made.agents) if same else made
    return list(found.values())


def shuffle(made: Sequence[Trace], labeller: str, seed: int) -> list[Trace]:
    """The same traces with their labels dealt out anew: the control, from which nothing can be learnt but how many are right.

    Traces swap which of them are right; steps swap their labels (with `outcome` they follow their trace's).
    """
    rng = Random(f"{seed} shuffled labels")
    correct = rng.sample([t.correct for t in made], len(made))
    if labeller == "outcome":
        return [replace(t, correct=right, labels=(float(right),) * len(t.steps)) for t, right in zip(made, correct)]
    known = [label for t in made for label in t.labels if label is not None]
    deal = iter(rng.sample(known, len(known)))
    return [
        replace(t, correct=right, labels=tuple(None if label is None else next(deal) for label in t.labels))
        for t, right in zip(made, correct)
    ]


def pairs(made: Sequence[Trace], labeller: str, most: int, seed: int) -> tuple[list[Pair], dict[str, int]]:
    """Each positive step with at most `most` negatives, chosen by `seed`, and the counts of what was used and left out."""
    groups: dict[str, list[int]] = {}
    for n, trace in enumerate(made):
        groups.setdefault(trace.problem, []).append(n)
    found: list[Pair] = []
    counts: Counter[str] = Counter()
    for problem, members in groups.items():
        wrong = [n for n in members if not made[n].correct]
        for n in (n for n in members if made[n].correct):
            for t in range(len(made[n].steps)):
                counts["steps of right traces"] += 1
                if labeller != "outcome" and made[n].labels[t] == 0:
                    counts["positives left out: wrong by label"] += 1
                    continue
                usable = _negatives(made, n, t, wrong, labeller, counts)
                if not usable:
                    counts["positives left out: no negative"] += 1
                    continue
                chosen = sorted(Random(f"{seed} {problem} {n} {t}").sample(usable, min(most, len(usable))))
                found.append(Pair((n, t), tuple(chosen)))
                truth = [made[m].arithmetic[u] for m, u in chosen]
                counts["negatives"] += len(truth)
                counts["negatives known to be right or wrong (arithmetic)"] += sum(v is not None for v in truth)
                counts["negatives that are right (arithmetic)"] += sum(v is True for v in truth)
    counts["positives"] = len(found)
    return found, dict(counts)


def _negatives(made: Sequence[Trace], n: int, t: int, wrong: list[int], labeller: str, counts: Counter) -> list[At]:
    """The steps that step t of trace n may be set against, one for each different beginning of a trace."""
    usable: dict[tuple[str, ...], At] = {}
    for m in wrong:
        if len(made[n].agents | made[m].agents) == 1:  # the same agent in another round
            continue
        u = min(t, len(made[m].steps) - 1)
        label = made[m].labels[u]
        if made[m].steps[u] == made[n].steps[t]:
            counts["negatives left out: equal to the positive"] += 1
        elif labeller != "outcome" and label is None:
            counts["negatives left out: no label"] += 1
        elif (
            labeller != "outcome" and label > 0
        ):  # of a rollout's completions some end right (Math-Shepherd's hard estimate)
            counts["negatives left out: right by label"] += 1
        else:
            usable.setdefault(made[m].steps[: u + 1], (m, u))
    return list(usable.values())


def items(
    steps: pd.DataFrame, prompts: dict[str, str], prm: ProcessRewardModel, told: params.Prm, seed: int
) -> tuple[list[Item], dict[str, float]]:
    """What to learn from a table of steps (`extract.steps.table`); `prompts` are the problems' prompts by id.

    Traces longer than `told.max_length` tokens (prompt included) are left out, as are those whose tokens have other steps than the
    table; both are counted.  Returns (items, counts).  Raises PrmError where nothing is left.
    """
    written = traces(steps, told.labeller)
    kept, rows = [], []
    counts: Counter[str] = Counter(
        {"traces": int(steps.groupby(["problem", "agent", "round"]).ngroups), "different traces": len(written)}
    )
    for trace in written:
        prompt, ids, ends = prm_model.encode(prm, [{"role": "user", "content": prompts[trace.problem]}], trace.text)
        if len(prompt) + len(ids) > min(told.max_length, prm.context):
            counts["traces left out: longer than max_length"] += 1
        elif len(ends) != len(trace.steps):
            counts["traces left out: other steps by tokens than by text"] += 1
        else:
            kept.append(trace)
            rows.append((tuple([*prompt, *ids]), tuple(len(prompt) + end for end in ends)))
    if told.shuffled_labels:
        kept = shuffle(kept, told.labeller, seed)
    found, more = pairs(kept, told.labeller, told.negatives, seed)
    counts["right traces"], counts["wrong traces"] = sum(t.correct for t in kept), sum(not t.correct for t in kept)
    made = _by_problem(kept, rows, found, told.loss)
    known = more.get("negatives known to be right or wrong (arithmetic)", 0)
    share = (
        {"share of negatives that are right (arithmetic)": more["negatives that are right (arithmetic)"] / known}
        if known
        else {}
    )
    if not made:
        raise PrmError(
            f"there is nothing to learn for prm.loss = {told.loss} with labels by {told.labeller}: {dict(counts) | more}"
        )
    return made, {**counts, **more, **share, "problems": len(made)}


def _by_problem(kept: list[Trace], rows: list[tuple], found: list[Pair], loss: str) -> list[Item]:
    """Items with the traces that the loss has a use for: all that have a label, or for Eq. 7 alone those that occur in a pair."""
    if loss == "contrastive":
        useful = {n for pair in found for n, _ in (pair.positive, *pair.negatives)}
    else:
        useful = {n for n, trace in enumerate(kept) if any(label is not None for label in trace.labels)}
        useful |= {n for pair in found for n, _ in (pair.positive, *pair.negatives)} if loss != "ce" else set()
    members: dict[str, list[int]] = {}
    for n in sorted(useful):
        members.setdefault(kept[n].problem, []).append(n)
    own: dict[str, list[Pair]] = {}
    for pair in found if loss != "ce" else []:
        at = {n: k for k, n in enumerate(members[kept[pair.positive[0]].problem])}
        local = Pair((at[pair.positive[0]], pair.positive[1]), tuple((at[n], t) for n, t in pair.negatives))
        own.setdefault(kept[pair.positive[0]].problem, []).append(local)
    return [
        Item(problem, tuple(rows[n] for n in mine), tuple(kept[n].labels for n in mine), tuple(own.get(problem, ())))
        for problem, mine in members.items()
    ]
