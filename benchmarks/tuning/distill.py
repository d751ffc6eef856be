"""How the rates and epochs of `distill` were chosen: greedy dev accuracy by method, rate and epochs.

    python benchmarks/tuning/distill.py params/mini.yaml --methods rsft da --rates 3e-4 1e-3 3e-3 --epochs 3 6

The traces are those of the study's run (notebooks 01 and 02), or of its reference; students go to a temporary folder.
Each row is written at once to --out, and a second call makes only the rows that are missing.
The test split is not used.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import students
from agentark.extract.jobs import TRACES
from agentark.mas import prompts

SETTING = ["task", "student", "method", "epochs", "rate"]


def found_traces(config: params.Params, cell: Cell) -> Path:
    """Return the traces of a study's run, or of its reference; ends the program with a sentence if there are none."""
    folders = [store.ROOT / "results" / name for name in (config.study.name, f"reference/{config.study.name}")]
    path = next((p for folder in folders if (p := Files(folder).path(TRACES, cell)).exists()), None)
    if path is None:
        raise SystemExit(
            f"there are no traces of {cell.train} in {folders[0]}: run notebooks 01 and 02 of the study first"
        )
    return path


def measure(config: params.Params, cell: Cell, n_dev: int) -> dict:
    """Train the cell's student on the study's traces; return its greedy accuracy on dev, n, losses and seconds."""
    path = found_traces(config, cell)
    n = config.sizes.count("train", cell.train)
    grader, problems = tasks.get(cell.train), tasks.problems(cell.train, "dev", n_dev)
    chats = [prompts.user_turn(grader.prompt(p)) for p in problems]
    with TemporaryDirectory() as folder:
        student, log = cell.student, {}
        if cell.method != "base":
            student = str(Path(folder) / "student")
            log = students.run(Path(student), cell, pd.read_parquet(path), store.identity(path), n, config.distill)
        greedy = engines.Sampling(0.0, config.evaluate.max_new_tokens)
        completions = engines.make(student, config.engine).generate(chats, greedy, 0)
    right = sum(grader.verify(c.text, p)[2] for c, p in zip(completions, problems, strict=True))
    losses = {key: round(log[key], 4) for key in ("first_loss", "last_loss", "seconds") if log}
    return {"dev accuracy": round(right / len(problems), 4), "n": len(problems), "train": n, **losses}


def at_the_edge(table: pd.DataFrame) -> list[str]:
    """A sentence for each task, student and method whose best rate is the least or the largest that was tried."""
    found = []
    for names, rows in table[table.method != "base"].groupby(SETTING[:3]):
        best = rows.loc[rows["dev accuracy"].idxmax()]
        tried = sorted(rows.rate.unique())
        if len(tried) > 1 and best.rate in (tried[0], tried[-1]):
            more = "smaller" if best.rate == tried[0] else "larger"
            found.append(f"{', '.join(names)}: the best rate, {best.rate:g}, is at the edge; try {more} ones")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("--methods", nargs="+", default=["sft", "rsft", "da"])
    parser.add_argument("--rates", nargs="+", type=float, default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--epochs", nargs="+", type=int, default=[3])
    parser.add_argument("--tasks", nargs="+", help="default: all of the study's training sets")
    parser.add_argument("--dev", type=int, default=300, help="problems of dev")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(args.params)
    config = config.model_copy(update={"distill": config.distill.model_copy(update={"by_method": {}})})
    first = Cell(teacher=config.study.teachers[0], protocol="debate", seed=config.study.seeds[0])
    rows = pd.read_csv(args.out).to_dict("records") if args.out.exists() else []
    done = {tuple(row[key] for key in (*SETTING, "n", "train")) for row in rows}
    settings = [("base", 0, 0.0), *product(args.methods, args.epochs, args.rates)]
    for task, student, (method, epochs, rate) in product(
        args.tasks or config.study.train_tasks, config.study.students, settings
    ):
        setting = (task, student, method, epochs, rate)
        if (*setting, args.dev, config.sizes.count("train", task)) in done:
            continue
        axes = {"distill.learning_rate": rate, "distill.epochs": epochs} if epochs else {}
        cell = first.but(train=task, student=student, method=method)
        rows.append(dict(zip(SETTING, setting, strict=True)) | measure(config.with_axes(axes), cell, args.dev))
        pd.DataFrame(rows).to_csv(args.out, index=False)
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    print(table.pivot_table(index=SETTING[:4], columns="rate", values="dev accuracy").round(3).to_string())
    print("\n".join(at_the_edge(table)))


if __name__ == "__main__":
    main()
