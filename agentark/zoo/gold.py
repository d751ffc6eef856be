"""The positive control of imitation: a student of the zoo that is taught gold solutions of a task's train split.

If gold solutions teach a student nothing, no imitation of a teacher can be expected to.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from math import cos, pi
from random import Random

import torch

from agentark import params, tasks
from agentark.engines.transformers_engine import TransformersEngine
from agentark.mas import prompts
from agentark.models import load
from agentark.zoo.corpus import Example
from agentark.zoo.exercises import DEBATED
from agentark.zoo.measuring import ENGINE, Network, Section, answer, compared, dev_chance, points, share
from agentark.zoo.packing import encode
from agentark.zoo.train import float32_sdpa

BATCH = 16  # solutions of a step
WARMUP = 0.1  # share of the steps: at the full rate, the first steps of AdamW undo what the network knows
Encoded = tuple[list[int], list[int]]  # token ids and labels (-100: not learnt)


def parts(settings: dict) -> list[str]:
    """The trainings: each task with each number of solutions."""
    return [f"{task} {size}" for task in DEBATED for size in settings["gold"]["learning_rate"]]


def measure(network: Network, part: str, settings: dict) -> dict:
    """Teach a copy of a network some gold solutions of a task and test it on dev, greedy.

    Returns examples and steps of the training, loss (the mean of the first and the last tenth of the steps), seconds,
    and of the dev problems chance, base (the network before), taught and difference (taught minus base).
    """
    name, size = part.split()
    task, n = tasks.get(name), settings["problems"]
    problems = tasks.problems(name, "dev", n)
    if (name, n) not in network.greedy:
        network.greedy[name, n] = points(task, problems, answer(network.engine, task, problems, 0.0))
    base = network.greedy[name, n]
    model, tokenizer = load.load(str(network.folder))
    solutions = [
        encode(Example([*prompts.user_turn(task.prompt(p)), {"role": "assistant", "content": p.solution}]), tokenizer)
        for p in tasks.problems(name, "train", int(size))
    ]
    start = time.perf_counter()
    losses = teach(model, solutions, settings["gold"]["learning_rate"][int(size)], settings["gold"]["epochs"])
    seconds = time.perf_counter() - start
    tenth = max(1, len(losses) // 10)
    engine = TransformersEngine.around(model, tokenizer, ENGINE)
    taught = points(task, problems, answer(engine, task, problems, 0.0))
    return {
        "examples": len(solutions), "steps": len(losses), "seconds": round(seconds, 1),
        "loss": [round(sum(some) / tenth, 4) for some in (losses[:tenth], losses[-tenth:])],
        "chance": dev_chance(name), "base": share(base), "taught": share(taught),
        "difference": compared(taught, base),
    }  # fmt: skip


def teach(model, solutions: list[Encoded], learning_rate: float, epochs: int, seed: int = 0) -> list[float]:
    """Train a network on the solutions with AdamW, its rate first rising, then a cosine; returns the loss of each step.

    Only the tokens with a label are learnt.  The weights stay in float32; products are computed in bfloat16 where the
    processor has it, but not attention, which is faster without (`train.float32_sdpa`).
    """
    device, rng = model.device, Random(seed)
    batches = [batch for _ in range(epochs) for batch in _by_length(solutions, rng)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    warmup, last = max(1, round(WARMUP * len(batches))), len(batches)

    def rate(step: int) -> float:
        return min((step + 1) / warmup, (1 + cos(pi * max(0, step - warmup) / max(1, last - warmup))) / 2)

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model.set_attn_implementation(float32_sdpa.__name__)
    losses = []
    model.train()
    for batch in batches:
        ids, labels = (_pad([solutions[i][part] for i in batch], fill).to(device) for part, fill in ((0, 0), (1, -100)))
        learnt = labels[:, 1:] != -100
        bf16 = params.best_dtype() == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext():
            # Causal attention never sees the padding on the right, so that no mask is needed.
            hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1][learnt]
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), labels[:, 1:][learnt])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses


def _by_length(solutions: list[Encoded], rng: Random) -> list[list[int]]:
    """The batches of an epoch, as indices: each solution once, with others of about its length."""
    order = rng.sample(range(len(solutions)), len(solutions))
    batches = []
    for start in range(0, len(order), 50 * BATCH):
        similar = sorted(order[start : start + 50 * BATCH], key=lambda i: len(solutions[i][0]))
        batches += [similar[k : k + BATCH] for k in range(0, len(similar), BATCH)]
    return rng.sample(batches, len(batches))


def _pad(rows: list[list[int]], fill: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


SECTION = Section(measure, parts, ("problems", "gold"), lambda card: "student" in card["role"])
