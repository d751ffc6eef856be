"""The quality of reasoning in four dimensions (4.4, Table 1; DECISIONS 28): a study's answers, judged.

The judge is `judges.quality` of the params, a language model (judge.py), or else a program (judge_program.py).  It
scores the greedy answers of all students to the same problems, and, to show what it sees and what not, `controls`:
gold solutions, and gold solutions of which it is known what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd

from agentark import params, tasks
from agentark.cells import Cell, Files
from agentark.cells.cell import NONE
from agentark.distill.method import methods
from agentark.extract import steps
from agentark.tasks import Problem

from . import judge, judge_program, reordered
from .injection import inject
from .jobs import PREDICTIONS

ITEMS = 100  # paper 4.4: "For each dataset, we randomly sample 100 examples"; of a judge in the params, its own `items`
MEASURES = {  # by the judge's dimension: the column of the rows, which params/claims.yaml names
    "step_decomposition": "decomposition",
    "intermediate_verification": "verification",
    "error_localization": "localization",
    "reasoning_coherence": "coherence",
    "step_truth": "step_truth",
}
GOLD = "gold solution"
CONTROLS = {  # what is judged besides the students, and what a judge that reads should say of it
    GOLD: "coherent and decomposed; checks nothing",
    "its steps in another order": "less coherent",
    "another problem's solution": "less coherent",
    "with a check after each step": "verified",
    "with a false step": "an error that is not localized",
    "with a false step that is retracted": "an error that is localized",
}
CHECK, RETRACT = "Check: that is right.", "Wait, that is wrong."  # as both kinds of judge understand them


def controls(task: str, problems: Sequence[Problem], seed: int) -> dict[str, pd.DataFrame]:
    """Return the texts of CONTROLS in the form of predictions, of the problems for which each of them can be made.

    The steps of a single-step solution have no other order.
    """
    found: dict[str, list[dict]] = {name: [] for name in CONTROLS}
    for problem, other in zip(problems, [*problems[1:], *problems[:1]]):
        rng = Random(f"{seed} {problem.id}")
        reasoning, answer = reordered.parts(problem.solution)
        shuffled, wrong = reordered.orders(problem.solution, rng).get("lines"), inject(task, problem.solution, rng)
        if shuffled is None or wrong is None:
            continue
        lines, spoilt = steps.split(problem.solution), steps.split(wrong[0])
        checked = "".join(f"{line}\n{CHECK}\n" for line in steps.split(reasoning))
        repaired = [*spoilt[: wrong[1] + 1], RETRACT, *lines[wrong[1] :]]
        made = (problem.solution, shuffled + answer, other.solution, checked + answer, wrong[0], "\n".join(repaired))
        for name, text in zip(CONTROLS, made, strict=True):
            found[name].append({"item": problem.id, "sample": -1, "text": text})
    return {name: pd.DataFrame(rows, columns=["item", "sample", "text"]) for name, rows in found.items()}


def answers(files: Files, cells: Iterable[Cell], test: str, n: int) -> dict[str, tuple[Cell, pd.DataFrame]]:
    """The cell and the predictions of each student of a study on a test, by the name of their file, if it exists.

    Of the answers to more than n problems, which a slice finds in a reference, those to the first n are taken.
    """
    found: dict[str, tuple[Cell, pd.DataFrame]] = {}
    first = {problem.id for problem in tasks.problems(test, "test", n)}
    for cell in cells:
        tested = cell.but(test=test, split="test")
        path = files.path(PREDICTIONS, tested)
        if path.exists():
            rows = pd.read_parquet(path, columns=["item", "sample", "text"])
            found[path.stem] = (tested, rows[rows.item.isin(first)] if rows.item.nunique() > n else rows)
    return found


def may_judge(config: params.Params, cell: Cell) -> bool:
    """Whether the judge may judge a student: it must not have labelled the steps of the student's reward model."""
    if methods()[cell.method].reward != "prm":
        return True
    labeller = cell.teacher if config.prm.labeller == "rollout" else config.prm.labeller
    name = config.judges.quality.model if config.judges.quality else judge_program.NAME
    try:
        judge.check_independent(name, [labeller])
    except judge.JudgeError as error:
        print(f"{cell.method}: {error}")
        return False
    return True


