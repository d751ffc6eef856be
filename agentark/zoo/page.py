"""The page of a card: what `card.json` has, as Markdown."""

from __future__ import annotations

from .measuring import sees

NAMES = {  # of the counts in the section `debater`, in the page's order
    "checked": "replies with a verdict on a peer",
    "no_check": "replies without a readable verdict",
    "precision": "peers called wrong whose answer is wrong",
    "chance": "… chance: wrong peers among all judged ones",
    "recall": "wrong peers that are called wrong",
    "false_alarms": "right peers that are called wrong",
    "step_precision": "peers called wrong whose first wrong step is named",
    "step_chance": "… chance: a step at random",
    "step_repaired": "first wrong steps that are named and computed right",
    "keep": "replies that keep a trace",
    "repair": "replies that repair a trace",
    "anew": "replies that find no trace right",
    "kept_is_right": "kept traces whose answer is right",
    "chance_kept": "… chance: right traces among all",
    "before": "right answers before the replies",
    "after": "right answers of the replies",
}
CONTROL = {
    "found": "injected errors that are called wrong",
    "passed": "right traces that are called right",
    "balanced": "mean of both (chance 50.0)",
    "no_verdict": "peers without a verdict",
}


def page(card: dict) -> str:
    """The card as a Markdown page; a section that was not measured is named as such."""
    measured = {name: section["parts"] for name, section in card.get("measured", {}).items() if section["parts"]}
    writers = {"accuracy": accuracy, "gold": gold, "debater": debater, "ways": ways, "speed": speed}
    if sees(card):
        writers = {"pictures": pictures, **writers}
    written = [writers[name](measured[name]) for name in writers if name in measured]
    return "\n\n".join([_head(card), *written, _missing([name for name in writers if name not in measured]), ""])


def _head(card: dict) -> str:
    phases = "\n".join(f"- {phase['steps']} steps, shares {phase['shares']}, stories of {phase['lengths'][0]} to "
                       f"{phase['lengths'][1]} events" for phase in card["phases"])  # fmt: skip
    known = card.get("known_drugs", 1.0)
    last = card["steps"] - card.get("first_steps", card["steps"])
    second = f" The last {last} steps are a second training, with a rate of its own." if last else ""
    drugs = f" It was taught the facts of {100 * known:.0f} % of mini_med's drugs." if known < 1 else ""
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
data `agentark/zoo/corpus.py` (pretrain splits only; what is not fact, lore, drill or debate is solving).{drugs}{second}

{phases}

All measurements are in %, on dev problems if not said otherwise, with 95 % intervals in brackets and the number of \
cases in parentheses. `card.json` has the same numbers."""


def accuracy(parts: dict) -> str:
    """The scores by task, by split and by group of problems."""
    rows, splits, groups = [], [], []
    for task, part in parts.items():
        sampled = part.get("sampled", {}).get("dev", {})
        rows.append([task, part["measure"], _share(part["greedy"]["dev"]["all"]), _share(sampled.get("all")),
                     _number(part["chance"]), _share(part["unread"])])  # fmt: skip
        if len(part["greedy"]) > 1:
            columns = (("pretrain", "all"), ("train", "all"), ("dev", "seen templates"), ("dev", "held-out templates"))
            splits.append([task, *(_share(part["greedy"][split].get(group)) for split, group in columns)])
        forms = [*(part["greedy"].get(split, {}) for split in ("pretrain", "train", "dev")), sampled]
        names = dict.fromkeys(group for form in reversed(forms) for group in form if group != "all")
        groups += [[task, group, *(_share(form.get(group)) for form in forms)] for group in sorted(names)]
    heads = ["task", "measure", "greedy", "sampled", "chance", "replies without an answer"]
    memory = ["task", "pretrain (trained on)", "train", "dev, seen templates", "dev, held-out templates"]
    return f"""## Scores

{_table(heads, rows)}

Train against dev, greedy: the network is trained on problems of the pretrain split, and students are distilled on \
train. Both have seen templates only, so the seen half of dev is to be compared with them; a network that has \
memorised its problems is better on pretrain.

{_table(memory, splits)}

By templates, by the number of steps of the gold solution and, for a network that knows some drugs only, by drugs:

