"""Whether a process reward model deserves to be a reward: measured before it is used, from (scores, labels) alone.

Everything here takes scores as plain lists, a list of step scores a trace, with labels from a program that did not train the model
(DECISIONS 28), and knows nothing of networks.  `examine` puts a scorer (any function) through all of it; `verdict` is the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from agentark import tasks
from agentark.extract import steps as known_steps
from agentark.mas import votes
from agentark.tasks import mini_med

Scores = Sequence[Sequence[float]]
Labels = Sequence[Sequence[bool | None]]
Score = Callable[[list[tasks.Problem], list[str]], list[list[float]]]  # (problems, traces) -> step scores of each trace

OFF_TOPIC = (
    "The weather was mild that week.\nPeople walked along the river.\nIn the evening it rained.",
    "Thank you for asking.\nI am happy to help you.",
    "Once there was a king.\nHe had three daughters.\nThey lived in a castle by the sea.\nThe end.",
    "I do not know.",
)


def checked(scores: Scores, labels: Labels) -> None:
    """ValueError where scores and labels do not match in shape, or a score is no number."""
    if len(scores) != len(labels):
        raise ValueError(f"scores of {len(scores)} traces, labels of {len(labels)}")
    for n, (row, known) in enumerate(zip(scores, labels)):
        if len(row) != len(known):
            raise ValueError(
                f"trace {n} has {len(row)} scores and {len(known)} labels: they were split into other steps"
            )
        if not np.isfinite(np.asarray(row, dtype=float)).all():
            raise ValueError(f"trace {n} has a score that is no number: {list(row)}")


def first_error(labels: Sequence[bool | None]) -> int:
    """The first step that is known to be wrong, -1 where there is none."""
    return next((n for n, label in enumerate(labels) if label is not None and not label), -1)


def first_below(scores: Sequence[float], threshold: float) -> int:
    """The first step that scores below the threshold, -1 where none does."""
    return next((n for n, score in enumerate(scores) if score < threshold), -1)


def first_error_f1(scores: Scores, labels: Labels, threshold: float) -> dict[str, float]:
    """ProcessBench's measure: on traces with an error the share whose first one is found exactly, on those without the share that is
    passed, and their harmonic mean `f1` (NaN where one kind is missing).  Traces without steps count as passed.
    """
    checked(scores, labels)
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for row, known in zip(scores, labels):
        at = first_error(known)
        hits[at >= 0].append(first_below(row, threshold) == at)
    wrong, right = (float(np.mean(hits[kind])) if hits[kind] else float("nan") for kind in (True, False))
    f1 = 0.0 if wrong + right == 0 else 2 * wrong * right / (wrong + right)
    return {
        "f1": f1,
        "erroneous": wrong,
        "correct": right,
        "n_erroneous": len(hits[True]),
        "n_correct": len(hits[False]),
    }


def fix_threshold(scores: Scores, labels: Labels) -> float:
    """The threshold with the best first-error F1 on these (dev) traces; the middle of the best range where several are equal.

    Candidates lie between neighbouring scores, at most 200 of them.
    """
    checked(scores, labels)
    values = np.unique(np.concatenate([np.asarray(row, dtype=float) for row in scores]))
    middles = (values[:-1] + values[1:]) / 2
    middles = middles[np.unique(np.linspace(0, len(middles) - 1, 200).astype(int))] if len(middles) > 200 else middles
    candidates = [values[0] - 1e-6, *middles, values[-1] + 1e-6]
    found = [first_error_f1(scores, labels, threshold)["f1"] for threshold in candidates]
    best = [threshold for threshold, f1 in zip(candidates, found) if f1 == max(found)]
    return float(best[len(best) // 2]) if best else float("nan")


def known(scores: Scores, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
    """The scores and labels of all steps with a label, flat: (steps,) float, (steps,) bool."""
    checked(scores, labels)
    flat = [(score, label) for row, mine in zip(scores, labels) for score, label in zip(row, mine) if label is not None]
    return np.array([s for s, _ in flat], dtype=float), np.array([bool(label) for _, label in flat], dtype=bool)


def auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The probability that a right step scores above a wrong one, equal scores counting half (Mann-Whitney's U over its maximum).

    NaN where all labels are equal.
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    right, wrong = int(labels.sum()), int((~labels).sum())
    if not right or not wrong:
        return float("nan")
    return float((rankdata(scores)[labels].sum() - right * (right + 1) / 2) / (right * wrong))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def calibration(scores: Sequence[float], labels: Sequence[bool], bins: int = 10) -> tuple[pd.DataFrame, float]:
    """How often steps of a score are right.  Returns (a table of equal bins of [0, 1]: low, high, n, score, right; the expected
    calibration error: the mean distance of score and share of right, weighted by n).
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels, dtype=bool)
    if len(scores) and not (0 <= scores.min() and scores.max() <= 1):
        raise ValueError(
            f"only scores between 0 and 1 can be calibrated; these go from {scores.min():.3g} to {scores.max():.3g}"
        )
    at = np.minimum((scores * bins).astype(int), bins - 1)
    rows = [
        {
            "low": b / bins,
            "high": (b + 1) / bins,
            "n": int((at == b).sum()),
            "score": _mean(scores[at == b]),
            "right": _mean(labels[at == b]),
        }
        for b in range(bins)
    ]
    made = pd.DataFrame(rows)
    gaps = (made.score - made.right).abs().fillna(0) * made.n
    return made, float(gaps.sum() / len(scores)) if len(scores) else float("nan")


