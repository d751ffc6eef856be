"""How distill.learning_rate of the mini tier was chosen: R-SFT's greedy accuracy on the dev split, for both students.

    python benchmarks/learning_rate.py 3.0e-5 1.0e-4 3.0e-4 5.0e-4

It reads the committed traces, writes only to a temporary folder, and prints a table; the test split is not touched.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import engines, params, store, study, tasks
from agentark.distill import stage
from agentark.mas import prompts


def main(rates: list[float], root: Path = store.ROOT / "results" / "reference" / "mini") -> None:
    told, _ = params.load(store.ROOT / "params" / "mini.yaml")
    greedy = engines.Sampling(0.0, told.evaluate.max_new_tokens)
    rows = []
    with TemporaryDirectory() as folder:
        for task in told.study.train_tasks:
            path = study.Files(root).traces(told.study.teachers[0], task, told.study.seeds[0])
            problems, grader = tasks.problems(task, "dev", told.sizes.dev), tasks.get(task)
            for student in told.study.students:
                for rate in rates:
                    out = Path(folder) / f"{task}{Path(student).name}{rate}"
                    stage.run(
                        out,
                        pd.read_parquet(path),
                        traces_id=store.identity(path),
                        student=student,
                        method="rsft",
                        task=task,
                        n=told.sizes.train,
                        seed=0,
                        told=told.distill.model_copy(update={"learning_rate": rate}),
                    )
                    made = engines.make(str(out), told.engine).generate(
                        [prompts.ask(grader.prompt(p)) for p in problems], greedy, 0
                    )
                    right = sum(grader.verify(c.text, p)[2] for c, p in zip(made, problems))
                    rows.append(
                        {
                            "task": task,
                            "student": student,
                            "rate": rate,
                            "dev accuracy": right / len(problems),
                            "n": len(problems),
                        }
                    )
    table = pd.DataFrame(rows)
    print(table.pivot_table(index=["task", "student"], columns="rate", values="dev accuracy").round(3).to_string())
    print(table.groupby("rate")["dev accuracy"].mean().round(4).to_string())


if __name__ == "__main__":
    main([float(rate) for rate in sys.argv[1:]])
