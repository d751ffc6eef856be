"""How distill.learning_rate of the mini tier was chosen: greedy accuracy of R-SFT on the dev split, for both students.

    python benchmarks/tuning/learning_rate.py 1.0e-5 3.0e-5 1.0e-4 3.0e-4

The committed traces are read, and students go to a temporary folder. The table is printed and written to
benchmarks/tuning/learning_rate.csv. The test split is not used.
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


def dev_accuracy(config: params.Params, cell: Cell, n_train: int, n_dev: int) -> float:
    """Train the cell's student on the committed traces; return its greedy accuracy on `n_dev` dev problems."""
    path = Files(store.ROOT / "results" / "reference" / "mini").path(TRACES, cell)
    traces = pd.read_parquet(path)
    traces = traces[traces.problem.isin([p.id for p in tasks.problems(cell.train, "train", n_train)])]
    problems, grader = tasks.problems(cell.train, "dev", n_dev), tasks.get(cell.train)
    chats = [prompts.user_turn(grader.prompt(p)) for p in problems]
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "student"
        students.run(checkpoint, cell, traces, store.identity(path), n_train, config.distill)
        greedy = engines.Sampling(0.0, config.evaluate.max_new_tokens)
        completions = engines.make(str(checkpoint), config.engine).generate(chats, greedy, 0)
    return sum(grader.verify(c.text, p)[2] for c, p in zip(completions, problems, strict=True)) / n_dev


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rates", nargs="+", type=float)
    parser.add_argument("--n", type=int, help="number of training and of dev problems (default: those of mini.yaml)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    n_train, n_dev = args.n or config.sizes.train, args.n or config.sizes.dev
    cell = Cell(teacher=config.study.teachers[0], method="rsft", protocol="debate", seed=config.study.seeds[0])
    rows = []
    for task, student, rate in product(config.study.train_tasks, config.study.students, args.rates):
        variant = config.with_axes({"distill.learning_rate": rate})
        accuracy = dev_accuracy(variant, cell.but(student=student, train=task), n_train, n_dev)
        rows.append({"task": task, "student": student, "rate": rate, "dev accuracy": round(accuracy, 4), "n": n_dev})
    table = pd.DataFrame(rows)
    table.to_csv(args.out, index=False)
    print(table.pivot_table(index=["task", "student"], columns="rate", values="dev accuracy").round(3).to_string())
    print(table.groupby("rate")["dev accuracy"].mean().round(4).to_string())


if __name__ == "__main__":
    main()
