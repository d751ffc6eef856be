"""Measure networks of the zoo for their cards: `python -m agentark.zoo.card params/zoo.yaml [NAME …]`.

Only dev problems are used.  The card is `card.json`, and the same as a page in `README.md`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from agentark import engines, params, stats, tasks
from agentark.grade import overlap
from agentark.mas import prompts
from agentark.models.names import ZOO
from agentark.zoo import corpus

TRAINING_ROLES = ("mini_gsm", "mini_math", "mini_meta", "mini_med")


def measure(folder: Path, n: int, temperature: float, batch: int) -> dict[str, dict]:
    """A network's score on the first `n` dev problems of every task, greedy and, on the training roles, sampled.

    Returns, per task: measure, n, greedy and sampled, each [score, low, high] (Wilson, which is wider than necessary
    for F1 and ROUGE), and unparsed, the share of greedy replies without an answer.
    """
    config = params.Engine(name="transformers", batch=batch, dtype="float32", share_prefix=False)
    engine = engines.make(str(folder), config)
    scores: dict[str, dict] = {}
    for name in corpus.MODULES:
        task = tasks.get(name)
        problems = tasks.problems(name, "dev", n)
        chats = [prompts.user_turn(task.prompt(p), p.image) for p in problems]
        scores[name] = {"measure": task.measure, "n": n}
        for label, heat in (("greedy", 0.0), ("sampled", temperature)):
            if heat and name not in TRAINING_ROLES:
                continue
            completions = engine.generate(chats, engines.Sampling(heat, 112), seed=0)
            parsed = [task.verify(c.text, p) for c, p in zip(completions, problems, strict=True)]
            points = [right if task.measure == "accuracy" else overlap.score(answer.flexible, p, task.measure)
                      for (answer, _, right), p in zip(parsed, problems, strict=True)]  # fmt: skip
            mean = sum(points) / n
            scores[name][label] = [round(x, 4) for x in (mean, *stats.wilson(mean * n, n))]
            if not heat:
                scores[name]["unparsed"] = sum(answer.flexible is None for answer, _, _ in parsed) / n
    return scores


def page(card: dict) -> str:
    """The card as a Markdown page."""

    def percent(entry: list[float] | None) -> str:
        return f"{100 * entry[0]:.1f} [{100 * entry[1]:.1f}, {100 * entry[2]:.1f}]" if entry else ""

    measured = card["scores"]
    phases = "\n".join(f"- {phase['steps']} steps, shares {phase['shares']}, stories of {phase['lengths'][0]} to "
                       f"{phase['lengths'][1]} events" for phase in card["phases"])  # fmt: skip
    rows = "\n".join(f"| {task} | {row['measure']} | {row['n']} | {percent(row['greedy'])} | "
                     f"{percent(row.get('sampled'))} |" for task, row in measured["tasks"].items())  # fmt: skip
    return f"""---
license: apache-2.0
tags: [agentark, mini-zoo]
---
# {card["name"]}: {card["role"]}

A scale model, trained from scratch on AgentArk's procedural tasks; it says nothing about its namesake. \
`{card["architecture"]}` with {card["parameters"]:,} parameters.

## Training

{card["tokens"] / 1e6:.1f} M tokens in {card["steps"]} steps, seed {card["seed"]}, {card["hours"]} hours of \
{card["threads"]} thread(s) in {card["pieces"]} piece(s) on {card["machine"]}; {card["tokens_per_second"]:,} tokens a \
second, {100 * card["matmul_share"]:.0f} % of the machine's matrix-multiply rate. The recipe is `params/zoo.yaml`, the \
data `agentark/zoo/corpus.py` (train splits only; what is not fact, lore, drill or debate is solving).

{phases}

## Scores on dev, in %, with 95 % intervals

| task | measure | n | greedy | sampled at {measured["temperature"]} |
|---|---|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="default all trained networks")
    parser.add_argument("--out", type=Path, default=ZOO, help="the folder of the networks")
    args = parser.parse_args()
    config = yaml.safe_load(args.params.read_text())
    n, temperature = config["card"]["problems"], config["card"]["temperature"]
    for name in args.names or config["networks"]:
        file = args.out / name / "card.json"
        if not file.exists():
            print(f"{name}: not trained yet")
            continue
        card = json.loads(file.read_text())
        if "scores" not in card:
            scores = measure(file.parent, n, temperature, 96)
            card["scores"] = {"split": "dev", "temperature": temperature, "tasks": scores}
            file.write_text(json.dumps(card, indent=1) + "\n")
        (file.parent / "README.md").write_text(page(card))
        print(name, {task: row["greedy"][0] for task, row in card["scores"]["tasks"].items()}, flush=True)


if __name__ == "__main__":
    main()
