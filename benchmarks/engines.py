"""What the engines are worth in a debate on one machine: start, tokens a second, share of the prompts that was not computed.

    .venv-vllm/bin/python benchmarks/engines.py        # after `make test-vllm`; a few minutes

Each engine in turn has the same prompts of rounds 1 and 2 of a debate of five, as long as `--new` says; a first call, which warms it up,
is not counted.  It writes benchmarks/engines.json with the machine's description.
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

HERE = Path(__file__).parent
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


def measure(model: str, about: dict, problems: int, new: int) -> dict:
    """The figures of one engine with one model."""
    started = time.perf_counter()
    engine = engines.make(model, params.Engine(batch=64, dtype="float32", share_prefix=True, **about))
    found: dict = {"start, s": time.perf_counter() - started}
    asked = [p.question for p in tasks.problems("mini_gsm", "dev", problems)]
    sampling = Sampling(0.8, new)
    engine.generate([prompts.ask("2+2?")] * 5, sampling, 0)
    chats = [prompts.ask(q) for q in asked for _ in range(5)]
    for number in (1, 2):
        started = time.perf_counter()
        made = engine.generate(chats, sampling, number)
        seconds = time.perf_counter() - started
        found[f"round {number}"] = {
            "completions": len(made),
            "prompt tokens": sum(c.tokens_in for c in made),
            "tokens generated": sum(c.tokens_out for c in made),
            "s": seconds,
            "tokens generated a second": sum(c.tokens_out for c in made) / seconds,
            "share of prompt tokens not computed": sum(c.tokens_cached for c in made) / sum(c.tokens_in for c in made),
        }
        traces = [[c.text for c in made[5 * k : 5 * k + 5]] for k in range(problems)]
        chats = [prompts.revise(q, t, agent, "shared", TERSE) for q, t in zip(asked, traces) for agent in range(1, 6)]
    if hasattr(engine, "close"):
        engine.close()
    print(model, about["name"], json.dumps(found), file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["zoo/qwen3-32b", "smollm2-135m"])
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--problems", type=int, default=3)
    parser.add_argument("--new", type=int, default=48)
    args = parser.parse_args()
    found = {
        "machine": store.machine(),
        "problems": args.problems,
        "agents": 5,
        "max_new_tokens": args.new,
        "engines": {
            model: {name: measure(model, ENGINES[name], args.problems, args.new) for name in args.engines}
            for model in args.models
        },
    }
    rounded = json.loads(json.dumps(found), parse_float=lambda x: round(float(x), 3))
    (HERE / "engines.json").write_text(json.dumps(rounded, indent=1) + "\n")
    print(json.dumps(rounded, indent=1))


if __name__ == "__main__":
    main()
