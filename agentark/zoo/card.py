"""Measure networks of the zoo for their cards.

    python -m agentark.zoo.card params/zoo.yaml [NAME …] [--only SECTION …] [--out FOLDER]

Choices are made on dev problems, so the cards have these; of the pretrain and the train split there is the accuracy, as
a test of memorisation, and the test split is never read.  The card is `card.json`, and the same as a page in
`README.md`.  The sections are measured part by part, and each part is written at once: a killed run resumes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from agentark import params, tasks
from agentark.models.names import ZOO
from agentark.params import yaml_file
from agentark.store.files import replace
from agentark.tasks import Problem
from agentark.zoo import debater, gold, seeing, speed, ways
from agentark.zoo.exercises import DEBATED, MODULES, known
from agentark.zoo.measuring import Network, Section, answer, dev_chance, points, problems_of, share, steps
from agentark.zoo.page import page


def measure(network: Network, name: str, settings: dict) -> dict:
    """A network's scores on a task: greedy on dev; on a training task also sampled, and greedy on train and pretrain.

    Returns measure; chance (on dev); unread, the share of greedy replies on dev without an answer; and
    greedy and sampled, which have groups of problems by split (see `by_group`).
    """
    task, n, heat = tasks.get(name), settings["problems"], settings["temperature"]
    splits = ("dev", "train", "pretrain") if name in DEBATED else ("dev",)
    found: dict[str, dict] = {"greedy": {}}
    unread: list[bool] = []
    for split in splits:
        problems = problems_of(name, split, n)
        texts = answer(network.engine, task, problems, 0.0)
        if split == "dev":
            unread = [task.parse(text, p).flexible is None for p, text in zip(problems, texts, strict=True)]
        found["greedy"][split] = by_group(problems, points(task, problems, texts), network.card)
    problems = problems_of(name, "dev", n)
    if name in DEBATED:
        texts = answer(network.engine, task, problems, heat)
        found["sampled"] = {"dev": by_group(problems, points(task, problems, texts), network.card)}
    return {"measure": task.measure, "chance": dev_chance(name), "unread": share(unread), **found}


def by_group(problems: list[Problem], scores: list[float], card: dict) -> dict[str, dict]:
    """The mean score of all problems and of those of each group that has any, each as `share` returns it.

    The groups are the templates that training may have and those that it never has, the number of steps of the gold
    solution, and for a network that was taught some drugs only, the known and the unknown drugs of mini_med.
    """
    groups: dict[str, list[float]] = {"all": []}
    share_known = card.get("known_drugs", 1.0)
    for problem, score in zip(problems, scores, strict=True):
        labels = ["all", "held-out templates" if problem.held_out else "seen templates", f"{steps(problem)} steps"]
        if problem.id.startswith("mini_med/") and share_known < 1:
            labels.append("known drugs" if known(problem.cluster.split()[0], share_known) else "unknown drugs")
        for label in labels:
            groups.setdefault(label, []).append(score)
    return {label: share(groups[label]) for label in sorted(groups, key=lambda label: (label != "all", label))}


SECTIONS: dict[str, Section] = {
    "accuracy": Section(measure, lambda settings: list(MODULES), ("problems", "temperature")),
    "pictures": seeing.SECTION,
    "gold": gold.SECTION,
    "debater": debater.SECTION,
    "ways": ways.SECTION,
    "speed": speed.SECTION,
}


def complete(folder: Path, settings: dict, only: Sequence[str] = ()) -> dict:
    """Measure what the card in `folder` does not have yet, of the sections `only` or of all; returns the card.

    settings: the section `card` of params/zoo.yaml, and its section `common`.  A section that was measured with other
    settings is measured anew.
    """
    file = folder / "card.json"
    card = json.loads(file.read_text())
    network = Network(folder, card)
    measured = card.setdefault("measured", {})
    for name in only or SECTIONS:
        section = SECTIONS[name]
        if not section.of(card):
            continue
        used = {key: settings[key] for key in section.settings}
        written = json.loads(json.dumps(used))  # JSON has no numbers as keys
        if measured.get(name, {}).get("settings") != written:
            measured[name] = {"settings": written, "parts": {}}
        for part in section.parts(settings):
            if part not in measured[name]["parts"]:
                measured[name]["parts"][part] = section.measure(network, part, used)
                replace(file, (json.dumps(card, indent=1) + "\n").encode())
                print(f"{folder.name}: {name}, {part}", flush=True)
    replace(folder / "README.md", page(card).encode())
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("params", type=Path)
    parser.add_argument("names", nargs="*", help="the networks; default all trained ones")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=[], help="the sections to measure")
    parser.add_argument("--out", type=Path, default=ZOO, help="the folder of the networks; default the package's")
    args = parser.parse_args()
    try:
        config = yaml_file.read(args.params)[0]
    except params.ParamsError as error:
        parser.error(str(error))
    unknown = set(args.names) - set(config["networks"])
    if unknown:
        there = ", ".join(config["networks"])
        parser.error(f"no network {', '.join(sorted(unknown))} in {args.params}; there are {there}")
    for name in args.names or config["networks"]:
        if (args.out / name / "card.json").exists():
            complete(args.out / name, {**config["card"], "common": config["common"]}, args.only)
        else:
            print(f"{name}: not trained yet; python -m agentark.zoo.train {args.params} {name}")


if __name__ == "__main__":
    main()
