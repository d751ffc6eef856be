"""Decides whether a process reward model is good enough to be a reward, before it is used for training.

`examine` computes the measures of step_scores.py; `verdict` compares them with those of a control and with thresholds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pandas as pd

from agentark import tasks
from agentark.extract import steps
from agentark.tasks import mini_med

from . import step_scores as measures

Score = Callable[[list[tasks.Problem], list[str]], list[list[float]]]  # (problems, traces) -> step scores of each trace

OFF_TOPIC = (
    "The weather was mild that week.\nPeople walked along the river.\nIn the evening it rained.",
    "Thank you for asking.\nI am happy to help you.",
    "Once there was a king.\nHe had three daughters.\nThey lived in a castle by the sea.\nThe end.",
    "I do not know.",
)


def inject(task: str, trace: str, rng: Random) -> tuple[str, int] | None:
    """Make one step of a trace wrong: change the result of an equation or, in mini_med, the value of a fact.

    Returns the new trace and the index of the step, or None if there is no true equation or fact.
    """
    lines = steps.split(trace)
    wrong_steps: dict[int, str] = {}
    for n, line in enumerate(lines):
        if steps.is_answer(line):
            continue
        true_equations = [equation for equation in steps.equations(line) if steps.holds(*equation)]
        results = [right for _, right in true_equations if right.lstrip("-").isdigit()]
        if results:
            wrong = rng.choice([v for v in (int(results[-1]) + off for off in (-10, -2, -1, 1, 2, 10)) if v >= 0])
            head, _, tail = line.rpartition("=")
            changed = head + "=" + tail.replace(results[-1], str(wrong), 1)
            if not all(steps.holds(*equation) for equation in steps.equations(changed)):
                wrong_steps[n] = changed
        elif task == "mini_med" and steps.facts(line):
            _, relation, value = steps.facts(line)[-1]
            others = sorted(set(mini_med.FACTS.relation[relation].values()) - {value})
            wrong_steps[n] = rng.choice(others).join(line.rsplit(value, 1))
    if not wrong_steps:
        return None
    index = rng.choice(sorted(wrong_steps))
    return "\n".join([*lines[:index], wrong_steps[index], *lines[index + 1 :]]), index


def as_log(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the sampled predictions of a student, which a reward will score, in the form of a graded debate log."""
    names = {"item": "problem", "answer_flexible": "answer", "correct_flexible": "correct"}
    log = predictions[predictions["sample"] >= 0].rename(columns=names)
    return log.assign(agent=log["sample"] + 1, round=1)