def best_of_n(
    rewards: Scores,
    correct: Sequence[Sequence[bool]],
    answers: Sequence[Sequence[str | None]],
    lengths: Sequence[Sequence[float]],
    equal: Callable[[str, str], bool],
) -> dict[str, float]:
    """Accuracy when one of a problem's samples is chosen: by reward (`best`), by majority vote, at random (in expectation), the
    shortest; and `pass`, whether any is right.  Equally good samples count with their mean.  All inputs: a list a problem.
    """
    rows = []
    for reward, right, said, length in zip(rewards, correct, answers, lengths, strict=True):
        if not len(reward) == len(right) == len(said) == len(length) > 0:
            raise ValueError(
                "rewards, correct, answers and lengths differ in how many samples a problem has, or there are none"
            )
        right = np.asarray(right, dtype=float)
        winner = votes.majority(said, equal)
        voted = next((r for r, a in zip(right, said) if winner is not None and a is not None and equal(winner, a)), 0.0)
        rows.append(
            {
                "best": right[np.asarray(reward) == max(reward)].mean(),
                "majority": voted,
                "random": right.mean(),
                "shortest": right[np.asarray(length) == min(length)].mean(),
                "pass": right.max(),
            }
        )
    return {name: float(value) for name, value in pd.DataFrame(rows).mean().items()}


def inject(task: str, trace: str, rng: Random) -> tuple[str, int] | None:
    """The trace with one step made wrong: the result of an equation changed by a little, or in mini_med the value of a fact exchanged.

    All else stays as it is.  Returns (the new trace, the number of the step), or None where no true equation or fact was found.
    """
    lines = known_steps.split(trace)
    made: dict[int, str] = {}
    for n, line in enumerate(lines):
        if known_steps.is_answer(line):
            continue
        results = [
            right
            for left, right in known_steps.equations(line)
            if known_steps.holds(left, right) and right.lstrip("-").isdigit()
        ]
        if results:
            wrong = rng.choice([v for v in (int(results[-1]) + off for off in (-10, -2, -1, 1, 2, 10)) if v >= 0])
            head, _, tail = line.rpartition("=")
            changed = head + "=" + tail.replace(results[-1], str(wrong), 1)
            if not all(known_steps.holds(*equation) for equation in known_steps.equations(changed)):
                made[n] = changed
        elif task == "mini_med" and known_steps.facts(line):
            _, relation, value = known_steps.facts(line)[-1]
            others = sorted(set(mini_med.FACTS.relation[relation].values()) - {value})
            made[n] = rng.choice(others).join(line.rsplit(value, 1))
    if not made:
        return None
    at = rng.choice(sorted(made))
    return "\n".join([*lines[:at], made[at], *lines[at + 1 :]]), at


