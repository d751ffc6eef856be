"""From a study's files to its results: all per-item rows, and the tables and figures made of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from agentark import store, study, tasks
from agentark.evaluate import group, overlap
from agentark.extract.verify import verify

from . import figures, tables


def _coordinates(path: Path, names: tuple[str, ...]) -> dict:
    """The coordinates in an artifact's file name (a network's name may itself hold dots)."""
    manifest = json.loads(store.manifest_path(path).read_text())["about"]
    return {name: manifest[name] for name in names}


def logs(files: study.Files, split: str | None = None) -> list[tuple[dict, pd.DataFrame]]:
    """Every debate log of a study, or of one split of it: (teacher, task, split, protocol, seed), the verified log."""
    found = []
    for path in sorted((files.root / "debates").glob("*.parquet")):
        at = _coordinates(path, ("model", "task", "split", "protocol", "seed"))
        if split in (None, at["split"]):
            found.append((at, verify(pd.read_parquet(path), at["task"], at["split"])))
    return found


def predictions(files: study.Files, found: list[tuple[dict, pd.DataFrame]]) -> pd.DataFrame:
    """All per-item rows of a study: the students' predictions, the base's votes, and the teacher alone, by vote and in debate.

    `found` are its logs.  The teacher's vote has, for each problem, as many samples as the debate of that problem had
    completions.  ValueError where the study has no predictions.
    """
    tabled = [pd.read_parquet(path) for path in sorted((files.root / "predictions").glob("*.parquet"))]
    if not tabled:
        raise ValueError(f"there are no predictions under {files.root}: nothing to report")
    for base in [t for t in tabled if t.method.iloc[0] == "base"]:
        who = {key: base[key].iloc[0] for key in tables.KEYS} | {"method": "base_majority"}
        tabled.append(group.base_majority(base, who["test"], who))
    tests = [(at, log) for at, log in found if at["split"] == "test"]
    spent = {
        (at["model"], at["task"]): log[log.tokens_in > 0].groupby("problem").size().to_dict()
        for at, log in tests
        if at["protocol"] == "debate"
    }
    for at, log in tests:
        who = {"teacher": at["model"], "student": "-", "train": "-", "test": at["task"], "seed": at["seed"]}
        if at["protocol"] == "debate":
            tabled.append(group.single(log, at["task"], who | {"method": "teacher_single"}))
            tabled.append(group.debate(log, at["task"], who | {"method": "teacher_debate"}))
        elif at["protocol"] == "self_consistency":
            samples = spent.get((at["model"], at["task"]))
            tabled.append(group.majority(log, at["task"], who | {"method": "teacher_majority"}, samples))
    return pd.concat([_measured(table) for table in tabled], ignore_index=True)


def _measured(rows: pd.DataFrame) -> pd.DataFrame:
    """One cell's rows; a debate's or a vote's answers to an open-ended test with their score by its measure, as a single model's have it."""
    task = tasks.get(rows.test.iloc[0])
    if task.measure == "accuracy" or rows.method.iloc[0] not in tables.ONE_SAMPLE:
        return rows
    known = {p.id: p for p in tasks.problems(task.name, "test", rows["item"].nunique())}
    return rows.assign(
        score=[
            overlap.score(answer if isinstance(answer, str) else None, known[item], task.measure)
            for answer, item in zip(rows.answer_flexible, rows["item"])
        ]
    )


def debate_rounds(found: list[tuple[dict, pd.DataFrame]]) -> pd.DataFrame:
    """`debate_rounds.csv`: per teacher, task, split and round, what the debate did (see `group.rounds`)."""
    made = [
        group.rounds(log, at["task"]).assign(
            teacher=at["model"], task=at["task"], split=at["split"], protocol=at["protocol"]
        )
        for at, log in found
        if at["protocol"] in ("debate", "shuffled")
    ]
    table = pd.concat(made, ignore_index=True)
    first = ["teacher", "task", "split", "protocol"]
    return table[[*first, *(c for c in table.columns if c not in first)]]


COSTS = ("examples", "dropped", "steps", "tokens", "completion_tokens", "seconds", "peak_memory_mb")


def training_cost(files: study.Files) -> pd.DataFrame:
    """What each student's training cost: steps, tokens, seconds, peak memory (the form of Table 6); and each reward model's, as method "prm".

    Training by rewards has no examples: `completion_tokens` are those that it sampled, and `tokens` is empty.
    """
    rows = []
    for path in sorted((files.root / "students").glob("*/training.json")):
        rows.append((_coordinates(path.parent, ("student", "method", "task", "seed")), json.loads(path.read_text())))
    for path in sorted((files.root / "prms").glob("*/training.json")):
        at = _coordinates(path.parent, ("base", "task", "seed", "prm"))
        method = "prm, shuffled labels" if at["prm"]["shuffled_labels"] else "prm"
        rows.append(
            (
                {"student": at["base"], "method": method, "task": at["task"], "seed": at["seed"]},
                json.loads(path.read_text()),
            )
        )
    return pd.DataFrame([at | {key: log.get(key) for key in COSTS} for at, log in rows])


def training_logs(files: study.Files, method: str) -> list[tuple[dict, dict]]:
    """The training logs of all students that a method taught: (student, task, seed), training.json."""
    found = []
    for path in sorted((files.root / "students").glob("*/training.json")):
        at = _coordinates(path.parent, ("student", "method", "task", "seed"))
        if at["method"] == method:
            found.append((at, json.loads(path.read_text())))
    return found


def judged(files: study.Files) -> pd.DataFrame:
    """What each reward model of a study is worth (`pad.judged`): teacher, student, task, seed, traces, measure, prm, control, good, passed.

    Empty, with a sentence, where the study has none.
    """
    found = [pd.read_csv(path) for path in sorted((files.root / "prms").glob("*.csv"))]
    if not found:
        print(f"there are no reward models under {os.path.relpath(files.root, store.ROOT)}")
    return (
        pd.concat(found, ignore_index=True)
        if found
        else pd.DataFrame(columns=["student", "task", "seed", "traces", "measure", "prm", "control", "good", "passed"])
    )


def results(files: study.Files, resamples: int, level: float) -> dict[str, pd.DataFrame]:
    """Every table of a study by name, `rows` (all per-item rows) among them; a pure function of its files."""
    found = logs(files)
    rows = predictions(files, found)
    return {
        "main_results": tables.main_results(rows, level),
        "accuracies": tables.accuracies(rows, level),
        "inference_cost": tables.inference_cost(rows),
        "comparisons": tables.comparisons(rows, resamples=resamples, alpha=1 - level),
        "debate_rounds": debate_rounds(found),
        "training_cost": training_cost(files),
        "rows": rows,
    }


def pictures(made: dict[str, pd.DataFrame], level: float = 0.95) -> dict[str, Figure]:
    """Every figure of a study, by the name of its file; `level` as `results` was given it."""
    main, paired, rounds = made["main_results"], made["comparisons"], made["debate_rounds"]
    return {
        "fig2_right_by_method": figures.by_method(main, level),
        "fig3a_in_and_out_of_domain": figures.in_and_out_of_domain(main, paired),
        "fig3b_by_dataset_and_student": figures.by_dataset_and_student(main, paired),
        "debate_rounds": figures.debate_rounds(of_teachers(rounds[rounds.split == "test"])),
    }


def of_teachers(rounds: pd.DataFrame) -> pd.DataFrame:
    """Several teachers' debates in one figure: each counts as a protocol of its own."""
    return (
        rounds
        if rounds.teacher.nunique() == 1
        else rounds.assign(protocol=[f"{p} of {t}" for p, t in zip(rounds.protocol, rounds.teacher)])
    )


def save(made: dict[str, pd.DataFrame], drawn: dict[str, Figure], tables_in: Path, figures_in: Path) -> None:
    """Write the tables as CSV, the per-item rows as Parquet and the figures as PNG and PDF."""
    for name, table in made.items():
        store.write_table(table, tables_in / (f"{name}.parquet" if name == "rows" else f"{name}.csv"))
    for name, figure in drawn.items():
        figures.save(figure, figures_in / name)
