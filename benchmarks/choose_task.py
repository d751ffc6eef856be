"""How the training task of the smollm2 tier was chosen, on dev problems alone.

    python benchmarks/choose_task.py --n 128 --tokens 160

The rule (issue 5), written before anything was measured: the training task is the first candidate that a single agent (one sample a problem, at
the debate's temperature) solves in 20 to 60 % of its dev problems: a debate has something to correct there, and something to correct it with.
Candidates stand in the order of their worth as training sets: gsm_symbolic has worked solutions for the control `continued`, asdiv numbers to be
computed, medmcqa_embedded a letter of four.  Where none is in the range, the nearest to it.  Who guesses is in the range, too: whether the interval
lies above guessing is said beside it, and decides nothing.

None of these three was in the range.  `sums` was made after that, as the hardest form of arithmetic with a single step that SmolLM2-135M does at all:
in the range by 160 samples of 32 problems, just below it by the 128 problems of choose_task.csv.  It stands last.  Ways of asking that were tried
on dev before it, and kept out of the range: four worked examples as earlier turns of the chat (asdiv 9 %), worked examples within the question
(2 %), the bare question (0 %); chains of three or four one-digit numbers (17 % with six examples, 6 % without); options answered by their text
(MedMCQA 16 %, CommonsenseQA 16 %, both below guessing).
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
    """What one sample a problem is worth on the first `n` dev problems, with what it took; and the samples."""
    problems, grader = tasks.problems(task, "dev", n), tasks.get(task)
    wall, core = time.perf_counter(), time.process_time()
    made = engine.generate([prompts.ask(grader.prompt(p)) for p in problems], sampling, seed=0)
    core, wall = time.process_time() - core, time.perf_counter() - wall
    judged = [grader.verify(c.text, p) for c, p in zip(made, problems)]
    right = sum(flexible for _, _, flexible in judged)
    low, high = wilson(right, n)
    tokens = sum(c.tokens_out for c in made)
    chance = max(1 / len(p.options) if p.options else 0.0 for p in problems)
    return {
        "task": task,
        "n": n,
        "accuracy": right / n,
        "low": low,
        "high": high,
        "chance": chance,
        "strict": sum(strict for _, strict, _ in judged) / n,
        "unparsed": sum(parsed.flexible is None for parsed, _, _ in judged) / n,
        "truncated": sum(c.finish == "length" for c in made) / n,
        "tokens in": sum(c.tokens_in for c in made) / n,
        "tokens out": tokens / n,
        "seconds": wall,
        "tokens a core-second": tokens / core,
    }, made


def chosen(table: pd.DataFrame) -> tuple[str, str]:
    """The task that the rule chooses, of a table in the order of CANDIDATES; and what must be said of the choice, empty where nothing must."""
    distance = (RANGE[0] - table.accuracy).clip(lower=0) + (table.accuracy - RANGE[1]).clip(lower=0)
    row = table.loc[distance.idxmin()]
    warnings = ["it is only the nearest, none is in the range"] if distance.min() > 0 else []
    warnings += ["its interval does not lie above guessing"] if row.chance and row.low <= row.chance else []
    return row.task, "; ".join(warnings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--n", type=int, default=64, help="dev problems of each task")
    parser.add_argument("--tokens", type=int, default=192, help="most tokens of a reply")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--tasks", nargs="+", default=CANDIDATES, choices=CANDIDATES)
    parser.add_argument("--show", type=int, default=0, help="replies to print of each task")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".csv"))
    args = parser.parse_args()
    told = params.Engine(
        name="transformers", batch=min(args.n, 128), dtype="auto", share_prefix=True, drop_finished=True
    )
    engine = cache(lambda: engines.make(args.model, told))
    print(
        f"{args.model}, one sample at temperature {args.temperature}, at most {args.tokens} tokens; {store.machine()}"
    )
    rows = []
    for task in args.tasks:
        row, made = measure(task, args.n, engine(), engines.Sampling(args.temperature, args.tokens))
        rows.append(row)
        print(pd.DataFrame([row]).round(3).to_string(index=False), flush=True)
        for c in made[: args.show]:
            print(f"--- {c.finish}\n{c.text}")
    order = pd.DataFrame(rows).sort_values(
        "task", key=lambda names: names.map({name: n for n, name in enumerate(CANDIDATES)}), ignore_index=True
    )
    order.assign(model=args.model, temperature=args.temperature, **{"most tokens": args.tokens}).round(4).to_csv(
        args.out, index=False
    )
    task, warning = chosen(order)
    print(f"\nthe rule chooses {task}" + (f": {warning}" if warning else ""))


if __name__ == "__main__":
    main()
