"""How fast the transformers engine generates, as ratios measured in one run: `make bench`.

How much batching and prefix sharing speed up a debate; and the engine against bare decoding, for the largest teacher
and the smallest student. Each figure is a median over repeats that alternate between the variants, so that a drift of
the machine's speed affects all. The results are written to benchmarks/speed/generation.json with a description of the
machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from transformers import DynamicCache

from agentark import engines, params, store, tasks
from agentark.engines import Sampling, decoding, tokens
from agentark.mas import prompts

TERSE = prompts.WORDINGS["terse"]


def timed(engine, chats: list, sampling: Sampling) -> tuple[float, list]:
    """Seconds and completions of one call."""
    start = time.process_time()
    completions = engine.generate(chats, sampling, seed=0)
    return time.process_time() - start, completions


def alternate(variants: dict, repeats: int) -> dict:
    """Median completions per second of each variant; the variants take turns."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            seconds, completions = variant()
            rates[name].append(len(completions) / seconds)
    return {name: statistics.median(values) for name, values in rates.items()}


@torch.inference_mode()
def bare(engine, chats: list, new: int) -> tuple[float, float]:
    """Seconds of prefill and of decoding of an engine's network with nothing around it.

    As many rows at a time as in the engine, each with a prompt of the mean length of the chats and `new` greedy tokens:
    one token of each row per forward pass, with a DynamicCache and without padding.
    """
    prompts = [tokens.encode(engine.tokenizer, text) for text in tokens.prompt_texts(engine.tokenizer, chats)]
    length = round(statistics.mean(map(len, prompts)))
    ids = torch.tensor([(prompt * (length // len(prompt) + 1))[:length] for prompt in prompts])
    prefill = decode = 0.0
    for part in ids.split(engine.config.batch):
        start = time.process_time()
        cache = DynamicCache(config=engine.model.config)
        engine.model(part[:, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
        prefilled = time.process_time()
        token = part[:, -1:]
        for _ in range(new):
            token = engine.model(token, past_key_values=cache, use_cache=True).logits.argmax(-1)
        prefill += prefilled - start
        decode += time.process_time() - prefilled
    return prefill, decode


def against_bare(engine, chats: list, sampling: Sampling, repeats: int) -> dict:
    """Tokens per second of a whole call of the engine and of bare decoding, with the time of prefill and without it."""
    fill, prefill = decoding.Batch.fill, [0.0]

    def timed_fill(batch) -> None:
        start = time.process_time()
        fill(batch)
        prefill[0] += time.process_time() - start

    decoding.Batch.fill = timed_fill  # type: ignore[method-assign]
    _, completions = timed(engine, chats, sampling)
    count = sum(c.tokens_out for c in completions)
    new = round(count / len(chats))
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        prefill[0] = 0.0
        seconds, _ = timed(engine, chats, sampling)
        bare_prefill, bare_decode = bare(engine, chats, new)
        for name, tokens_made, time_taken in (
            ("engine, without prefill", count, seconds - prefill[0]),
            ("bare, without prefill", new * len(chats), bare_decode),
            ("engine, with prefill", count, seconds),
            ("bare, with prefill", new * len(chats), bare_prefill + bare_decode),
        ):
            rates.setdefault(name, []).append(tokens_made / time_taken)
    decoding.Batch.fill = fill  # type: ignore[method-assign]
    median = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "prompts": len(chats),
        "tokens per reply": count / len(chats),
        "tokens per second": median,
        "engine / bare, without prefill": median["engine, without prefill"] / median["bare, without prefill"],
        "engine / bare, with prefill": median["engine, with prefill"] / median["bare, with prefill"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="zoo/qwen3-32b")
    parser.add_argument("--student", default="zoo/qwen3-0.6b")
    parser.add_argument("--problems", type=int, default=64)
    parser.add_argument("--agents", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
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
    different = [prompts.user_turn(p.question) for p in tasks.problems("mini_gsm", "dev", n * args.problems)]
    results["against bare decoding"] = {
        model: {
            "round 1 of a debate": against_bare(engine, first, sampling, args.repeats),
            "different problems": against_bare(engine, different, sampling, args.repeats),
        }
        for model, engine in ((args.model, shared), (args.student, engines.make(args.student, config.engine)))
    }
    rounded = json.loads(json.dumps(results), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