def scores(
    predictions: Mapping[str, pd.DataFrame], *, task: str, n: int, seed: int, config: params.Params, path: Path
) -> pd.DataFrame:
    """The scores (`judge.COLUMNS`) of some texts, by the judge of the params; only a language model's go to `path`."""
    shared = set.intersection(*(set(rows[rows["sample"] == -1].item) for rows in predictions.values()))
    quality = config.judges.quality
    items = min(quality.items if quality else ITEMS, len(shared))
    where: dict[str, Any] = {"task": task, "split": "test", "n": n, "seed": seed}
    if quality is None:
        return judge_program.run(predictions, **where, items=items, labelled_by=())
    own = quality.model_copy(update={"items": items})
    engine = quality.engine or config.engine
    return judge.run(path, predictions, **where, config=own, engine=engine, labelled_by=())


def readable(task: str, problems: Sequence[Problem]) -> bool:
    """Whether the program can read the gold solutions of a task, which it needs to score anything."""
    return any(judge_program.shares(task, p, p.solution)["step_decomposition"] is not None for p in problems)


def rows(scored: pd.DataFrame, cells: Mapping[str, Cell]) -> pd.DataFrame:
    """One row per student and item: the coordinates, item, sample (-1: greedy) and MEASURES (the mean of the repeats).

    scored: `judge.COLUMNS`, where `model` is a key of `cells`.  A score is from 1 to 5, or NaN (such as for the
    localization of errors where no step is false).
    """
    wide = scored.pivot_table("score", ["model", "item"], "dimension", aggfunc="mean", dropna=False)
    wide = wide.reindex(columns=[name for name in MEASURES if name in set(scored.dimension)]).rename(columns=MEASURES)
    wide = wide.reset_index()
    places = pd.DataFrame([cells[name].columns() for name in wide.model], index=wide.index)
    axes = [column for column in places if "." in column]  # as text: "-" for an axis that a cell does not have
    places = places.fillna(dict.fromkeys(axes, NONE)).astype(dict.fromkeys(axes, str))
    return pd.concat([places, wide[["item"]].assign(sample=-1), wide.drop(columns=["model", "item"])], axis=1)


def run(
    files: Files, config: params.Params, cells: Sequence[Cell], tests: Mapping[str, int], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge the answers of a study: return the students' `rows` and the controls' scores (`judge.COLUMNS`, and test).

    tests: the number of problems by name.  A test is left out, with a sentence, if it has pictures, which no judge is
    shown, if there are no answers, or if the program cannot read its gold solutions.  A language model's scores are
    kept under `judge/`, and are resumed.
    One line is printed with the numbers of students' files and of controls that do not exist.
    """
    judged, controlled = [], []
    absent = possible = without = asked = 0
    for test, n in tests.items():
        if tasks.has_pictures(test):
            print(f"{test} is left out: a judge does not see its pictures")
            continue
        problems, found = tasks.problems(test, "test", n), answers(files, cells, test, n)
        absent, possible = absent + len(cells) - len(found), possible + len(cells)
        found = {name: pair for name, pair in found.items() if may_judge(config, pair[0])}
        if not found or not (config.judges.quality or readable(test, problems)):
            print(f"{test} is left out: {'its gold solutions state nothing to check' if found else 'no answers'}")
            continue
        options: dict[str, Any] = {"task": test, "n": n, "seed": seed, "config": config}
        texts = {name: predictions for name, (_, predictions) in found.items()}
        path = files.root / "judge" / f"{test}.s{seed}.parquet"
        scored = scores(texts, path=path, **options)
        judged.append(rows(scored, {name: cell for name, (cell, _) in found.items()}))
        judged_items = set(scored["item"])
        known = controls(test, [problem for problem in problems if problem.id in judged_items], seed)
        without, asked = without + len(judged_items) - len(known[GOLD]), asked + len(judged_items)
        if len(known[GOLD]):
            path = path.with_name(f"{test}.controls.s{seed}.parquet")
            controlled.append(scores(known, path=path, **options).assign(test=test))
    missing = f"{absent} of {possible} pairs of a student and a test, which have no answers"
    print(f"left out: {missing}; of the controls, {without} of {asked} judged problems, of which not all can be made")
    none = pd.DataFrame(columns=[*Cell().columns(), "item", "sample", *MEASURES.values()])
    empty = pd.DataFrame(columns=[*judge.COLUMNS, "test"])
    return tuple(pd.concat(parts, ignore_index=True) if parts else blank  # type: ignore[return-value]
                 for parts, blank in ((judged, none), (controlled, empty)))  # fmt: skip