def traces(table: pd.DataFrame, label: str = "arithmetic") -> pd.DataFrame:
    """Return one row per trace of a table of steps (`extract.steps.table`).

    Columns: problem, agent, round, trace, trace_correct and labels (a list with None for unlabelled steps).
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
    """Compute all measures of a scorer with scores in (0, 1).

    dev, test: tables of the steps of some of `problems`; dev fixes the threshold, test gives all measures.  `aggregate`
    turns the step scores of a trace into its reward, for best-of-N over the first-round traces of a problem.  Returns
    the measures by name.
    """
    by_id = {p.id: p for p in problems}
    dev_rows, rows = traces(dev, label), traces(test, label)
    for frame in (dev_rows, rows):
        frame["scores"] = score([by_id[p] for p in frame.problem], list(frame.trace))
    threshold = measures.fix_threshold(list(dev_rows.scores), list(dev_rows.labels))
    scores, labels = list(rows.scores), list(rows.labels)
    step_scores, step_labels = measures.labelled(scores, labels)
    # without the answer lines, which are easy to recognise and nearly all wrong in a wrong trace
    answer_lines = [[steps.is_answer(line) for line in steps.split(trace)] for trace in rows.trace]
    rows_of_steps = [zip(*row, strict=False) for row in zip(answer_lines, labels, strict=True)]
    labels_before_answer = [[None if is_answer else label for is_answer, label in row] for row in rows_of_steps]
    grader = tasks.get(task)
    first = rows[rows["round"] == 1]
    answers = [grader.parse(text, by_id[p]).flexible for text, p in zip(first.trace, first.problem, strict=True)]
    first = first.assign(reward=[aggregate(s) for s in first.scores], answer=answers)
    groups = [group for _, group in first.groupby("problem", sort=True)]
    chosen = measures.best_of_n(
        [list(g.reward) for g in groups],
        [list(g.trace_correct) for g in groups],
        [[a if isinstance(a, str) else None for a in g.answer] for g in groups],
        [[len(t) for t in g.trace] for g in groups],
        grader.equal,
    )
    right = rows[rows.trace_correct & (rows.labels.map(measures.first_error) < 0)].drop_duplicates(["problem", "trace"])
    rng = Random(f"{seed} inject")
    pairs = zip(right.problem, right.trace, strict=True)
    injected = [(p, trace, *wrong) for p, trace in pairs if (wrong := inject(task, trace, rng))]
    spoilt = [by_id[p] for p, *_ in injected]
    before = score(spoilt, ["\n".join(steps.split(trace)) for _, trace, *_ in injected]) if injected else []
    after = score(spoilt, [text for *_, text, _ in injected]) if injected else []
    drops = measures.drop(before, after, [index for *_, index in injected])
    some = [by_id[p] for p in rows.problem.unique()[:50]]
    off_topic = score([p for p in some for _ in OFF_TOPIC], [text for _ in some for text in OFF_TOPIC])
    f1 = measures.first_error_f1(scores, labels, threshold)
    figures = {"traces": len(rows), "steps": len(step_scores), "steps right": measures.mean(step_labels)}
    figures |= {"threshold": threshold, "first-error F1": f1["f1"]}
    figures |= {"  erroneous traces": f1["erroneous"], "  correct traces": f1["correct"]}
    figures["step AUROC"] = measures.auroc(step_scores, step_labels)
    figures["  steps before the answer"] = measures.auroc(*measures.labelled(scores, labels_before_answer))
    figures["calibration error"] = measures.calibration(step_scores, step_labels)[1]
    figures |= {"best of N": chosen["best"], "majority vote": chosen["majority"], "random choice": chosen["random"]}
    figures |= {"shortest trace": chosen["shortest"], "pass at N": chosen["pass"]}
    figures |= {"drop at an error": drops["at"], "drop after it": drops["after"]}
    figures["errors that lower the score"] = drops["fell"]
    for what, texts in (("right traces", right.scores), ("off-topic text", off_topic)):
        figures[f"reward of {what}"] = measures.mean([aggregate(s) for s in texts])
    return {**figures, "minimum on the last step": measures.minimum_last(scores)}


def verdict(prm: dict[str, float], control: dict[str, float]) -> pd.DataFrame:
    """Compare the measures of a reward model with those of a control, which learnt from shuffled labels.

    prm, control: results of `examine`.  Returns one row per measure: prm, control, good (the criterion in words) and
    passed (None for a measure without criterion).  The last row, "deserves to be a reward", needs all criteria.
    """
    right_reward, chance = prm["reward of right traces"], prm["random choice"]
    rules: dict[str, tuple[str, Callable[[float, float], bool]]] = {
        "first-error F1": ("0.1 above the control", lambda x, y: x > y + 0.1),
        "step AUROC": ("above 0.7, and 0.1 above the control", lambda x, y: x > max(0.7, y + 0.1)),
        "best of N": (f"above random ({chance:.3f}) and the control", lambda x, y: x > max(chance, y)),
        "errors that lower the score": ("above 0.8", lambda x, _: x > 0.8),
        "drop at an error": ("above 0, and above the control", lambda x, y: x > max(0.0, y)),
        "reward of off-topic text": (f"below that of right traces ({right_reward:.3f})", lambda x, _: x < right_reward),
    }
    notes = {
        "calibration error": "0; Eq. 7 does not ask for it",
        "majority vote": "(what a vote over the same samples gives)",
        "pass at N": "(the most that choosing can give)",
        "minimum on the last step": "not nearly always: else the reward sees only the answer",
    }
    rows = []
    for name in prm:
        good, rule = rules.get(name, (notes.get(name, ""), None))
        passed = bool(rule(prm[name], control[name])) if rule else None
        rows.append({"measure": name, "prm": prm[name], "control": control[name], "good": good, "passed": passed})
    decided = [row["passed"] for row in rows if row["passed"] is not None]
    summary = {"measure": "deserves to be a reward", "good": f"all {len(decided)} that decide", "passed": all(decided)}
    return pd.DataFrame([*rows, summary]).set_index("measure")
