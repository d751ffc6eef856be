"""What is learnt on one task, tested on reading tasks: F1, ROUGE and BERTScore of the students, before and after (4.5).

The training task is beside the others, by its accuracy: what is gained there is what may be transferred or paid for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pandas as pd

from agentark import assets, stats, tasks
from agentark.cells.cell import NONE
from agentark.evaluate.bertscore import ENCODER, bertscore
from agentark.grade import overlap

from . import open_ended, paper, tables

MEASURES = ["accuracy", "f1", *overlap.ROUGES, "bertscore"]
HEADLINES = {"hotpot_f1": "f1", "rouge": "rougeL"}  # the measure of a task, where it has another name here
SIZES = ["train", "test", "method", "measure", "small", "large", "n", "gain_small", "gain_large"]
SIZES += ["difference", "low", "high", "p", "p_holm", "verdict"]
_rouge = cache(overlap.rouge)


def overlaps(answer: str | None, problem: tasks.Problem, task: tasks.Task) -> dict[str, float]:
    """Return the scores of an answer: accuracy, or F1 and ROUGE-1/2/L, each the best over the references.

    No answer scores 0.  F1 is that of the task: HotpotQA's or SQuAD's.
    """
    if task.measure == "accuracy":
        return {"accuracy": float(answer is not None and task.equal(problem.answer, answer))}
    if answer is None:
        return dict.fromkeys(["f1", *overlap.ROUGES], 0.0)
    references = problem.references or (problem.answer,)
    f1 = overlap.hotpot_f1 if task.measure == "hotpot_f1" else overlap.f1
    matches = [_rouge(answer, reference) for reference in references]
    return {"f1": f1(answer, references)} | {name: max(match[name] for match in matches) for name in overlap.ROUGES}


def headline(test: str) -> str:
    """The name of a test's own measure among MEASURES."""
    measure = tasks.get(test).measure
    return HEADLINES.get(measure, measure)


def scored(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return `open_ended.scored` of a study's reading tests and of the tests on its training sets, with BERTScore.

    BERTScore is left out, with a sentence, of tasks that are made by this package, and where its encoder is not
    installed.  Raises ValueError if the stored scores are not those of the references.
    """
    learnt = sorted(set(predictions.train) - {NONE})
    own = [t for t in predictions.test.unique() if any(tasks.in_domain(train, t) for train in learnt)]
    tests = [t for t in predictions.test.unique() if open_ended.reading(t)]
    rows = open_ended.scored(predictions, list(dict.fromkeys([*own, *tests])), overlaps)
    for test, part in rows.groupby("test"):
        if ((part[headline(str(test))] - tables.scores(part)).abs() > 1e-9).any():
            raise ValueError(f"the stored scores of {test} are not those of its references: grade its answers again")
    real = [t for t in tests if tasks.get(t).source != "made by this package"]
    for test in sorted(set(tests) - set(real)):
        print(f"{test}: no BERTScore: of the few words of an invented world, an encoder of English knows nothing")
    return _with_bertscore(rows, real)


def _with_bertscore(rows: pd.DataFrame, tests: list[str]) -> pd.DataFrame:
    """The rows with the BERTScore F1 of the answers to `tests`, their floor and their ceiling."""
    parts = [rows[~rows.test.isin(tests)]]
    for (test, *_), cell in rows[rows.test.isin(tests)].groupby(["test", *tables.keys(rows)], sort=False):
        problems = {p.id: p for p in tasks.problems(test, "test", rows[rows.test == test].item.nunique())}
        asked = [problems[item] for item in cell.item]
        references, answers = [p.references or (p.answer,) for p in asked], open_ended.texts(cell, asked)
        try:
            scores = {f"{prefix}bertscore": bertscore(said, references).f1 for prefix, said in answers.items()}
        except (assets.AssetError, ModuleNotFoundError) as error:
            print(f"no BERTScore: {error}")
            return rows
        parts.append(cell.assign(**scores))
    if tests:
        print(f"BERTScore by {ENCODER}")
    return pd.concat(parts)


def table(rows: pd.DataFrame, level: float, resamples: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return `open_ended.measured` of `scored` rows by MEASURES; `headline` marks each test's own measure (`ood.csv`).

    in_domain: whether the test is of the family of the training set; false for the untrained student.
    """
    cells, pairs = open_ended.measured(rows, MEASURES, level, resamples)
    own = [m == headline(test) for m, test in zip(cells.measure, cells.test)]
    inside = [train != NONE and tasks.in_domain(train, test) for train, test in zip(cells.train, cells.test)]
    cells = cells.assign(headline=own, in_domain=inside)
    first = [*tables.keys(cells), "in_domain", "measure", "headline"]
    return cells[[*first, *(c for c in cells if c not in first)]], pairs


def by_size(rows: pd.DataFrame, billions: Callable[[str], float], level: float, resamples: int) -> pd.DataFrame:
    """Return how much more the largest student gains than the smallest, item by item: SIZES, one row per comparison.

    billions: a network's billions of parameters.  A gain is the headline score of the trained student minus that of
    the untrained one on the same item.  Holm's correction is over this table, which is empty for one student.
    """
    students = sorted(rows.student.unique(), key=billions)
    gained = rows[rows.train != NONE].assign(gain=float("nan"))
    for (student, test), part in gained.groupby(["student", "test"]):
        base = rows[(rows.method == "base") & (rows.student == student) & (rows.test == test)]
        before = base.drop_duplicates("item").set_index("item")[headline(str(test))]  # one seed serves all
        gained.loc[part.index, "gain"] = part[headline(str(test))] - part.item.map(before)
    by, found = [c for c in tables.keys(rows) if c != "student"], []
    for key, cell in gained.groupby(by, sort=False):
        sides = [cell[cell.student == s].set_index("item").gain for s in (students[0], students[-1])]
        small, large = sides[0].align(sides[1], join="inner")
        if len(students) > 1 and len(small):
            place = dict(zip(by, key, strict=True))
            ends = stats.paired_bootstrap(small, large, resamples=resamples, level=level)
            row = place | {"measure": headline(place["test"]), "small": students[0], "large": students[-1]}
            row |= {"n": len(small), "gain_small": small.mean(), "gain_large": large.mean()}
            found.append(row | dict(zip(("difference", "low", "high"), ends)) | {"p": stats.paired_p(small, large)})
    if not found:
        return pd.DataFrame(columns=SIZES)
    result = stats.decided(pd.DataFrame(found), level)
    return result[[*SIZES[:3], *(c for c in by if c not in SIZES and result[c].nunique() > 1), *SIZES[3:]]]


def of_the_paper() -> pd.DataFrame:
    """Return those values of the paper's Figures 6, 8 and 9 that its text has (D.1), in percent, with their gain."""
    values = pd.read_csv(paper.FOLDER / "text_d1_ood.tsv", sep="\t")
    return values.assign(gain=(values.agentark - values.base).round(2), source=paper.SOURCE)
