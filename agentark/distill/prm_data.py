"""The training data of a process reward model: traces with a label per step and, for Eq. 7, positives with negatives.

Positive: step t of a right trace. Negatives: step t (or the last step of a shorter trace) of other agents' wrong traces
of the same problem, N ≤ 4 of them, none textually equal to the positive (DECISIONS 17). An answer line stands against
answer lines only, and no other step does. Most early steps of a wrong trace are right: a step that a right trace of the
problem has, too, is no negative. With the labellers `arithmetic` and `rollout`, negatives must be wrong by their label,
and wrong steps are not positives; `outcome` checks neither, and the counts say how often that matters. Deviation: equal
traces are used once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import pandas as pd

from agentark import params
from agentark.extract.steps import is_answer

from .prm_model import PrmError, ProcessRewardModel
from .step_ends import Row, encode

Position = tuple[int, int]  # (index of the trace, index of the step)


@dataclass(frozen=True)
class Trace:
    """A trace by one or more agents; labels: of its steps, in [0, 1] or None; arithmetic: only for the counts."""

    problem: str
    agents: frozenset[int]
    text: str
    steps: tuple[str, ...]
    correct: bool
    labels: tuple[float | None, ...]
    arithmetic: tuple[bool | None, ...]


@dataclass(frozen=True)
class Pair:
    """A positive step and the negatives that it should outscore."""

    positive: Position
    negatives: tuple[Position, ...]


@dataclass(frozen=True)
class Item:
    """The data of one problem: tokens and labels of each trace, and pairs of positions."""

    problem: str
    rows: tuple[Row, ...]
    labels: tuple[tuple[float | None, ...], ...]
    pairs: tuple[Pair, ...]


def traces(steps: pd.DataFrame, labeller: str) -> list[Trace]:
    """Return the different traces of a table of steps. Raises PrmError if the table has no labels of that labeller."""
    if labeller not in steps:
        missing = f"the table of steps has no column {labeller!r}"
        raise PrmError(f"{missing}: label the steps with it, or choose another prm.labeller")
    by_text: dict[tuple[str, str], Trace] = {}
    for _, rows in steps.sort_values("step").groupby(["problem", "agent", "round"], sort=True):
        first, texts = rows.iloc[0], tuple(rows.text)
        labels = tuple(None if pd.isna(v) else float(v) for v in rows[labeller])
        truths = tuple(None if pd.isna(v) else bool(v) for v in rows.arithmetic)
        key, agents, correct = (first.problem, first.trace), frozenset([int(first.agent)]), bool(first.trace_correct)
        if key in by_text:
            by_text[key] = replace(by_text[key], agents=by_text[key].agents | agents)
        else:
            by_text[key] = Trace(first.problem, agents, first.trace, texts, correct, labels, truths)
    return list(by_text.values())


def shuffle(written: Sequence[Trace], labeller: str, seed: int) -> list[Trace]:
    """Return the same traces with shuffled labels: the control, from which only the share of right ones can be learnt.

    Whether a trace is right is permuted among the traces; so are the labels among the steps, except with `outcome`.
    """
    rng = Random(f"{seed} shuffled labels")
    correct = rng.sample([trace.correct for trace in written], len(written))
    if labeller == "outcome":
        both = zip(written, correct, strict=True)
        return [replace(t, correct=right, labels=(float(right),) * len(t.steps)) for t, right in both]
    labels = [label for trace in written for label in trace.labels if label is not None]
    shuffled = iter(rng.sample(labels, len(labels)))
    permuted = [tuple(None if label is None else next(shuffled) for label in t.labels) for t in written]
    return [replace(t, correct=r, labels=ls) for t, r, ls in zip(written, correct, permuted, strict=True)]


def pairs(written: Sequence[Trace], labeller: str, most: int, seed: int) -> tuple[list[Pair], dict[str, int]]:
    """Return each positive step with at most `most` negatives, sampled by `seed`, and the counts of used steps."""
    by_problem: dict[str, list[int]] = {}
    for n, trace in enumerate(written):
        by_problem.setdefault(trace.problem, []).append(n)
    chosen_pairs: list[Pair] = []
    counts: Counter[str] = Counter()
    for problem, members in by_problem.items():
        wrong = [n for n in members if not written[n].correct]
        of_right = {step for n in members if written[n].correct for step in written[n].steps}
        for n in (n for n in members if written[n].correct):
            for t in range(len(written[n].steps)):
                counts["steps of right traces"] += 1
                if labeller != "outcome" and written[n].labels[t] == 0:
                    counts["positives left out: wrong by label"] += 1
                    continue
                candidates = _negatives(written, n, t, wrong, of_right, labeller, counts)
                if not candidates:
                    counts["positives left out: no negative"] += 1
                    continue
                chosen = sorted(Random(f"{seed} {problem} {n} {t}").sample(candidates, min(most, len(candidates))))
                chosen_pairs.append(Pair((n, t), tuple(chosen)))
                truth = [written[m].arithmetic[u] for m, u in chosen]
                counts["negatives"] += len(truth)
                counts["negatives known to be right or wrong (arithmetic)"] += sum(v is not None for v in truth)
                counts["negatives that are right (arithmetic)"] += sum(v is True for v in truth)
    counts["positives"] = len(chosen_pairs)
    return chosen_pairs, dict(counts)


def _negatives(
    written: Sequence[Trace], n: int, t: int, wrong: list[int], of_right: set[str], labeller: str, counts: Counter
) -> list[Position]:
    """Return the possible negatives of step t of trace n, one for each different beginning of a trace.

    wrong: the wrong traces of the problem. of_right: the steps of its right ones.
    """
    candidates: dict[tuple[str, ...], Position] = {}
    for m in wrong:
        if len(written[n].agents | written[m].agents) == 1:  # the same agent in another round
            continue
        u = _counterpart(written[n].steps, t, written[m].steps)
        if u is None:
            counts["negatives left out: no step of the same kind"] += 1
            continue
        label = written[m].labels[u]
        if written[m].steps[u] == written[n].steps[t]:
            counts["negatives left out: equal to the positive"] += 1
        elif written[m].steps[u] in of_right:
            counts["negatives left out: a right trace has them, too"] += 1
        elif labeller != "outcome" and label is None:
            counts["negatives left out: no label"] += 1
        elif labeller != "outcome" and label:  # for rollouts: some completion is right (Math-Shepherd's hard label)
            counts["negatives left out: right by label"] += 1
        else:
            candidates.setdefault(written[m].steps[: u + 1], (m, u))
    return list(candidates.values())


def _counterpart(steps: tuple[str, ...], t: int, others: tuple[str, ...]) -> int | None:
    """Return the step of another trace that stands against step t, or None if it has no step of the same kind.

    That is its answer line for an answer line; otherwise its step t or, if that is none or its answer, the one before.
    """
    kind = is_answer(steps[t])
    same = [n for n, step in enumerate(others) if is_answer(step) == kind]
    return max((n for n in same if kind or n <= t), default=None)


def items(
    steps: pd.DataFrame, prompts: dict[str, str], prm: ProcessRewardModel, config: params.Prm, seed: int
) -> tuple[list[Item], dict[str, float]]:
    """Return the training data of a table of steps (`extract.steps.table`) by problem, and its counts.

    `prompts` are the problems' prompts by id. Traces longer than `config.max_length` tokens (prompt included), or with
    other steps by token ids than in the table, are left out and counted. Raises PrmError if nothing is left.
    """
    written = traces(steps, config.labeller)
    kept, rows = [], []
    total = int(steps.groupby(["problem", "agent", "round"]).ngroups)
    counts: Counter[str] = Counter({"traces": total, "different traces": len(written)})
    for trace in written:
        row = encode(prm, [{"role": "user", "content": prompts[trace.problem]}], trace.text)
        if len(row.ids) > min(config.max_length, prm.context):
            counts["traces left out: longer than max_length"] += 1
        elif len(row.ends) != len(trace.steps):
            counts["traces left out: other steps by tokens than by text"] += 1
        else:
            kept.append(trace)
            rows.append(row)
    if config.shuffled_labels:
        kept = shuffle(kept, config.labeller, seed)
    chosen_pairs, pair_counts = pairs(kept, config.labeller, config.negatives, seed)
    counts["right traces"], counts["wrong traces"] = sum(t.correct for t in kept), sum(not t.correct for t in kept)
    training_items = _by_problem(kept, rows, chosen_pairs, config.loss)
    if not training_items:
        nothing = f"there is nothing to learn for prm.loss = {config.loss} with labels by {config.labeller}"
        advice = "take another prm.loss or prm.labeller, or more problems"
        raise PrmError(f"{nothing}: {dict(counts) | pair_counts}; {advice}")
    checked = pair_counts.get("negatives known to be right or wrong (arithmetic)", 0)
    right = pair_counts.get("negatives that are right (arithmetic)", 0)
    share = {"share of negatives that are right (arithmetic)": right / checked} if checked else {}
    return training_items, {**counts, **pair_counts, **share, "problems": len(training_items)}


def _by_problem(kept: list[Trace], rows: list[Row], chosen_pairs: list[Pair], loss: str) -> list[Item]:
    """Return the traces that the loss uses, by problem: for Eq. 7 those in a pair, for `ce` those with a label."""
    chosen_pairs = chosen_pairs if loss != "ce" else []
    used = {n for pair in chosen_pairs for n, _ in (pair.positive, *pair.negatives)}
    if loss != "contrastive":
        used |= {n for n, trace in enumerate(kept) if any(label is not None for label in trace.labels)}
    members: dict[str, list[int]] = {}
    for n in sorted(used):
        members.setdefault(kept[n].problem, []).append(n)
    pairs_of: dict[str, list[Pair]] = {}
    for pair in chosen_pairs:
        problem = kept[pair.positive[0]].problem
        row = {n: k for k, n in enumerate(members[problem])}
        local = Pair((row[pair.positive[0]], pair.positive[1]), tuple((row[n], t) for n, t in pair.negatives))
        pairs_of.setdefault(problem, []).append(local)
    return [
        Item(problem, tuple(rows[n] for n in ns), tuple(kept[n].labels for n in ns), tuple(pairs_of.get(problem, ())))
        for problem, ns in members.items()
    ]
