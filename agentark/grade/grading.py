"""Grading: a table of generated texts goes in, the table of their grades comes out, row by row.

Only the answer is judged, never the reasoning before it (A.3; DECISIONS 6).  The grades of `<folder>/<name>.parquet`
lie in `grades/<folder>/<name>.parquet` and depend on the texts, the problems and the code of the grader.  No other
stage decides which texts are right.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentark import store, tasks
from agentark.graph.source import source_hash

from . import overlap

if TYPE_CHECKING:
    import pandas as pd

GRADES = ["answer", "answer_strict", "correct", "correct_strict", "score"]


def path_of(texts: Path) -> Path:
    """Return the path of the grades of a table of texts."""
    return texts.parents[1] / "grades" / texts.parent.name / texts.name


def roots(task: str) -> list[str]:
    """The code that grades depend on: this stage, the problems with their gold answers, and the task's grader.

    A measure other than accuracy follows as "measure:…".
    """
    sources, measure = tasks.sources(task), tasks.get(task).measure
    measures = [] if measure == "accuracy" else [f"measure:{measure}"]
    return [f"{__name__}:grade", *sources["problems"], *sources["grader"], *measures]


def grade(texts: pd.DataFrame, task: str, split: str) -> pd.DataFrame:
    """Return the grades of texts, in their order: one row per text with the columns of `GRADES`.

    texts: `problem` (an id), `text`, and optionally `gold`.  answer: by flexible extraction, else None; answer_strict:
    from the answer line only.  correct, correct_strict: whether they equal the gold answer.  score: by the task's
    measure, 0 to 1.  Raises ValueError if the split has no such problem, or another gold answer for it.
    """
    import pandas as pd

    grader, problems = tasks.get(task), {p.id: p for p in tasks.problems(task, split, texts["problem"].nunique())}
    if unknown := sorted(set(texts["problem"]) - set(problems)):
        raise ValueError(f"{len(unknown)} problems of the table are not in {task}/{split}, the first is "
                         f"{unknown[0]!r}: it was made from other data")  # fmt: skip
    if "gold" in texts and (texts["problem"].map(lambda p: problems[p].answer) != texts["gold"]).any():
        raise ValueError(f"the table's gold answers are not those of {task}/{split}: it was made from other data")
    rows = []
    for name, text in zip(texts["problem"], texts["text"], strict=True):
        parsed, strict, flexible = grader.verify(text, problems[name])
        exact = grader.measure == "accuracy"
        score = float(flexible) if exact else overlap.score(parsed.flexible, problems[name], grader.measure)
        rows.append((parsed.flexible, parsed.strict, flexible, strict, score))
    return pd.DataFrame(rows, columns=GRADES, index=texts.index)


def run(texts: Path) -> pd.DataFrame:
    """Return the texts of a table with their grades, which are computed and written if that was not done yet.

    texts: a table of the debate stage, or of predictions; its coordinates name the task and the split.  The answers as
    a protocol read them are replaced; the manifest counts those that are read differently (`answers_changed`).
    """
    import pandas as pd

    table, path = pd.read_parquet(texts), path_of(texts)
    task = table["task" if "task" in table else "test"].iloc[0]
    split = table["split"].iloc[0] if "split" in table else "test"
    about = {"stage": "grade", "source": source_hash(*roots(task)), "texts": store.identity(texts)}
    about |= {"task": task, "split": split}
    if not store.is_done(path, about):
        started, counts_before = time.time(), tasks.counts(task)
        grades = grade(table.rename(columns={"item": "problem"}), task, split)
        changed = int((table["answer"].fillna("") != grades["answer"].fillna("")).sum()) if "answer" in table else 0
        counts: dict[str, Any] = {"answers_changed": changed, "unparsed": int(grades["answer"].isna().sum())}
        store.finish(grades, path, about, started, None, **counts | tasks.counts(task, counts_before))
    return read(texts, table)


def identity(texts: Path) -> str:
    """Return the identity of a graded table, its texts and its grades, for the manifests of tables made from it."""
    return store.digest([store.identity(texts), store.identity(path_of(texts))])


def read(texts: Path, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the texts of a table with their stored grades.  Raises StoreError if they have none."""
    import pandas as pd

    path = path_of(texts)
    if not path.exists():
        raise store.StoreError(f"{texts} has no grades beside it ({path}): run the notebook that makes it")
    table = pd.read_parquet(texts) if table is None else table
    grades = pd.read_parquet(path)
    if len(grades) != len(table):
        raise store.StoreError(f"{path} has {len(grades)} grades for {len(table)} texts: delete it, it is made again")
    graded = table.drop(columns=["answer", "strict"], errors="ignore").assign(**{name: grades[name] for name in GRADES})
    if "item" in graded:  # predictions name both extractions
        graded = graded.rename(columns={"answer": "answer_flexible", "correct": "correct_flexible"})
    return graded
