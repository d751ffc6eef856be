"""What scoring costs a GRPO step: ours with a process reward model, against stock TRL with a constant reward, as ratios in one run.

The reward model has the policy's size and an untrained head, which costs what a trained one does.  Beside it, a step of the reward model's own training.
The sides take turns, so that a machine whose speed drifts hits all; a figure is the median over steps.  It writes benchmarks/grpo.json
with the machine's description:

    OMP_NUM_THREADS=1 python benchmarks/grpo.py --policy zoo/qwen3-0.6b
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from agentark import params, store, study, tasks
from agentark.distill import grpo, prm, prm_model
from agentark.distill.rewards import RewardFunction
from agentark.extract import steps
from agentark.extract.verify import verify
from agentark.models.load import load_tokenizer

HERE = Path(__file__).parent
TOLD = params.Rl(
    init="base",
    learning_rate=1e-6,
    steps=4,
    prompts_per_step=8,
    generations=8,
    beta=0.04,
    epsilon=0.2,
    advantage_epsilon=1e-4,
    temperature=0.8,
    max_new_tokens=112,
    aggregation="min",
    verifiable_weight=0.0,
    ratio="token",
    critic=False,
    gamma=1.0,
    lam=0.95,
    value_coefficient=0.1,
    reward_at="end",
    dev_problems=100,
    dev_every=1000,
    save_steps=1000,
)


def reward_model(policy: str):
    """A process reward model on the policy's own weights, as `pad` scores with it."""
    scorer = prm_model.StepScorer(prm_model.make(policy, 0), load_tokenizer(policy))
    return lambda prompts, completion_ids: scorer.score(prompts, completion_ids, 64)


def prm_rate(policy: str, task: str, folder: Path) -> float:
    """Tokens per second of a reward model's training, on the committed debates of 60 problems."""
    told, _ = params.load(store.ROOT / "params" / "mini.yaml")
    log = pd.read_parquet(
        study.Files(store.ROOT / "results" / "reference" / "mini").debates(
            told.study.teachers[0], task, "train", "debate", 0
        )
    )
    known = [p.id for p in tasks.problems(task, "train", 60)]
    table = steps.table(verify(log[log.problem.isin(known)], task, "train"), task, "train", told.debate.wording)
    made = prm.run(
        folder / "prm", table, steps_id="benchmark", base=policy, task=task, split="train", n=60, seed=0, told=told.prm
    )
    return made["tokens"] / made["seconds"]


def constant(prompts, completion_ids):
    return [[0.5]] * len(completion_ids)


def grpo_steps(cls, policy: str, prompts: dict[str, str], score, folder: Path, **options) -> list[tuple[float, float]]:
    """Seconds and completion tokens of each step but the first of a short training."""
    model, tokenizer = grpo.load_policy(policy, folder)
    if cls is GRPOTrainer:
        model.set_attn_implementation("sdpa")
    made = cls(
        model=model,
        reward_funcs=RewardFunction(score, TOLD.aggregation, TOLD.generations),
        args=grpo.config(TOLD, folder, 0),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(grpo.order(prompts, TOLD.steps * TOLD.prompts_per_step, 0)),
        **options,
    )
    made.remove_callback(PrinterCallback)
    made.train()
    size = TOLD.prompts_per_step * TOLD.generations
    return [(e["step_time"], e["completions/mean_length"] * size) for e in made.state.log_history if "step_time" in e][
        1:
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", default="zoo/qwen3-0.6b")
    parser.add_argument("--task", default="mini_gsm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "grpo.json")
    args = parser.parse_args()
    task = tasks.get(args.task)
    prompts = {p.id: task.prompt(p) for p in tasks.problems(args.task, "train", TOLD.steps * TOLD.prompts_per_step)}
    score = reward_model(args.policy)
    sides = {
        "stock TRL, constant reward": lambda folder: grpo_steps(GRPOTrainer, args.policy, prompts, constant, folder),
        "ours, constant reward": lambda folder: grpo_steps(
            grpo.GrpoTrainer, args.policy, prompts, constant, folder, told=TOLD
        ),
        "ours, process reward model of the policy's size": lambda folder: grpo_steps(
            grpo.GrpoTrainer, args.policy, prompts, score, folder, told=TOLD
        ),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(args.repeats):
        for name, side in sides.items():
            with TemporaryDirectory() as folder:
                taken[name] += side(Path(folder))
    with TemporaryDirectory() as folder:
        of_prm = prm_rate(args.policy, args.task, Path(folder))
    rate = {name: statistics.median(tokens / seconds for seconds, tokens in took) for name, took in taken.items()}
    stock, bare, scored = rate.values()
    found = {
        "machine": store.machine(),
        "torch_threads": torch.get_num_threads(),
        "policy": args.policy,
        "completions a step": TOLD.prompts_per_step * TOLD.generations,
        "steps a side": args.repeats * (TOLD.steps - 1),
        "completion tokens per second": rate,
        "tokens per second of the reward model's training": of_prm,
        "seconds a step": {name: statistics.median(seconds for seconds, _ in took) for name, took in taken.items()},
        "ratios": {
            "ours with scoring / stock TRL without": scored / stock,
            "ours with scoring / ours without": scored / bare,
            "ours without / stock TRL": bare / stock,
        },
    }
    rounded = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