{_table(["task", "group", "pretrain, greedy", "train, greedy", "dev, greedy", "dev, sampled"], groups)}"""


def pictures(parts: dict) -> str:
    """What the network sees."""
    rows = [[kind, _number(part["chance"]), _share(part["blank"]), _share(part["seen"])]
            for kind, part in parts.items()]  # fmt: skip
    return f"""## Pictures

Greedy answers to questions about drawn pictures, and to the same questions about blank paper, where what is right was \
not read off the picture. Chance is one of two for a question that names two kinds, and the most frequent answer else.

{_table(["question", "chance", "blank paper", "picture"], rows)}"""


def gold(parts: dict) -> str:
    """The positive control of imitation."""
    rows = [[name.split()[0], str(part["examples"]), str(part["steps"]), " → ".join(f"{x:.3f}" for x in part["loss"]),
             _number(part["chance"]), _share(part["base"]), _share(part["taught"]), _difference(part["difference"])]
            for name, part in parts.items()]  # fmt: skip
    heads = ["task", "gold solutions", "steps", "loss", "chance", "before", "after", "difference"]
    return f"""## Positive control of imitation

The same network after training on gold solutions of the train split, greedy. The difference is paired by problem, \
p is McNemar's exact test, without a correction for the number of rows.

{_table(heads, rows)}"""


def debater(parts: dict) -> str:
    """What the network can do as a critic."""

    def rows(key: str, names: dict[str, str]) -> str:
        lines = [[text, *(_share(part[key][name]) for part in parts.values())] for name, text in names.items()]
        return _table(["", *parts], lines)

    first = next(iter(parts.values()))["traces"]
    return f"""## As a critic

Replies of {first["agents"]} agents to their {first["agents"]} sampled traces of each of {first["problems"]} problems, \
as in round 2 of a debate. What an agent says of itself is not counted. The first wrong step is that of \
`agentark.zoo.checking.check`, which takes a solution in an unknown form for wrong. Intervals count the cases of a \
problem as dependent.

{rows("traces", NAMES)}

Positive control: two peers of which one is right and the other has an injected error.

{rows("control", CONTROL)}"""


def ways(parts: dict) -> str:
    """The ways to answer."""
    rows = [[task, way, _share(found["accuracy"]), _number(part["chance"]), _difference(found.get("difference"))]
            for task, part in parts.items() for way, found in part["ways"].items()]  # fmt: skip
    return f"""## Ways to answer

Each debate has five agents, who start with the first of the independent samples, and three rounds; its completions \
are as many as the samples of the largest majority, with which each way is compared on the same problems (p: McNemar's \
exact test, without a correction for the number of rows). Each round's answer is the majority of its agents.

{_table(["task", "way", "accuracy", "chance", "difference to equal samples"], rows)}"""


def speed(parts: dict) -> str:
    """Tokens a second against bare loops."""
    rows = [[name, f"{part['tokens_per_second']['ours']:,}", f"{part['tokens_per_second']['bare']:,}",
             f"{part['ratio']['value']} [{part['ratio']['low']}, {part['ratio']['high']}] ({part['ratio']['n']})",
             f"{part['threads']} thread(s), {part['machine']}"] for name, part in parts.items()]  # fmt: skip
    return f"""## Speed

Tokens a second of processor time, and of a plain loop with nothing around it; brackets are the range of the turns.

{_table(["", "ours", "bare", "ratio", "machine"], rows)}"""


def _missing(absent: list[str]) -> str:
    """What the card does not say."""
    sections = f"The sections {', '.join(absent)} of `agentark.zoo.card`. " if absent else ""
    return f"""## Not measured

{sections}Anything on test problems, which are left to the study; other seeds of this training, so that differences \
between networks are also those of their seeds; text that is not of the zoo's tasks; whether the steps of a right \
answer are right, except by the critic's counts."""


def _number(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _share(entry: dict | None) -> str:
    if entry is None:
        return ""
    if entry["value"] is None:
        return "no case"
    value, low, high = (_number(entry[key]) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}] ({entry['n']})"


def _difference(entry: dict | None) -> str:
    if entry is None:
        return ""
    value, low, high = (f"{100 * entry[key]:+.1f}" for key in ("difference", "low", "high"))
    return f"{value} [{low}, {high}], p = {entry['p']:.2g}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
