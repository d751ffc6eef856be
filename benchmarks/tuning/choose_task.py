"""How the training task of the smollm2 tier was chosen, on dev problems alone.

    python benchmarks/tuning/choose_task.py --n 128 --tokens 160

The rule was written down before anything was measured: the training task is the first candidate of which a single
agent (one sample per problem at the debate's temperature) solves 20 to 60 % of the dev problems, so that a debate has
mistakes to correct and right answers to correct them with. The candidates are ordered by their use as training sets:
gsm_symbolic has worked solutions for the control `continued`, asdiv has numbers to compute, medmcqa_embedded has one
letter of four. If no candidate is in the range, the nearest one is taken. A task that is solved by guessing counts as
in the range; whether the interval lies above chance is reported and decides nothing.

None of these three was in the range. `sums` was made afterwards, as the hardest arithmetic with a single step that
SmolLM2-135M can do at all: it was in the range by 160 samples of 32 problems, and is just below it by the 128
problems of choose_task.csv. It is the last candidate. log.md lists the other prompts and tasks that were tried before
it.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from pathlib import Path

import pandas as pd

from agentark import engines, params, store, tasks
from agentark.mas import prompts
from agentark.stats import wilson

CANDIDATES = ("gsm_symbolic", "asdiv", "medmcqa_embedded", "sums")
RANGE = (0.20, 0.60)


def measure(
    task: str, n: int, engine: engines.Engine, sampling: engines.Sampling
) -> tuple[dict, list[engines.Completion]]:
    """A table row (accuracy of one sample per problem on the first `n` dev problems, tokens, time); the completions."""
    problems, grader = tasks.problems(task, "dev", n), tasks.get(task)
    wall, core = time.perf_counter(), time.process_time()
    completions = engine.generate([prompts.user_turn(grader.prompt(p)) for p in problems], sampling, seed=0)
    core, wall = time.process_time() - core, time.perf_counter() - wall
    verified = [grader.verify(c.text, p) for c, p in zip(completions, problems)]
    right = sum(flexible for _, _, flexible in verified)
    low, high = wilson(right, n)
    tokens = sum(c.tokens_out for c in completions)
    chance = max(1 / len(p.options) if p.options else 0.0 for p in problems)
    return {
        "task": task,
        "n": n,
        "accuracy": right / n,
        "low": low,
        "high": high,
        "chance": chance,
        "strict": sum(strict for _, strict, _ in verified) / n,
        "unparsed": sum(parsed.flexible is None for parsed, _, _ in verified) / n,
        "truncated": sum(c.finish == "length" for c in completions) / n,
        "tokens in": sum(c.tokens_in for c in completions) / n,
        "tokens out": tokens / n,
        "seconds": wall,
        "tokens per core-second": tokens / core,
    }, completions


def choose(table: pd.DataFrame) -> tuple[str, str]:
    """The task that the rule chooses from `table` (in the order of CANDIDATES), and warnings ("" if there are none)."""
    distance = (RANGE[0] - table.accuracy).clip(lower=0) + (table.accuracy - RANGE[1]).clip(lower=0)
    row = table.loc[distance.idxmin()]
    warnings = ["no task is in the range, this one is the nearest"] if distance.min() > 0 else []
    warnings += ["its interval does not lie above chance"] if row.chance and row.low <= row.chance else []
    return row.task, "; ".join(warnings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=64, help="number of dev problems per task")
    parser.add_argument("--tokens", type=int, default=192, help="maximum number of tokens per reply")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--tasks", nargs="+", default=CANDIDATES, choices=CANDIDATES)
    parser.add_argument("--show", type=int, default=0, help="number of replies to print per task")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    config = params.Engine(name="transformers", batch=min(args.n, 128), dtype="auto", share_prefix=True)
    engine = cache(lambda: engines.make(args.model, config))
    print(
        f"{args.model}, one sample at temperature {args.temperature}, at most {args.tokens} tokens; {store.machine()}"
    )
    rows = []
    for task in args.tasks:
        row, completions = measure(task, args.n, engine(), engines.Sampling(args.temperature, args.tokens))
        rows.append(row)
        print(pd.DataFrame([row]).round(3).to_string(index=False), flush=True)
        for c in completions[: args.show]:
            print(f"--- {c.finish}\n{c.text}")
    order = pd.DataFrame(rows).sort_values(
        "task",
        key=lambda names: names.map({name: position for position, name in enumerate(CANDIDATES)}),
        ignore_index=True,
    )
    order.assign(model=args.model, temperature=args.temperature, max_new_tokens=args.tokens).round(4).to_csv(
        args.out, index=False
    )
    task, warning = choose(order)
    print(f"\nthe rule chooses {task}" + (f": {warning}" if warning else ""))


if __name__ == "__main__":
    main()
