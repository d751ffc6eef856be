"""How the temperature and the debate training of the teacher change the outcome of a debate, on dev.

    python benchmarks/tuning/debate.py --temperatures 0.5 0.8 1.1 --models zoo/qwen3-32b
    python benchmarks/tuning/debate.py --temperatures 0.8 --models zoo/gemma3-27b

A higher temperature raises the error rate of the peers. Run the script with OMP_NUM_THREADS=1. One row per model,
temperature, task and kind of answer is added to benchmarks/tuning/debate.csv; existing rows are kept. The test split is
not used.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import params, store
from agentark.cells import Cell, Files
from agentark.evaluate import group
from agentark.grade import grading
from agentark.mas import generation
from agentark.mas.jobs import DEBATES
from agentark.report import debating

PROTOCOLS = ("debate", "self_consistency", "shuffled")
KEY = ["model", "task", "temperature"]
FIGURES = ["what", "n", "accuracy", "ci_low", "ci_high", "difference", "p", "corrected", "corrupted"]


def compare(config: params.Params, model: str, task: str, n: int) -> pd.DataFrame:
    """Return FIGURES of each way to answer the first `n` dev problems; corrected, corrupted: counts of the debate."""
    logs = []
    with TemporaryDirectory() as folder:
        for protocol in PROTOCOLS:
            cell = Cell(teacher=model, train=task, split="dev", protocol=protocol)
            path = Files(Path(folder)).path(DEBATES, cell)
            generation.run(path, cell, n, config.debate, config.engine)
            logs.append((cell, grading.run(path)))
    changes = group.rounds(logs[0][1], task)[["corrected", "corrupted"]].sum()
    return debating.answer_forms(logs, "dev", 2000).assign(**changes)[FIGURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["zoo/qwen3-32b"])
    parser.add_argument(
        "--names", nargs="+", default=[], help="names of the models in the table (default: their own names)"
    )
    parser.add_argument("--temperatures", nargs="+", type=float, default=[0.5, 0.8, 1.1])
    parser.add_argument("--tasks", nargs="+", default=["mini_gsm"])
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    models = zip(args.models, args.names or args.models, strict=True)
    for (model, name), task, temperature in product(models, args.tasks, args.temperatures):
        table = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=KEY)
        if (table[KEY] == [name, task, temperature]).all(axis=1).any():
            continue
        rows = compare(config.with_axes({"debate.temperature": temperature}), model, task, args.n)
        rows = pd.DataFrame({"model": name, "task": task, "temperature": temperature}, index=rows.index).join(rows)
        pd.concat([table, rows.round(4)]).to_csv(args.out, index=False)
        print(rows.round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
