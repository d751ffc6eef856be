"""What `engine.drop_finished` and larger batches are worth: the same prompts, sampled with and without it, in one run.

    python benchmarks/drop_finished.py            # writes benchmarks/drop_finished.json

Replies of SmolLM2-135M to sums end after some 16 tokens, a few run into the limit: without dropping, every row is computed until the last one ends.
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
    told, _ = params.load(args.params)
    model, task, sampling = (
        told.study.teachers[0],
        told.study.train_tasks[0],
        engines.Sampling(told.debate.temperature, told.evaluate.max_new_tokens),
    )
    grader = tasks.get(task)
    chats = [prompts.ask(grader.prompt(p)) for p in tasks.problems(task, "dev", args.n)]
    made: dict[tuple[int, bool], list[tuple[float, int]]] = {}
    for batch, drop in 2 * list(product(args.batches, (True, False))):  # in turns: the machine may change its speed
        engine = engines.make(model, told.engine.model_copy(update={"drop_finished": drop, "batch": batch}))
        start = time.perf_counter()
        replies = engine.generate(chats, sampling, seed=0)
        made.setdefault((batch, drop), []).append((time.perf_counter() - start, sum(c.tokens_out for c in replies)))
    rate = {key: sum(n for _, n in tried) / sum(s for s, _ in tried) for key, tried in made.items()}
    first, last = args.batches[0], args.batches[-1]
    found = {
        "machine": store.machine(),
        "model": model,
        "task": task,
        "prompts": args.n,
        "dtype": told.engine.about()["dtype"],
        "most_tokens": sampling.max_new_tokens,
        "tokens_a_reply": sum(n for tried in made.values() for _, n in tried) / (2 * len(made) * args.n),
        "tokens_a_second": {
            f"batch {batch}, {'dropped' if drop else 'not dropped'}": value for (batch, drop), value in rate.items()
        },
        "ratio of dropping": {str(batch): rate[batch, True] / rate[batch, False] for batch in args.batches},
        f"ratio of batch {last} to {first}, dropped": rate[last, True] / rate[first, True],
    }
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
