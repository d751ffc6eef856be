"""What a network of the zoo can do, written into its card: `python -m agentark.zoo.card params/zoo.yaml [NAME …]`.

Dev problems only.  The card is `card.json`, and the same as a page in `README.md`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import yaml

from agentark import engines, params, stats, tasks
from agentark.evaluate import overlap
from agentark.mas import prompts
from agentark.models.load import ZOO

TRAINING_ROLES = ("mini_gsm", "mini_math", "mini_meta", "mini_med")


def measure(folder: Path, n: int, temperature: float, batch: int) -> dict[str, dict]:
    """A network's score on the first `n` dev problems of every task, greedy and, on the training roles, sampled.

    Returns, per task: measure, n, greedy and sampled, each [score, low, high] (Wilson; for F1 and ROUGE that is wider than need be),
    and unparsed, the share of greedy answers in which none was found.
    """
    engine = engines.make(
        str(folder), params.Engine(name="transformers", batch=batch, dtype="float32", share_prefix=False)
    )
    found = {}
    for name, task in tasks.TASKS.items():
        problems = tasks.problems(name, "dev", n)
        chats = [prompts.ask(task.prompt(p)) for p in problems]
        about = {"measure": task.measure, "n": n}
        for label, heat in (("greedy", 0.0), ("sampled", temperature)):
            if heat and name not in TRAINING_ROLES:
                continue
            made = engine.generate(chats, engines.Sampling(heat, 112), seed=0)
            parsed = [task.verify(c.text, p) for c, p in zip(made, problems)]
            scores = [
                right if task.measure == "accuracy" else overlap.score(answer.flexible, p, task.measure)
                for (answer, _, right), p in zip(parsed, problems)
            ]
            mean = sum(scores) / n
            about[label] = [round(x, 4) for x in (mean, *stats.wilson(mean * n, n))]
            if not heat:
                about["unparsed"] = sum(answer.flexible is None for answer, _, _ in parsed) / n
        found[name] = about
    return found


def page(card: dict) -> str:
    """The card as a page."""

    def shown(entry: list[float] | None) -> str:
        return f"{100 * entry[0]:.1f} [{100 * entry[1]:.1f}, {100 * entry[2]:.1f}]" if entry else ""

    measured = card["scores"]
    rows = [
        f"| {task} | {about['measure']} | {about['n']} | {shown(about['greedy'])} | {shown(about.get('sampled'))} |"
        for task, about in measured["tasks"].items()
    ]
    phases = [
        f"- {phase['steps']} steps, shares {phase['shares']}, stories of {phase['lengths'][0]} to {phase['lengths'][1]} events"
        for phase in card["phases"]
    ]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "tags: [agentark, mini-zoo]",
            "---",
            f"# {card['name']}: {card['role']}",
            "",
            f"A scale model, trained from scratch on AgentArk's procedural tasks; it says nothing about its namesake. `{card['architecture']}` with "
            f"{card['parameters']:,} parameters.",
            "",
            "## Training",
            "",
            f"{card['tokens'] / 1e6:.1f} M tokens in {card['steps']} steps, seed {card['seed']}, {card['hours']} hours of {card['threads']} thread(s) in {card['pieces']} piece(s) on "
            f"{card['machine']}; {card['tokens_per_second']:,} tokens a second, {100 * card['matmul_share']:.0f} % of the machine's matrix-multiply rate. "
            "The recipe is `params/zoo.yaml`, the data `agentark/zoo/corpus.py` (train splits only; what is not fact, lore, drill or debate is solving).",
            "",
            *phases,
            "",
            "## Scores on dev, in %, with 95 % intervals",
            "",
            f"| task | measure | n | greedy | sampled at {measured['temperature']} |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="default all that are made")
    parser.add_argument("--out", type=Path, default=ZOO, help="where the networks are")
    args = parser.parse_args()
    told = yaml.safe_load(args.params.read_text())
    for name in args.names or told["networks"]:
        file = args.out / name / "card.json"
        if not file.exists():
            print(f"{name}: not made yet")
            continue
        card = json.loads(file.read_text())
        if "scores" not in card:
            heat = told["card"]["temperature"]
            card["scores"] = {
                "split": "dev",
                "temperature": heat,
                "tasks": measure(args.out / name, told["card"]["problems"], heat, 96),
            }
            file.write_text(json.dumps(card, indent=1) + "\n")
        (file.parent / "README.md").write_text(page(card))
        print(name, {task: about["greedy"][0] for task, about in card["scores"]["tasks"].items()}, flush=True)


if __name__ == "__main__":
    main()
