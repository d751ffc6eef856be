"""What scoring costs a GRPO step: ours with a scorer that works, against stock TRL with a constant reward, as ratios in one run.

The scorer runs a network of the policy's size over each prompt and completion, as a process reward model does.  The sides take
turns, so that a machine whose speed drifts hits all; a figure is the median over steps.  It writes benchmarks/grpo.json with the
machine's description:

    OMP_NUM_THREADS=1 python benchmarks/grpo.py --policy zoo/qwen3-0.6b
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOTrainer

from agentark import params, store, tasks
from agentark.distill import grpo
from agentark.distill.rewards import RewardFunction
from agentark.models.load import load

HERE = Path(__file__).parent
TOLD = params.Rl(
    init="base", learning_rate=1e-6, steps=4, prompts_per_step=8, generations=8, beta=0.04, epsilon=0.2, advantage_epsilon=1e-4, temperature=0.8,
    max_new_tokens=112, aggregation="min", verifiable_weight=0.0, ratio="token", critic=False, gamma=1.0, lam=0.95, value_coefficient=0.1,
    reward_at="end", dev_problems=100, dev_every=1000, save_steps=1000)


def worker(policy: str):
    """A scorer that does a reward model's work: one forward pass over all prompts and completions, a number at four places of each."""
    model, tokenizer = load(policy)

    @torch.inference_mode()
    def score(prompts, completion_ids):
        heads = tokenizer.apply_chat_template(list(prompts), add_generation_prompt=True, return_dict=False)
        rows = [torch.tensor(head + ids) for head, ids in zip(heads, completion_ids)]
        ids_BL = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
        mask_BL = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True).to(model.device)
        marks_BL = model.base_model(input_ids=ids_BL, attention_mask=mask_BL, use_cache=False).last_hidden_state[..., 0].sigmoid().tolist()
        return [[marks[len(head) + k * (len(ids) - 1) // 3] for k in range(4)] for marks, head, ids in zip(marks_BL, heads, completion_ids)]

    return score


def constant(prompts, completion_ids):
    return [[0.5]] * len(completion_ids)


def steps(cls, policy: str, prompts: dict[str, str], score, folder: Path, **options) -> list[tuple[float, float]]:
    """Seconds and completion tokens of each step but the first of a short training."""
    model, tokenizer = grpo.load_policy(policy, folder)
    if cls is GRPOTrainer:
        model.set_attn_implementation("sdpa")
    made = cls(model=model, reward_funcs=RewardFunction(score, TOLD.aggregation, TOLD.generations), args=grpo.config(TOLD, folder, 0), processing_class=tokenizer,
               train_dataset=Dataset.from_list(grpo.order(prompts, TOLD.steps * TOLD.prompts_per_step, 0)), **options)
    made.remove_callback(PrinterCallback)
    made.train()
    size = TOLD.prompts_per_step * TOLD.generations
    return [(e["step_time"], e["completions/mean_length"] * size) for e in made.state.log_history if "step_time" in e][1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--policy", default="zoo/qwen3-0.6b")
    parser.add_argument("--task", default="mini_gsm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=HERE / "grpo.json")
    args = parser.parse_args()
    task = tasks.get(args.task)
    prompts = {p.id: task.prompt(p) for p in tasks.problems(args.task, "train", TOLD.steps * TOLD.prompts_per_step)}
    score = worker(args.policy)
    sides = {
        "stock TRL, constant reward": lambda folder: steps(GRPOTrainer, args.policy, prompts, constant, folder),
        "ours, constant reward": lambda folder: steps(grpo.GrpoTrainer, args.policy, prompts, constant, folder, told=TOLD),
        "ours, reward of a network of the policy's size": lambda folder: steps(grpo.GrpoTrainer, args.policy, prompts, score, folder, told=TOLD)}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(args.repeats):
        for name, side in sides.items():
            with TemporaryDirectory() as folder:
                taken[name] += side(Path(folder))
    rate = {name: statistics.median(tokens / seconds for seconds, tokens in took) for name, took in taken.items()}
    stock, bare, scored = rate.values()
    found = {
        "machine": store.machine(), "torch_threads": torch.get_num_threads(), "policy": args.policy, "completions a step": TOLD.prompts_per_step * TOLD.generations,
        "steps a side": args.repeats * (TOLD.steps - 1), "completion tokens per second": rate,
        "seconds a step": {name: statistics.median(seconds for seconds, _ in took) for name, took in taken.items()},
        "ratios": {"ours with scoring / stock TRL without": scored / stock, "ours with scoring / ours without": scored / bare, "ours without / stock TRL": bare / stock}}
    rounded = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
