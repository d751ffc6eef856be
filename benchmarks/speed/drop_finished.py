"""How much `engine.drop_finished` and larger batches speed up generation, in one run with the same prompts.

    python benchmarks/speed/drop_finished.py      # writes benchmarks/speed/drop_finished.json

Most replies of SmolLM2-135M to sums end after about 16 tokens and a few reach the limit. Without dropping, every row
of a batch is computed until the last one ends.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path

from agentark import engines, params, store, tasks
from agentark.mas import prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--params", type=Path, default=store.ROOT / "params/smollm2.yaml")
    parser.add_argument("--n", type=int, default=120, help="prompts")
    parser.add_argument("--batches", type=int, nargs="+", default=[40, 120])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    config, _ = params.load(args.params)
    model, task, sampling = (
        config.study.teachers[0],
        config.study.train_tasks[0],
        engines.Sampling(config.debate.temperature, config.evaluate.max_new_tokens),
    )
    grader = tasks.get(task)
    chats = [prompts.user_turn(grader.prompt(p)) for p in tasks.problems(task, "dev", args.n)]
    runs: dict[tuple[int, bool], list[tuple[float, int]]] = {}
    for batch, drop in 2 * list(product(args.batches, (True, False))):  # in turn: the speed of the machine may drift
        engine = engines.make(model, config.engine.model_copy(update={"drop_finished": drop, "batch": batch}))
        start = time.perf_counter()
        replies = engine.generate(chats, sampling, seed=0)
        runs.setdefault((batch, drop), []).append((time.perf_counter() - start, sum(c.tokens_out for c in replies)))
    rate = {key: sum(n for _, n in timings) / sum(s for s, _ in timings) for key, timings in runs.items()}
    first, last = args.batches[0], args.batches[-1]
    results = {
        "machine": store.machine(),
        "model": model,
        "task": task,
        "prompts": args.n,
        "dtype": config.engine.identity()["dtype"],
        "max_new_tokens": sampling.max_new_tokens,
        "tokens_per_reply": sum(n for timings in runs.values() for _, n in timings) / (2 * len(runs) * args.n),
        "tokens_per_second": {
            f"batch {batch}, {'dropped' if drop else 'not dropped'}": value for (batch, drop), value in rate.items()
        },
        "ratio dropped / not dropped": {str(batch): rate[batch, True] / rate[batch, False] for batch in args.batches},
        f"ratio of batch {last} to {first}, dropped": rate[last, True] / rate[first, True],
    }
    args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
