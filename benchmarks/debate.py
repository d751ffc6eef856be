"""What would change the debate: teachers with more or less training in debating, and temperatures (by which peers err more or less), on dev.

    OMP_NUM_THREADS=1 python benchmarks/debate.py --temperatures 0.5 0.8 1.1 --models zoo/qwen3-32b zoo/gemma3-27b zoo/qwen3-8b

It writes a row a model, temperature, task and kind of answer to benchmarks/debate.csv (rows that are there are kept); the test split is not touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import params, store
from agentark.evaluate import group
from agentark.extract.verify import verify
from agentark.mas import stage
from agentark.report import debating

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["zoo/qwen3-32b"])
    parser.add_argument(
        "--names", nargs="+", default=[], help="how the models are called in the table; else by their own names"
    )
    parser.add_argument("--temperatures", nargs="+", type=float, default=[0.5, 0.8, 1.1])
    parser.add_argument("--tasks", nargs="+", default=["mini_gsm"])
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--out", type=Path, default=HERE / "debate.csv")
    args = parser.parse_args()
    told, _ = params.load(store.ROOT / "params" / "mini.yaml")
    for model, name in zip(args.models, args.names or args.models, strict=True):
        for task in args.tasks:
            for temperature in args.temperatures:
                made = (
                    pd.read_csv(args.out)
                    if args.out.exists()
                    else pd.DataFrame(columns=["model", "task", "temperature"])
                )
                if len(made[(made.model == name) & (made.task == task) & (made.temperature == temperature)]):
                    continue
                debate = told.debate.model_copy(update={"temperature": temperature})
                with TemporaryDirectory() as folder:
                    logs = {
                        protocol: verify(
                            stage.run(
                                Path(folder) / f"{protocol}.parquet",
                                model=model,
                                task=task,
                                split="dev",
                                n=args.n,
                                protocol=protocol,
                                seed=0,
                                told=debate,
                                engine=told.engine,
                            ),
                            task,
                            "dev",
                        )
                        for protocol in ("debate", "self_consistency", "shuffled")
                    }
                worth = debating.worth(
                    [
                        ({"model": name, "task": task, "split": "dev", "protocol": protocol}, log)
                        for protocol, log in logs.items()
                    ],
                    "dev",
                    2000,
                )
                changes = group.rounds(logs["debate"], task)[["corrected", "corrupted"]].sum()
                rows = worth.assign(
                    model=name, temperature=temperature, corrected=changes.corrected, corrupted=changes.corrupted
                )
                first = [
                    "model",
                    "task",
                    "temperature",
                    "what",
                    "n",
                    "accuracy",
                    "ci_low",
                    "ci_high",
                    "difference",
                    "p",
                    "corrected",
                    "corrupted",
                ]
                pd.concat([made, rows[first].round(4)]).to_csv(args.out, index=False)
                print(rows[first].round(3).to_string(), flush=True)


if __name__ == "__main__":
    main()
