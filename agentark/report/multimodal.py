"""A student that sees, trained on text alone (4.6, Fig. 7): what it gains on text, and whether it still sees.

Students that answer questions about pictures see; the others of a study are text-only and learn from the same traces.
Right or wrong answers are compared over training seeds and test items, which are crossed (`stats.crossed`).  Whether
a student looks at a picture is seen from the same questions beside another picture (`mini_pictures_exchanged`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from agentark import tasks
from agentark.graph.job import Job, Study, report_job

from . import jobs as reports
from . import seeds

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which needs neither pandas nor scipy
    import pandas as pd

MARGIN = 0.05  # ours, stated before the run: a student that may have lost more of the pictures is not called unharmed
NOT_WORSE, WORSE, UNDECIDED = "not worse", "worse", "undecided"
ALL = "all"  # questions of every kind
DIFFERENCE = ["difference", "low", "high"]
GAINS = ["test", "student", "method", "against", "seeds", "n", "chance", "accuracy", "against_accuracy", *DIFFERENCE]
GAINS += ["p", "p_holm", "smallest_detectable", "verdict"]
GAPS = ["test", "method", "seeing", "text_only", "seeds", "n", "gain_seeing", "gain_text_only", *DIFFERENCE]
GAPS += ["p", "p_holm", "smallest_detectable", "verdict"]
SIGHT = ["student", "train", "method", "kind", "seeds", "n", "chance", "accuracy", "acc_low", "acc_high", "exchanged"]
SIGHT += ["looked", "looked_low", "looked_high", "change", "change_low", "change_high", "sight"]


def gains(predictions: pd.DataFrame, level: float) -> pd.DataFrame:
    """Each trained method minus the untrained student and minus its controls on each text test (`multimodal.csv`).

    predictions: what `collect.predictions` returns.  Columns: the coordinates, and GAINS; rows are pairs that have two
    training seeds in common.  chance: what an answer that ignores the question scores.  Holm's correction and the
    smallest detectable difference (power 80 %, Holm's strictest step) are over the table.
    """
    rows = []
    for where, ours, theirs in _text_pairs(predictions):
        row = {**where, "seeds": len(ours), "n": ours.shape[1], "chance": chance(where["test"])}
        row |= {"accuracy": ours.to_numpy().mean(), "against_accuracy": theirs.to_numpy().mean()}
        rows.append(row | _crossed(ours - theirs, where["test"], level))
    return _corrected(rows, GAINS, level)


def gaps(predictions: pd.DataFrame, level: float) -> pd.DataFrame:
    """What a seeing student gains on each text test minus what a text-only one gains, item by item: GAPS.

    A gain is the score after training minus that before it.  Seeds of one number are compared.  Holm as in `gains`.
    """
    gained: dict[tuple, dict[str, Any]] = {}
    for where, ours, theirs in _text_pairs(predictions):
        if where["against"] == "base":
            place = {name: value for name, value in where.items() if name not in ("student", "against", "decoding")}
            gained.setdefault(tuple(place.items()), {})[where["student"]] = ours - theirs
    rows, seeing = [], sighted(predictions)
    for key, by_student in gained.items():
        for one in (name for name in by_student if name in seeing):
            for other in (name for name in by_student if name not in seeing):
                sees, reads = by_student[one].align(by_student[other], join="inner")
                row = {**dict(key), "seeing": one, "text_only": other, "seeds": len(sees), "n": sees.shape[1]}
                row |= {"gain_seeing": sees.to_numpy().mean(), "gain_text_only": reads.to_numpy().mean()}
                rows.append(row | _crossed(sees - reads, row["test"], level))
    return _corrected(rows, GAPS, level)


def sight(predictions: pd.DataFrame, level: float, margin: float = MARGIN) -> pd.DataFrame:
    """What each seeing student sees, before and after training, by kind of question (`multimodal_pictures.csv`): SIGHT.

    chance: see `zoo.seeing.guessed`.  exchanged: the score on the first of the same questions beside other pictures;
    looked: on these, the score with their own picture minus that.  change: the score minus that of the untrained
    student.  sight: "worse" if the interval of the change lies below 0, "not worse" if it lies above -`margin`, else
    "undecided"; intervals are not corrected: the claim that no method harms has to hold for each.
    """
    import pandas as pd

    from agentark.tasks.mini_pictures import EXCHANGED, TASK
    from agentark.zoo.seeing import KINDS

    from .tables import keys, ordered

    rows, found = _greedy(predictions), []
    by = [name for name in keys(rows) if name not in ("seed", "test")]
    own, other = (_matrices(rows[rows.test == test], by) for test in (TASK.name, EXCHANGED))
    untrained = {place["student"]: scores for place, scores in own.values() if place["method"] == "base"}
    for key, (place, scores) in own.items():
        kinds, guesses = questions(scores.shape[1])
        blind = other[key][1] if key in other else scores[[]]
        for kind in (ALL, *KINDS):
            items = [item for item in scores if kind in (ALL, kinds[item])]
            both = [item for item in items if item in blind]
            row = place | {"test": TASK.name, "kind": kind, "seeds": len(scores), "n": len(items)}
            row["chance"] = sum(guesses[item] for item in items) / len(items) if items else float("nan")
            row |= _interval(scores[items], ("accuracy", "acc_low", "acc_high"), level)
            row["exchanged"] = blind[both].to_numpy().mean() if both else float("nan")
            row |= _interval(scores[both] - blind[both], ("looked", "looked_low", "looked_high"), level)
            change = scores[items] - untrained[place["student"]].iloc[0][items]
            if place["method"] != "base":
                row |= _interval(change, ("change", "change_low", "change_high"), level)
                row["sight"] = unharmed(row["change_low"], row["change_high"], margin)
            found.append(row)
    axes = [name for name in by if "." in name]
    return ordered(pd.DataFrame(found).assign(seed=0))[[*axes, *SIGHT]] if found else pd.DataFrame(columns=SIGHT)


def unharmed(low: float, high: float, margin: float) -> str:
    """What the interval of a change says of a loss: "worse", "not worse" by more than the margin, or "undecided"."""
    return WORSE if high < 0 else NOT_WORSE if low > -margin else UNDECIDED


def sighted(predictions: pd.DataFrame) -> list[str]:
    """The students that answer questions about pictures."""
    return list(dict.fromkeys(predictions.student[predictions.test.map(tasks.has_pictures)]))


@cache
def chance(test: str) -> float:
    """What an answer that ignores the question scores on a test's dev problems."""
    from agentark.zoo import measuring

    return measuring.dev_chance(test)


@cache
def questions(n: int) -> tuple[dict[int, str], dict[int, float]]:
    """The kind of each of the first n test questions about pictures, and how often a guess is right, by its number."""
    from agentark.zoo import measuring, seeing

    problems, task = tasks.problems(seeing.TASK, "test", n), tasks.get(seeing.TASK)
    frequent = measuring.chance(task, tasks.problems(seeing.TASK, "dev", task.sizes["dev"]))
    numbered = {number_of(problem.id): problem for problem in problems}
    kinds = {number: seeing.kind_of(problem) for number, problem in numbered.items()}
    return kinds, {number: seeing.guessed(problem, frequent) for number, problem in numbered.items()}


def number_of(item: str) -> int:
    """The number in a problem's id, which a question and its exchanged form have in common."""
    return int(item.rpartition("/")[2])


def _greedy(predictions: pd.DataFrame) -> pd.DataFrame:
    """The greedy answers of students, with `score`."""
    from .methods import one_sample
    from .tables import scores

    rows = predictions[(predictions["sample"] == -1) & ~predictions.method.map(one_sample)]
    return rows.assign(score=scores(rows))


def _matrices(rows: pd.DataFrame, by: list[str]) -> dict[tuple, tuple[dict[str, Any], pd.DataFrame]]:
    """Of each cell, its coordinates, and its scores: one row per seed, one column per question number."""
    found = {}
    for key, part in rows.assign(number=rows["item"].map(number_of)).groupby(by, sort=False):
        found[key] = dict(zip(by, key, strict=True)), part.pivot(index="seed", columns="number", values="score")
    return found


def _text_pairs(predictions: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """`seeds.paired` of the greedy answers to the tests without pictures."""
    if len(predictions):
        yield from seeds.paired(predictions[(predictions["sample"] == -1) & ~predictions.test.map(tasks.has_pictures)])


def _crossed(differences: pd.DataFrame, test: str, level: float) -> dict[str, Any]:
    """The mean of differences (seeds, items) with its interval and p, and the test that `_corrected` completes."""
    from agentark import stats

    shared = seeds.clusters(test, differences.columns)
    return stats.crossed(differences.to_numpy(), [shared[item] for item in differences.columns], level=level).columns()


def _interval(values: pd.DataFrame, names: tuple[str, str, str], level: float) -> dict[str, float]:
    """The mean of some values (seeds, items) and its interval by `names`; NaN for fewer than two items."""
    from agentark import stats

    if values.shape[1] < 2:
        return dict.fromkeys(names, float("nan"))
    found = stats.crossed(values.to_numpy(), level=level)
    return dict(zip(names, (found.difference, found.low, found.high), strict=True))


def _corrected(rows: list[dict[str, Any]], columns: list[str], level: float) -> pd.DataFrame:
    """A table of comparisons with Holm's correction, the smallest detectable difference, and a verdict on each."""
    import pandas as pd

    from agentark import stats

    if not rows:
        return pd.DataFrame(columns=columns)
    table = stats.decided(pd.DataFrame(rows), level)
    place = ["teacher", "train", *(name for name in table if "." in name or name == "protocol")]
    return table[[*place, *columns]].reset_index(drop=True)


def jobs(study: Study) -> Iterator[Job]:
    """One run for a study with a test about pictures."""
    tests = study.base.study.test_tasks
    if any(map(tasks.has_pictures, tests)):
        names = ("multimodal.csv", "multimodal_gaps.csv", "multimodal_pictures.csv")
        files = {"outputs": [study.files.root / name for name in names]}
        files |= {"inputs": reports.graded(study, "predictions")}
        code = ["collect", "open_ended", "multimodal", "multimodal_shown"]
        yield report_job(study, "16_multimodal", code, reports.graders(study), sections=["stats"], **files)
