"""How the settings of training on own samples were chosen: dev accuracy of a student before and after, by variant.

    OMP_NUM_THREADS=1 python benchmarks/tuning/rl.py params/mini-own.yaml [VARIANT …]

No reward model is needed: the rewards are the right answer, the plain likelihood of `prm.backbone`, chance, and the
teacher's distribution.  Problems are those of the study, students go to a temporary folder, and one row per variant is
added to benchmarks/tuning/rl.csv; existing rows are kept.  The test split is not used.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import engines, params, tasks
from agentark.cells import Cell
from agentark.distill import pad
from agentark.mas import prompts

SAMPLES = 4  # per dev problem, for the sampled accuracy
LARGE = {"prompts_per_step": 64, "generations": 8}
# The method and its changes to the section `rl` (first) and `distill` (second).
VARIANTS: dict[str, tuple[str, dict, dict]] = {
    "GRPO, right answers, 64 × 8, 1e-4, 60 steps": ("rlvr", {**LARGE, "learning_rate": 1e-4, "steps": 60}, {}),
    "GRPO, right answers, 64 × 8, 3e-4, 60 steps": ("rlvr", {**LARGE, "learning_rate": 3e-4, "steps": 60}, {}),
    "GRPO, right answers, 64 × 8, 3e-4 falling, 60 steps": (
        "rlvr",
        {**LARGE, "learning_rate": 3e-4, "steps": 60, "schedule": "linear", "warmup_steps": 5},
        {},
    ),
    "GRPO, right answers, 64 × 8, 1e-3 falling, 60 steps": (
        "rlvr",
        {**LARGE, "learning_rate": 1e-3, "steps": 60, "schedule": "linear", "warmup_steps": 5},
        {},
    ),
    "GRPO, likelihood, 64 × 8, 3e-4 falling, 60 steps": (
        "pad_likelihood",
        {**LARGE, "learning_rate": 3e-4, "steps": 60, "schedule": "linear", "warmup_steps": 5},
        {},
    ),
    "best of 8 by likelihood, 1e-3, 3 epochs": (
        "likelihood_select",
        {"generations": 8},
        {"learning_rate": 1e-3, "epochs": 3},
    ),
    "best of 8 by likelihood, 3e-3, 3 epochs": (
        "likelihood_select",
        {"generations": 8},
        {"learning_rate": 3e-3, "epochs": 3},
    ),
    "best of 8 by truth, 1e-3, 3 epochs": ("truth_select", {"generations": 8}, {"learning_rate": 1e-3, "epochs": 3}),
    "best of 8 by chance, 1e-3, 3 epochs": ("chance_select", {"generations": 8}, {"learning_rate": 1e-3, "epochs": 3}),
    "teacher's distribution, 64 × 4, 3e-3 falling, 120 steps": (
        "opd",
        {
            "prompts_per_step": 64,
            "generations": 4,
            "learning_rate": 3e-3,
            "steps": 120,
            "schedule": "linear",
            "warmup_steps": 5,
        },
        {},
    ),
}


def accuracies(model: str, config: params.Params, task: str, n: int) -> dict[str, float]:
    """Return the greedy and the sampled accuracy of a network on the first n dev problems, from 0 to 1."""
    grader, problems = tasks.get(task), tasks.problems(task, "dev", n)
    engine, found = engines.make(model, config.engine), {}
    for name, heat, samples in (("greedy", 0.0, 1), ("sampled", config.evaluate.temperature, SAMPLES)):
        given = [p for p in problems for _ in range(samples)]
        chats = [prompts.user_turn(grader.prompt(p)) for p in given]
        completions = engine.generate(chats, engines.Sampling(heat, config.evaluate.max_new_tokens), 0)
        right = [grader.verify(c.text, p)[2] for c, p in zip(completions, given, strict=True)]
        found[name] = round(sum(right) / len(right), 4)
    return found


def measure(config: params.Params, cell: Cell, changes: dict, distill: dict, n_dev: int) -> dict:
    """Train the cell's student as a variant says; return its accuracies on dev, its lengths and its cost."""
    rl = config.rl.model_copy(update={"by_method": {}, **changes})
    update = {"rl": rl, "distill": config.distill.model_copy(update={"by_method": {}, **distill})}
    problems = tasks.problems(cell.train, "train", config.sizes.count("train", cell.train))
    with TemporaryDirectory() as folder:
        out = Path(folder) / "student"
        given = (None, "", problems, rl.dev_problems)
        log = pad.train_policy(out, cell, cell.student, *given, config.model_copy(update=update))
        found = accuracies(str(out), config, cell.train, n_dev)
    lengths = [row["length"] for row in log["log"]]
    row = {**found, "n": n_dev, "train": len(problems), "completions": log["completions"], "seconds": log["seconds"]}
    row |= {"length": f"{lengths[0]:.0f} to {lengths[-1]:.0f}" if lengths else ""}
    return row | {"right kept": round(log["selection"]["right_kept"], 3) if "selection" in log else ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("variants", nargs="*", help="default: all")
    parser.add_argument("--tasks", nargs="+", help="default: all of the study's training sets")
    parser.add_argument("--dev", type=int, default=500, help="problems of dev")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(args.params)
    if unknown := set(args.variants) - set(VARIANTS):
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are {'; '.join(VARIANTS)}")
    rows = pd.read_csv(args.out, keep_default_na=False).to_dict("records") if args.out.exists() else []
    done = {(row["task"], row["student"], row["variant"], row["n"], row["train"]) for row in rows}
    first = Cell(teacher=config.study.teachers[0], protocol="debate", seed=config.study.seeds[0])
    for task in args.tasks or config.study.train_tasks:
        for student in config.study.students:
            for name in ("base", *(args.variants or VARIANTS)):
                n = config.sizes.count("train", task)
                if (task, student, name, args.dev, n) in done:
                    continue
                row = {"task": task, "student": student, "variant": name}
                if name == "base":
                    found = accuracies(student, config, task, args.dev)
                    row |= {**found, "n": args.dev, "train": n, "completions": 0, "seconds": 0}
                else:
                    method, changes, distill = VARIANTS[name]
                    cell = first.but(train=task, student=student, method=method)
                    row |= measure(config, cell, changes, distill, args.dev)
                rows.append(row)
                pd.DataFrame(rows).to_csv(args.out, index=False)
                print(row, flush=True)


if __name__ == "__main__":
    main()