def drop(before: Scores, after: Scores, at: Sequence[int]) -> dict[str, float]:
    """How far scores fall by an injected error: at its step, and on average over the steps after it; and the share of traces in
    which the score at the error fell.  Traces whose error is in the last step have none after it.
    """
    here = np.array([x[n] - y[n] for x, y, n in zip(before, after, at, strict=True)])
    later = [
        np.mean([p - q for p, q in zip(x[n + 1 :], y[n + 1 :])]) for x, y, n in zip(before, after, at) if len(y) > n + 1
    ]
    return {"at": _mean(here), "after": _mean(later), "fell": _mean(here > 0), "n": len(here)}


def minimum_last(scores: Scores) -> float:
    """How often the lowest score of a trace (of at least two steps) is its last step's; equally low steps share the trace."""
    rows = [np.asarray(row, dtype=float) for row in scores if len(row) > 1]
    return _mean([(row[-1] == row.min()) / (row == row.min()).sum() for row in rows])


def as_log(predictions: pd.DataFrame) -> pd.DataFrame:
    """A student's sampled predictions in the form of a verified debate log: its own rollouts, which a reward will judge."""
    log = predictions[predictions["sample"] >= 0].rename(
        columns={"item": "problem", "answer_flexible": "answer", "correct_flexible": "correct"}
    )
    return log.assign(agent=log["sample"] + 1, round=1)


def traces(table: pd.DataFrame, label: str = "arithmetic") -> pd.DataFrame:
    """A table of steps (`extract.steps.table`) as a row a trace: problem, agent, round, trace, trace_correct, labels (a list, None
    where unknown).
    """
    grouped = table.sort_values("step").groupby(["problem", "agent", "round"], sort=True)
    labels = grouped[label].apply(lambda column: [None if pd.isna(v) else v for v in column])
    return grouped[["trace", "trace_correct"]].first().assign(labels=labels).reset_index()


