"""How much batching and prefix sharing speed up a debate, as ratios measured in one run: `make bench`.

Each figure is a median over repeats that alternate between the two variants, so that a drift of the machine's speed
affects both. The results are written to benchmarks/speed/generation.json with a description of the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from agentark import engines, params, store, tasks
from agentark.engines import Sampling
from agentark.mas import prompts

TERSE = prompts.WORDINGS["terse"]


def timed(engine, chats: list, sampling: Sampling) -> tuple[float, list]:
    """Seconds and completions of one call."""
    start = time.perf_counter()
    completions = engine.generate(chats, sampling, seed=0)
    return time.perf_counter() - start, completions


def alternate(variants: dict, repeats: int) -> dict:
    """Median completions per second of each variant; the variants take turns."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            seconds, completions = variant()
            rates[name].append(len(completions) / seconds)
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="zoo/qwen3-32b")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    config, _ = params.load(store.ROOT / "params" / "mini.yaml")
    sampling = Sampling(config.debate.temperature, config.debate.max_new_tokens)
    shared = engines.make(args.model, config.engine)
    plain = engines.make(args.model, config.engine.model_copy(update={"share_prefix": False}))
    one_by_one = engines.make(args.model, config.engine.model_copy(update={"share_prefix": False, "batch": 1}))

    problems = tasks.problems("mini_gsm", "dev", args.problems)
    n = args.agents
    first = [prompts.user_turn(p.question) for p in problems for _ in range(n)]
    _, completions = timed(shared, first, sampling)
    traces = [[c.text for c in completions[n * k : n * k + n]] for k in range(len(problems))]
    second = {
        layout: [
            prompts.revise(p.question, t, agent, layout, TERSE)
            for p, t in zip(problems, traces)
            for agent in range(1, n + 1)
        ]
        for layout in prompts.LAYOUTS
    }
    few = second["shared"][: 8 * n]

    results: dict = {
        "machine": store.machine(),
        "torch_threads": torch.get_num_threads(),
        "model": args.model,
        "problems": len(problems),
        "agents": n,
        "repeats": args.repeats,
    }
    batching = alternate(
        {"batched": lambda: timed(plain, few, sampling), "one by one": lambda: timed(one_by_one, few, sampling)},
        args.repeats,
    )
    layouts = alternate(
        {
            "shared layout, prefix shared": lambda: timed(shared, second["shared"], sampling),
            "shared layout, prefix not shared": lambda: timed(plain, second["shared"], sampling),
            "own-history layout, prefix shared": lambda: timed(shared, second["own_history"], sampling),
        },
        args.repeats,
    )
    results["completions per second, round 2"] = {**batching, **layouts}
    results["ratios"] = {
        "batched / one by one": batching["batched"] / batching["one by one"],
        "prefix shared / not": layouts["shared layout, prefix shared"] / layouts["shared layout, prefix not shared"],
        "shared layout / own history": layouts["shared layout, prefix shared"]
        / layouts["own-history layout, prefix shared"],
    }
    results["share of prompt tokens not computed"] = {
        label: sum(c.tokens_cached for c in completions) / sum(c.tokens_in for c in completions)
        for label, completions in {
            "round 1": timed(shared, first, sampling)[1],
            **{f"round 2, {k}": timed(shared, chats, sampling)[1] for k, chats in second.items()},
        }.items()
    }
    rounded = json.loads(json.dumps(results), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
