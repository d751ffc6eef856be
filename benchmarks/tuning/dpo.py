"""How the settings of `dpo` were chosen: greedy dev accuracy by method, rate, β and epochs.

    python benchmarks/tuning/dpo.py params/mini-alternatives.yaml --methods rsft_then_dpo --rates 1e-4 3e-4 --betas 0.1

The traces are those of the study's run (notebooks 01 and 02), or of its reference; students go to a temporary folder.
Each row is written at once to --out, and a second call makes only the rows that are missing (and R-SFT's student again,
from which the chains start).  The test split is not used.
"""

from __future__ import annotations

import argparse
import runpy
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.cells import Cell
from agentark.distill import dpo, students
from agentark.distill.method import methods
from agentark.mas import prompts

found_traces = runpy.run_path(str(Path(__file__).with_name("distill.py")))["found_traces"]

SETTING = ["task", "student", "method", "epochs", "rate", "beta", "pairs"]


def accuracy(model: str, config: params.Params, task: str, n: int) -> dict:
    """Return the greedy accuracy of a network on the first n dev problems, and how many tokens its answers have."""
    grader, problems = tasks.get(task), tasks.problems(task, "dev", n)
    chats = [prompts.user_turn(grader.prompt(p)) for p in problems]
    greedy = engines.Sampling(0.0, config.evaluate.max_new_tokens)
    completions = engines.make(model, config.engine).generate(chats, greedy, 0)
    right = sum(grader.verify(c.text, p)[2] for c, p in zip(completions, problems, strict=True))
    length = sum(len(c.token_ids) for c in completions) / n
    return {"dev accuracy": round(right / n, 4), "n": n, "length": round(length, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("--methods", nargs="+", default=["dpo", "rsft_then_dpo"])
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-4, 3e-4])
    parser.add_argument("--betas", nargs="+", type=float, default=[0.1])
    parser.add_argument("--epochs", nargs="+", type=int, default=[1])
    parser.add_argument("--dev", type=int, default=500, help="problems of dev")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(args.params)
    study, rows = config.study, pd.read_csv(args.out).to_dict("records") if args.out.exists() else []
    done = {tuple(row[key] for key in (*SETTING, "n", "train")) for row in rows}
    first = Cell(teacher=study.teachers[0], protocol="debate", seed=study.seeds[0])
    settings = [("base", 0, 0.0, 0.0, 0), ("rsft", config.distill.epochs, config.distill.learning_rate, 0.0, 0)]
    settings += [(*each, config.dpo.pairs) for each in product(args.methods, args.epochs, args.rates, args.betas)]
    for task, student in product(study.train_tasks, study.students):
        cell, n = first.but(train=task, student=student), config.sizes.count("train", task)
        path = found_traces(config, cell)
        traces, identity = pd.read_parquet(path), store.identity(path)
        with TemporaryDirectory() as folder:
            rsft = Path(folder) / "rsft"
            for setting in settings:
                method, epochs, rate, beta, pairs = setting
                known = (task, student, *setting, args.dev, n) in done
                if known and (method != "rsft" or not any(methods()[name].after for name in args.methods)):
                    continue
                own, out, log = cell.but(method=method), Path(student), {}
                if method == "rsft":
                    out, log = rsft, students.run(rsft, own, traces, identity, n, config.distill)
                elif pairs:
                    out = Path(folder) / f"{method}-{epochs}-{rate}-{beta}"
                    given = config.dpo.model_copy(update={"epochs": epochs, "learning_rate": rate, "beta": beta})
                    start = str(rsft) if methods()[method].after else ""
                    log = dpo.run(out, own, traces, identity, n, given, config.distill.lora, start)
                if known:
                    continue
                row = dict(zip(SETTING, (task, student, *setting), strict=True))
                row |= accuracy(str(out), config, task, args.dev) | {"train": n}
                row |= {key: round(log[key], 4) for key in ("first_loss", "last_loss", "core_seconds") if log}
                if pairs:
                    ends = log["loss"][0], log["loss"][-1]  # of one step each, and so of other pairs
                    row |= {"preferred": round(ends[1]["preferred"], 3)}
                    row |= {"log_prob": f"{ends[0]['log_prob']:.1f} to {ends[1]['log_prob']:.1f}"}
                rows.append(row)
                pd.DataFrame(rows).to_csv(args.out, index=False)
                print(row, flush=True)


if __name__ == "__main__":
    main()
