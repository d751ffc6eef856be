"""What the reward model's form is worth: variants of loss, labels, scores, backbone and data, measured on dev as notebook 06 does.

    OMP_NUM_THREADS=1 python benchmarks/prm.py zoo/qwen3-0.6b mini_gsm mini_med

It reads the committed debates, writes models to a temporary folder and a row a variant, task and kind of traces to benchmarks/prm.csv (rows that
are there are kept); the test split is not touched.  `own rollouts` variants learn from the student's own sampled solutions of as many
problems as stand in their name, beyond the debate's.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from agentark import pad, params, store, study, tasks
from agentark.distill import prm
from agentark.evaluate import predict, process
from agentark.extract import steps
from agentark.extract.verify import verify

HERE = Path(__file__).parent
VARIANTS = {  # what differs from params/mini.yaml's section prm
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
KEPT = [
    "first-error F1",
    "step AUROC",
    "  steps before the answer",
    "best of N",
    "majority vote",
    "random choice",
    "pass at N",
    "drop at an error",
    "errors that lower the score",
    "reward of right traces",
    "reward of off-topic text",
    "minimum on the last step",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("student")
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=HERE / "prm.csv")
    args = parser.parse_args()
    told, _ = params.load(store.ROOT / "params" / "mini.yaml")
    teacher, seed, n = told.study.teachers[0], told.study.seeds[0], told.sizes.dev
    reference = study.Files(store.ROOT / "results" / "reference" / "mini")
    with TemporaryDirectory() as folder:
        files = study.Files(Path(folder))
        for task in args.tasks:
            logs = {
                split: verify(pd.read_parquet(reference.debates(teacher, task, split, "debate", seed)), task, split)
                for split in ("train", "dev")
            }
            taught_by = {0: steps.table(logs["train"], task, "train", told.debate.wording)}
            own = process.as_log(
                pad.own_rollouts(files, told, student=args.student, task=task, split="dev", n=n, seed=seed)
            )
            for name in args.only:
                made = (
                    pd.read_csv(args.out) if args.out.exists() else pd.DataFrame(columns=["student", "task", "variant"])
                )
                if len(made[(made.student == args.student) & (made.task == task) & (made.variant == name)]):
                    continue
                changes = dict(VARIANTS[name])
                more = changes.pop("rollouts_of", 0)
                if more not in taught_by:
                    rolled = predict.run(
                        files.rollouts(args.student, task, "train", seed),
                        model=args.student,
                        who={"student": args.student},
                        task=task,
                        split="train",
                        n=more,
                        samples=8,
                        seed=seed,
                        told=told.evaluate.model_copy(update={"samples": 8}),
                        engine=told.engine,
                    )
                    taught_by[more] = steps.table(process.as_log(rolled), task, "train", told.debate.wording)
                changed = params.Prm.model_validate({**told.prm.model_dump(), **changes})
                started, out = time.process_time(), files.root / f"{task}.{name.replace(' ', '_').replace('/', '_')}"
                log = prm.run(
                    out,
                    taught_by[more],
                    steps_id=name,
                    base=args.student if changed.backbone == "student" else changed.backbone,
                    task=task,
                    split="train",
                    n=more or told.sizes.train,
                    seed=seed,
                    told=changed,
                )
                seconds = time.process_time() - started
                problems = tasks.problems(task, "dev", n)
                rows = []
                for whose, its in (("teacher", logs["dev"]), ("own", own)):
                    table = steps.table(its, task, "dev", told.debate.wording)
                    fixing = table.problem.isin([p.id for p in problems[: n // 2]])
                    found = process.examine(pad.scorer(out, task), table[fixing], table[~fixing], task, problems)
                    rows.append(
                        {
                            "student": args.student,
                            "task": task,
                            "variant": name,
                            "traces": whose,
                            "cpu_seconds": round(seconds),
                            "learnt_from": log["traces"],
                            **{key.strip(): round(found[key], 4) for key in KEPT},
                        }
                    )
                pd.concat([made, pd.DataFrame(rows)]).to_csv(args.out, index=False)
                print(pd.DataFrame(rows).T.to_string(), flush=True)


if __name__ == "__main__":
    main()
