"""Speed of the engines in a debate: start-up time, tokens per second, share of prompt tokens taken from a cache.

    .venv-vllm/bin/python benchmarks/speed/engines.py        # after `make test-vllm`; a few minutes

Each engine in turn receives the same prompts of rounds 1 and 2 of a debate of five agents, with at most `--new`
tokens per reply. A first call warms the engine up and is not counted. The results are written to
benchmarks/speed/engines.json with a description of the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from agentark import engines, params, store, tasks
from agentark.engines import Sampling
from agentark.mas import prompts

TERSE = prompts.WORDINGS["terse"]
ENGINES = {
    "transformers": {"name": "transformers"},
    "vllm": {
        "name": "vllm",
        "tensor_parallel": 1,
        "data_parallel": 1,
        "gpu_memory_utilization": 0.2,
        "max_model_len": 2048,
    },
}


def measure(model: str, settings: dict, problems: int, max_new_tokens: int) -> dict:
    """Results of one engine with one model."""
    started = time.perf_counter()
    engine = engines.make(model, params.Engine(batch=64, dtype="float32", share_prefix=True, **settings))
    results: dict = {"start, s": time.perf_counter() - started}
    questions = [p.question for p in tasks.problems("mini_gsm", "dev", problems)]
    sampling = Sampling(0.8, max_new_tokens)
    engine.generate([prompts.user_turn("2+2?")] * 5, sampling, 0)
    chats = [prompts.user_turn(q) for q in questions for _ in range(5)]
    for number in (1, 2):
        started = time.perf_counter()
        completions = engine.generate(chats, sampling, number)
        seconds = time.perf_counter() - started
        results[f"round {number}"] = {
            "completions": len(completions),
            "prompt tokens": sum(c.tokens_in for c in completions),
            "tokens generated": sum(c.tokens_out for c in completions),
            "s": seconds,
            "tokens generated per second": sum(c.tokens_out for c in completions) / seconds,
            "share of prompt tokens not computed": sum(c.tokens_cached for c in completions)
            / sum(c.tokens_in for c in completions),
        }
        traces = [[c.text for c in completions[5 * k : 5 * k + 5]] for k in range(problems)]
        chats = [
            prompts.revise(q, t, agent, "shared", TERSE) for q, t in zip(questions, traces) for agent in range(1, 6)
        ]
    if hasattr(engine, "close"):
        engine.close()
    print(model, settings["name"], json.dumps(results), file=sys.stderr, flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["zoo/qwen3-32b", "smollm2-135m"])
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--problems", type=int, default=3)
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    results = {
        "machine": store.machine(),
        "problems": args.problems,
        "agents": 5,
        "max_new_tokens": args.new,
        "engines": {
            model: {name: measure(model, ENGINES[name], args.problems, args.new) for name in args.engines}
            for model in args.models
        },
    }
    rounded = json.loads(json.dumps(results), parse_float=lambda x: round(float(x), 3))
    args.out.write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
