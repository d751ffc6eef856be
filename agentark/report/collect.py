"""From a study's files to its results: all graded per-item rows, and the tables and figures computed from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from agentark import store
from agentark.cells import Cell, Files, fill_coordinates
from agentark.evaluate import group
from agentark.grade import grading
from agentark.graph.graph import StudyFiles
from agentark.mas.protocol import protocols
from agentark.models.names import display_name

from . import figures, tables

Logs = list[tuple[Cell, pd.DataFrame]]


def _written(files: Files, folder: str, pattern: str) -> list[Path]:
    """The files of a folder that the study writes; others, which an earlier run with other params left, are printed."""
    found = sorted((files.root / folder).glob(pattern))
    if not isinstance(files, StudyFiles):  # a committed reference has no others
        return found
    own = [path for path in found if files.written & {path, store.manifest_path(path.parent)}]
    if others := sorted({str(path.relative_to(files.root / folder).parts[0]) for path in set(found) - set(own)}):
        names = f"{', '.join(others[:3])}{', …' if len(others) > 3 else ''}"
        print(f"left out, since this study does not make them: {len(others)} in {folder} ({names})")
    return own


def graded(path: Path, files: Files) -> pd.DataFrame:
    """Return a table of texts with its grades: those stored in a committed reference, otherwise up-to-date ones."""
    return grading.read(path) if files.root.parent.name == "reference" else grading.run(path)


def logs(files: Files, *splits: str) -> Logs:
    """Return each log of some splits of a study: its cell and its graded rows."""
    cells_and_rows = []
    for path in _written(files, "debates", "*.parquet"):
        about = _about(path)
        if about["split"] in splits:
            rows = graded(path, files)
            first = rows.iloc[0]
            names = {name: about[name] for name in ("protocol", "split", "seed")}
            names["test" if about["split"] == "test" else "train"] = about["task"]
            axes = tuple((column, first[column]) for column in rows.columns if "." in column)
            cells_and_rows.append((Cell(teacher=first["teacher"], axes=axes, **names), rows))
    return cells_and_rows


def _about(artifact: Path) -> dict:
    return json.loads(store.manifest_path(artifact).read_text())["about"]


def predictions(files: Files, found: Logs) -> pd.DataFrame:
    """Return all per-item rows of a study: the answers of students, votes of the base, and teachers by each protocol.

    `found` are the study's logs.  A vote of independent samples uses, for each problem, as many as the debate of that
    problem had completions.  Raises ValueError if the study has no predictions.
    """
    paths = _written(files, "predictions", "*.parquet")
    if not paths:
        raise ValueError(f"there are no predictions under {files.root}: nothing to report")
    parts = [fill_coordinates(graded(path, files)) for path in paths]
    for base in [part for part in parts if part.method.iloc[0] == "base"]:
        columns = {key: base[key].iloc[0] for key in tables.keys(base)} | {"method": "base_majority"}
        parts.append(group.base_majority(base, columns["test"], columns))
    tests = [(cell, log) for cell, log in found if cell.split == "test"]
    debates = [(cell, log[log.tokens_in != 0]) for cell, log in tests if cell.protocol == "debate"]
    completions = {
        (cell.teacher, cell.task, cell.axes): log.groupby("problem").size().to_dict() for cell, log in debates
    }
    for cell, log in tests:
        protocol = protocols()[cell.protocol]
        columns = Cell(teacher=cell.teacher, test=cell.task, seed=cell.seed, axes=cell.axes).columns()
        if protocol.answers == "aggregator" and protocol.method:
            if protocol.name == "debate" and not any(c.protocol == "single" for c, _ in tests):
                parts.append(group.single(log, cell.task, columns | {"method": "teacher_single"}))
            parts.append(group.debate(log, cell.task, columns | {"method": protocol.method}))
        elif protocol.method:
            samples = completions.get((cell.teacher, cell.task, cell.axes))
            parts.append(group.majority(log, cell.task, columns | {"method": protocol.method}, samples))
    # as text: "-" stands for the value of an axis that a cell does not have
    parts = [part.astype({column: str for column in part if "." in column}) for part in parts]
    rows = pd.concat(parts, ignore_index=True)
    return rows.fillna({column: "-" for column in rows if "." in column})


def debate_rounds(found: Logs, level: float = 0.95) -> pd.DataFrame:
    """Return `group.rounds` of each debate, with its teacher, task, split and protocol (`debate_rounds.csv`)."""
    debates = [(cell, log) for cell, log in found if protocols()[cell.protocol].rounds]
    parts = [group.rounds(log, cell.task, level).assign(**cell.log_columns()) for cell, log in debates]
    table = pd.concat(parts, ignore_index=True).drop(columns="seed")
    first = ["teacher", "task", "split", "protocol", *(c for c in table.columns if "." in c)]
    return table[[*first, *(c for c in table.columns if c not in first)]]


COSTS = ("examples", "dropped", "steps", "tokens", "completion_tokens", "seconds", "peak_memory_mb")


def training_cost(files: Files) -> pd.DataFrame:
    """Return the cost of the training of each student and of each reward model (method "prm"), in the form of Table 6.

    Training by rewards has no examples: `completion_tokens` are those that it sampled, and `tokens` is empty.
    """
    trainings = [*_trainings(files, "students"), *_trainings(files, "prms")]
    rows = [student | {key: log.get(key) for key in COSTS} for student, log in trainings]
    table = pd.DataFrame(rows, columns=None if rows else ["student", "method", "task", "seed", *COSTS])
    return table.fillna({column: "-" for column in table if "." in column})


def _trainings(files: Files, folder: str) -> Iterator[tuple[dict, dict]]:
    """The (student, method, task, seed, axes) and training.json of each training in a folder."""
    for path in _written(files, folder, "*/training.json"):
        about = _about(path.parent)
        student, method = about.get("student", about.get("base")), about.get("method", "prm")
        if folder == "prms" and about["prm"]["shuffled_labels"]:
            method = "prm, shuffled labels"
        names = {"student": student, "method": method, "task": about.get("train", about.get("task"))}
        axes = {name: value for name, value in about.items() if "." in name}
        yield names | {"seed": about["seed"]} | axes, json.loads(path.read_text())


def training_logs(files: Files, method: str) -> list[tuple[dict, dict]]:
    """Return (student, task, seed and axes, training.json) of each student of a method."""
    return [pair for pair in _trainings(files, "students") if pair[0].pop("method") == method]


def training_warnings(files: Files) -> list[str]:
    """Return a sentence for each student whose training has a warning: its loss did not fall."""
    found = [(place, log["warning"]) for place, log in _trainings(files, "students") if log.get("warning")]
    places = ("{student}, {method} on {task}, seed {seed}".format(**place) for place, _ in found)
    return [f"{place}: {warning}" for place, (_, warning) in zip(places, found, strict=True)]


def examinations(files: Files) -> pd.DataFrame:
    """Return the examination of each reward model of a study; empty, with a sentence, if the study has none.

    Columns: those of `criteria.decide` with traces, teacher, student, task, seed and axes; see `scorecard.current`.
    """
    parts = [pd.read_csv(path) for path in _written(files, "prms", "*.csv")]
    if parts:
        return pd.concat(parts, ignore_index=True)
    print(f"there are no reward models under {os.path.relpath(files.root, store.ROOT)}")
    return pd.DataFrame(columns=["student", "task", "seed", "traces", "scorer", "measure", "value", "passed"])


def results(files: Files, resamples: int, level: float) -> dict[str, pd.DataFrame]:
    """Return every table of a study by name, with all per-item rows as `rows`; a pure function of its files."""
    study_logs = logs(files, "train", "test")  # those on dev are notebook 18's: `make quick` does without them
    rows = predictions(files, study_logs)
    return {
        "main_results": tables.main_results(rows, level),
        "accuracies": tables.accuracies(rows, level),
        "inference_cost": tables.inference_cost(rows),
        "comparisons": tables.comparisons(rows, resamples=resamples, alpha=1 - level),
        "debate_rounds": debate_rounds(study_logs, level),
        "training_cost": training_cost(files),
        "rows": rows,
    }


def all_figures(results: dict[str, pd.DataFrame], level: float = 0.95) -> dict[str, Figure]:
    """Return every figure of a study, by the name of its file; `level` as for `results`."""
    main, paired, rounds = results["main_results"], results["comparisons"], results["debate_rounds"]
    return {
        "fig2_right_by_method": figures.by_method(main, level),
        "fig3a_in_and_out_of_domain": figures.in_and_out_of_domain(main, paired),
        "fig3b_by_dataset_and_student": figures.by_dataset_and_student(main, paired),
        "debate_rounds": figures.debate_rounds(of_teachers(rounds[rounds.split == "test"]), level),
    }


def of_teachers(rounds: pd.DataFrame) -> pd.DataFrame:
    """Return the rounds for one figure, where each teacher and value of an axis counts as a protocol of its own."""
    axes = [column for column in rounds if "." in column and rounds[column].nunique() > 1]
    if rounds.teacher.nunique() == 1 and not axes:
        return rounds
    several = rounds.teacher.nunique() > 1
    names = [
        ", ".join(
            [row["protocol"] + f" of {display_name(row['teacher'])}" * several, *(f"{a} = {row[a]}" for a in axes)]
        )
        for row in rounds.to_dict("records")
    ]
    return rounds.assign(protocol=names)


def save(results: dict[str, pd.DataFrame], drawn: dict[str, Figure], tables_in: Path, figures_in: Path) -> None:
    """Write the tables as CSV, the per-item rows as Parquet and the figures as PNG and PDF."""
    for name, table in results.items():
        store.write_table(table, tables_in / (f"{name}.parquet" if name == "rows" else f"{name}.csv"))
    for name, figure in drawn.items():
        figures.save(figure, figures_in / name)
