"""Cost of scoring in a GRPO step: our trainer with a process reward model against stock TRL without one, in one run.

    OMP_NUM_THREADS=1 python benchmarks/speed/grpo.py --policy zoo/qwen3-0.6b

The reward model has the size of the policy and an untrained head, which costs as much as a trained one. The training
of the reward model itself is timed as well. The variants take turns, so that a drift of the machine's speed affects
all of them; each result is the median over steps. The results are written to benchmarks/speed/grpo.json with a
description of the machine.
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

from agentark import params, store, tasks
from agentark.cells import Cell, Files
from agentark.distill import grpo, on_policy, pad, prm_model, step_scorer
from agentark.distill.rewards import RewardFunction
from agentark.extract.jobs import STEPS
from agentark.models.load import load_tokenizer

HERE = Path(__file__).parent
STUDY, _ = params.load(store.ROOT / "params" / "mini-own.yaml")
CHANGES = {"learning_rate": 1e-6, "schedule": "constant", "warmup_steps": 0, "steps": 4, "beta": 0.04}
CHANGES |= {"prompts_per_step": 8, "generations": 8, "dev_every": 1000, "save_steps": 1000}
CONFIG = STUDY.rl.model_copy(update=CHANGES)


def reward_model(policy: str):
    """A scoring function as PAD uses it: a process reward model on the weights of the policy."""
    scorer = step_scorer.StepScorer(prm_model.make(policy, 0), load_tokenizer(policy))
    return lambda prompts, completion_ids: scorer.score(prompts, completion_ids, 64)


def prm_rate(policy: str, task: str, folder: Path, n: int) -> float:
    """Tokens per second while a reward model is trained on the committed steps of `n` problems."""
    cell = Cell(teacher=STUDY.study.teachers[0], student=policy, train=task, protocol="debate")
    steps = pd.read_parquet(Files(store.ROOT / "results" / "reference" / "mini-own").path(STEPS, cell))
    steps = steps[steps.problem.isin([p.id for p in tasks.problems(task, "train", n)])]
    pad.train_reward_model(folder / "prm", cell, steps, "benchmark", n, STUDY.prm)
    log = json.loads((folder / "prm" / "training.json").read_text())
    return log["tokens"] / log["seconds"]


def constant(prompts, completion_ids):
    return [[0.5]] * len(completion_ids)


def grpo_steps(cls, policy: str, prompts: dict[str, str], score, folder: Path, **options) -> list[tuple[float, float]]:
    """(seconds, completion tokens) of each step of a short training run, without the first step."""
    model, tokenizer = on_policy.load_policy(policy, folder)
    if cls is GRPOTrainer:
        model.set_attn_implementation("sdpa")
    trainer = cls(
        model=model,
        reward_funcs=RewardFunction(score, CONFIG.aggregation, CONFIG.generations),
        args=grpo.grpo_config(CONFIG, folder, 0),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(on_policy.training_rows(prompts, CONFIG.steps * CONFIG.prompts_per_step, 0)),
        **options,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    size = CONFIG.prompts_per_step * CONFIG.generations
    return [
        (e["step_time"], e["completions/mean_length"] * size) for e in trainer.state.log_history if "step_time" in e
    ][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", default="zoo/qwen3-0.6b")
    parser.add_argument("--task", default="mini_gsm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--prm-problems", type=int, default=60, help="problems for the training of the reward model")
    parser.add_argument("--out", type=Path, default=HERE / "grpo.json")
    args = parser.parse_args()
    task = tasks.get(args.task)
    prompts = {p.id: task.prompt(p) for p in tasks.problems(args.task, "train", CONFIG.steps * CONFIG.prompts_per_step)}
    score = reward_model(args.policy)
    variants = {
        "stock TRL, constant reward": lambda folder: grpo_steps(GRPOTrainer, args.policy, prompts, constant, folder),
        "ours, constant reward": lambda folder: grpo_steps(
            grpo.GrpoTrainer, args.policy, prompts, constant, folder, config=CONFIG, engine=STUDY.engine
        ),
        "ours, process reward model of the policy's size": lambda folder: grpo_steps(
            grpo.GrpoTrainer, args.policy, prompts, score, folder, config=CONFIG, engine=STUDY.engine
        ),
    }
    timings: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(args.repeats):
        for name, variant in variants.items():
            with TemporaryDirectory() as folder:
                timings[name] += variant(Path(folder))
    with TemporaryDirectory() as folder:
        training_rate = prm_rate(args.policy, args.task, Path(folder), args.prm_problems)
    rate = {name: statistics.median(tokens / seconds for seconds, tokens in timed) for name, timed in timings.items()}
    stock, constant_reward, with_scoring = rate.values()
    results = {
        "machine": store.machine(),
        "torch_threads": torch.get_num_threads(),
        "policy": args.policy,
        "completions per step": CONFIG.prompts_per_step * CONFIG.generations,
        "steps per variant": args.repeats * (CONFIG.steps - 1),
        "completion tokens per second": rate,
        "tokens per second of the reward model's training": training_rate,
        "seconds per step": {
            name: statistics.median(seconds for seconds, _ in timed) for name, timed in timings.items()
        },
        "ratios": {
            "ours with scoring / stock TRL without": with_scoring / stock,
            "ours with scoring / ours without": with_scoring / constant_reward,
            "ours without / stock TRL": constant_reward / stock,
        },
    }
    rounded = json.loads(json.dumps(results), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