def examine(
    score: Score,
    dev: pd.DataFrame,
    test: pd.DataFrame,
    task: str,
    problems: Sequence[tasks.Problem],
    aggregate: Callable[[Sequence[float]], float] = min,
    label: str = "arithmetic",
    seed: int = 0,
) -> dict[str, float]:
    """All measures of a scorer with scores in (0, 1).

    dev, test: tables of steps, of some of `problems`; dev fixes the threshold, all else is measured on test.  `aggregate` makes a
    trace's reward of its step scores, for best-of-N over a problem's first-round traces.
    """
    known_problems = {p.id: p for p in problems}
    dev_rows, rows = traces(dev, label), traces(test, label)
    for found in (dev_rows, rows):
        found["scores"] = score([known_problems[p] for p in found.problem], list(found.trace))
    threshold = fix_threshold(dev_rows.scores, dev_rows.labels)
    flat, right = known(rows.scores, rows.labels)
    # steps before the answer: an answer line is easily told from a step, and nearly all of a wrong trace's are wrong
    before = [
        [None if known_steps.is_answer(line) else label for line, label in zip(known_steps.split(t), mine)]
        for t, mine in zip(rows.trace, rows.labels)
    ]
    grader = tasks.get(task)
    first = rows[rows["round"] == 1]
    said = [grader.parse(text, known_problems[p]).flexible for text, p in zip(first.trace, first.problem)]
    first = first.assign(reward=[aggregate(s) for s in first.scores], answer=said)
    groups = [group for _, group in first.groupby("problem", sort=True)]
    chosen = best_of_n(
        [list(g.reward) for g in groups],
        [list(g.trace_correct) for g in groups],
        [[a if isinstance(a, str) else None for a in g.answer] for g in groups],
        [[len(t) for t in g.trace] for g in groups],
        grader.equal,
    )
    sound = rows[rows.trace_correct & (rows.labels.map(first_error) < 0)].drop_duplicates(["problem", "trace"])
    rng = Random(f"{seed} inject")
    spoilt = [(n, made) for n, made in enumerate(inject(task, t, rng) for t in sound.trace) if made]
    asked = [known_problems[sound.problem.iloc[n]] for n, _ in spoilt]
    clean = score(asked, ["\n".join(known_steps.split(sound.trace.iloc[n])) for n, _ in spoilt]) if spoilt else []
    fell = (
        drop(clean, score(asked, [text for _, (text, _) in spoilt]), [at for _, (_, at) in spoilt])
        if spoilt
        else drop([], [], [])
    )
    some = [known_problems[p] for p in rows.problem.unique()[:50]]
    strange = score([p for p in some for _ in OFF_TOPIC], [text for _ in some for text in OFF_TOPIC])
    f1 = first_error_f1(rows.scores, rows.labels, threshold)
    return {
        "traces": len(rows),
        "steps": len(flat),
        "steps right": _mean(right),
        "threshold": threshold,
        "first-error F1": f1["f1"],
        "  erroneous traces": f1["erroneous"],
        "  correct traces": f1["correct"],
        "step AUROC": auroc(flat, right),
        "  steps before the answer": auroc(*known(rows.scores, before)),
        "calibration error": calibration(flat, right)[1],
        "best of N": chosen["best"],
        "majority vote": chosen["majority"],
        "random choice": chosen["random"],
        "shortest trace": chosen["shortest"],
        "pass at N": chosen["pass"],
        "drop at an error": fell["at"],
        "drop after it": fell["after"],
        "errors that lower the score": fell["fell"],
        "reward of right traces": _mean([aggregate(s) for s in sound.scores]),
        "reward of off-topic text": _mean([aggregate(s) for s in strange]),
        "minimum on the last step": minimum_last(rows.scores),
    }


def verdict(prm: dict[str, float], control: dict[str, float]) -> pd.DataFrame:
    """One table at a glance.  prm, control (trained on shuffled labels): what `examine` gave.

    Rows are measures, columns: prm, control, good (what would be good, in words), passed (True, False, or None where a measure decides
    nothing).  The last row says whether this model deserves to be a reward: all that decide are passed.
    """
    right = prm["reward of right traces"]
    rules: dict[str, tuple[str, Callable[[float, float], bool]]] = {
        "first-error F1": ("0.1 above the control", lambda x, y: x > y + 0.1),
        "step AUROC": ("above 0.7, and 0.1 above the control", lambda x, y: x > max(0.7, y + 0.1)),
        "best of N": (
            f"above random ({prm['random choice']:.3f}) and the control",
            lambda x, y: x > max(prm["random choice"], y),
        ),
        "errors that lower the score": ("above 0.8", lambda x, _: x > 0.8),
        "drop at an error": ("above 0, and above the control", lambda x, y: x > max(0.0, y)),
        "reward of off-topic text": (f"below that of right traces ({right:.3f})", lambda x, _: x < right),
    }
    words = {
        "calibration error": "0; Eq. 7 does not ask for it",
        "majority vote": "(what a vote over the same samples gives)",
        "pass at N": "(the most that choosing can give)",
        "minimum on the last step": "not nearly always: else the reward sees only the answer",
    }
    rows = []
    for name in prm:
        good, rule = rules.get(name, (words.get(name, ""), None))
        passed = bool(rule(prm[name], control[name])) if rule else None
        rows.append({"measure": name, "prm": prm[name], "control": control[name], "good": good, "passed": passed})
    decided = [row["passed"] for row in rows if row["passed"] is not None]
    rows.append(
        {
            "measure": "deserves to be a reward",
            "prm": np.nan,
            "control": np.nan,
            "good": f"all {len(decided)} that decide",
            "passed": all(decided),
        }
    )
    return pd.DataFrame(rows).set_index("measure")
