"""What `engine.drop_finished` is worth: the same prompts, sampled with and without it, in one run.

    python benchmarks/drop_finished.py            # writes benchmarks/drop_finished.json

Replies of SmolLM2-135M to sums end after some 16 tokens, a few run into the limit: without dropping, every row is computed until the last one ends.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from agentark import engines, params, store, tasks
from agentark.mas import prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--params", type=Path, default=store.ROOT / "params/smollm2.yaml")
    parser.add_argument("--n", type=int, default=80, help="prompts")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    told, _ = params.load(args.params)
    model, task, sampling = told.study.teachers[0], told.study.train_tasks[0], engines.Sampling(told.debate.temperature, told.evaluate.max_new_tokens)
    grader = tasks.get(task)
    chats = [prompts.ask(grader.prompt(p)) for p in tasks.problems(task, "dev", args.n)]
    made = {}
    for drop in (True, False, True, False):  # in turns: the machine may change its speed
        engine = engines.make(model, told.engine.model_copy(update={"drop_finished": drop}))
        start = time.perf_counter()
        replies = engine.generate(chats, sampling, seed=0)
        made.setdefault(drop, []).append((time.perf_counter() - start, sum(c.tokens_out for c in replies)))
    rate = {drop: sum(n for _, n in tried) / sum(s for s, _ in tried) for drop, tried in made.items()}
    found = {"machine": store.machine(), "model": model, "task": task, "prompts": args.n, "batch": told.engine.batch, "dtype": told.engine.about()["dtype"],
             "most_tokens": sampling.max_new_tokens, "tokens_a_reply": sum(n for tried in made.values() for _, n in tried) / (4 * args.n),
             "tokens_a_second": {"dropped": rate[True], "not dropped": rate[False]}, "ratio": rate[True] / rate[False]}
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
