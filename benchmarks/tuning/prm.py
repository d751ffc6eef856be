"""Variants of the reward model (loss, labels, scores, backbone, data), evaluated on dev as in notebook 06.

    OMP_NUM_THREADS=1 python benchmarks/tuning/prm.py zoo/qwen3-0.6b mini_gsm mini_med

The committed debates and steps are read, models go to a temporary folder, and one row per variant, task and source of
traces is added to benchmarks/tuning/prm.csv; existing rows are kept. The test split is not used. The variants called
`own rollouts of N` are trained on the student's own sampled solutions of N problems instead of the debates.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import pad
from agentark.evaluate import process, students
from agentark.extract import steps
from agentark.extract.jobs import STEPS
from agentark.grade import grading
from agentark.mas.jobs import DEBATES

REFERENCE = Files(store.ROOT / "results" / "reference" / "mini")
SAMPLES = 8  # per problem, of the own rollouts that a reward model learns from
VARIANTS = {  # changes to the section `prm` of params/mini.yaml
    "params/mini.yaml": {},
    "shuffled labels": {"shuffled_labels": True},
    "paper's learning rates": {"stage1_learning_rate": 1e-4, "stage2_learning_rate": 1e-6},
    "logit scores, tau 1": {"score": "logit", "tau": 1.0},
    "arithmetic labels": {"labeller": "arithmetic"},
    "cross-entropy": {"loss": "ce"},
    "cross-entropy, arithmetic labels": {"loss": "ce", "labeller": "arithmetic"},
    "cross-entropy + contrastive": {"loss": "ce+contrastive"},
    "three epochs of stage II": {"stage2_epochs": 3},
    "the teacher's backbone": {"backbone": "zoo/qwen3-32b"},
    "the teacher's backbone, arithmetic labels": {"backbone": "zoo/qwen3-32b", "labeller": "arithmetic"},
    "own rollouts of 400": {"rollouts_of": 400},
    "own rollouts of 400, arithmetic labels": {"rollouts_of": 400, "labeller": "arithmetic"},
    "own rollouts of 400, cross-entropy, arithmetic labels": {
        "rollouts_of": 400,
        "loss": "ce",
        "labeller": "arithmetic",
    },
    "own rollouts of 400, the teacher's backbone": {"rollouts_of": 400, "backbone": "zoo/qwen3-32b"},
}
KEY = ["student", "task", "variant"]
MEASURES = ["first-error F1", "step AUROC", "answer AUROC", "best of N", "majority vote", "random choice", "pass at N"]
MEASURES += ["drop at an error", "errors that lower the score", "off-topic text below", "reward of right traces"]
MEASURES += ["reward of off-topic text", "minimum on the last step"]


def steps_of_rollouts(files: Files, config: params.Params, cell: Cell, n: int, samples: int) -> pd.DataFrame:
    """Return the labelled steps of `samples` own solutions of each of the first `n` problems of the cell's split."""
    config = config.with_axes({"evaluate.base_votes": samples})
    log = process.as_log(students.rollouts(files, config, cell, n))
    return steps.table(log, cell.train, cell.split, config.debate.wording)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("student")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=VARIANTS, metavar="VARIANT")
    parser.add_argument("--n", type=int, help="most problems of each split (default: the sizes of params/mini.yaml)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    n_train, n_dev = args.n or config.sizes.train, args.n or config.sizes.dev
    for task in args.tasks:
        cell = Cell(teacher=config.study.teachers[0], student=args.student, train=task, protocol="debate",
                    seed=config.study.seeds[0])  # fmt: skip
        dev_cell = cell.but(split="dev")
        problems = tasks.problems(task, "dev", n_dev)
        first_half = [p.id for p in problems[: n_dev // 2]]
        with TemporaryDirectory() as folder:
            files = Files(Path(folder))
            log = grading.read(REFERENCE.path(DEBATES, dev_cell))
            log = log[log.problem.isin([p.id for p in problems])]
            dev_steps = {
                "teacher": steps.table(log, task, "dev", config.debate.wording),
                "own": steps_of_rollouts(files, config, dev_cell, n_dev, config.evaluate.base_votes),
            }
            committed = pd.read_parquet(REFERENCE.path(STEPS, cell))
            kept = committed.problem.isin([p.id for p in tasks.problems(task, "train", n_train)])
            training_steps = {0: committed[kept]}  # by the number of problems with own rollouts
            for name in args.only:
                table = pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=KEY)
                if (table[KEY] == [args.student, task, name]).all(axis=1).any():
                    continue
                changes = dict(VARIANTS[name])
                n = min(changes.pop("rollouts_of", 0), n_train)
                if n not in training_steps:
                    training_steps[n] = steps_of_rollouts(files, config, cell, n, SAMPLES)
                variant = config.with_axes({f"prm.{key}": value for key, value in changes.items()}).prm
                started, out = time.process_time(), files.root / f"{task}.{name.replace(' ', '_').replace('/', '_')}"
                data = {"steps": training_steps[n], "steps_id": name, "n": n or n_train}
                pad.train_reward_model(out, cell, **data, config=variant, shuffled=variant.shuffled_labels)
                seconds = round(time.process_time() - started)
                trained_on = json.loads((out / "training.json").read_text())["traces"]
                rows = []
                for source, labelled in dev_steps.items():
                    in_first = labelled.problem.isin(first_half)
                    scorer = pad.scorer(out, task)
                    dev, test = labelled[in_first], labelled[~in_first]
                    measured = process.examine(scorer, dev, test, task, problems).measures.set_index("measure")
                    figures = measured.value.to_dict() | {"random choice": measured.chance["best of N"]}
                    row = {"student": args.student, "task": task, "variant": name, "traces": source}
                    row |= {"cpu_seconds": seconds, "training_traces": trained_on}
                    rows.append(row | {measure: round(figures[measure], 4) for measure in MEASURES})
                pd.concat([table, pd.DataFrame(rows)]).to_csv(args.out, index=False)
                print(pd.DataFrame(rows).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
