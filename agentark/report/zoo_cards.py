"""The cards of the zoo side by side: who the networks are, and what was measured of them on dev.

A card has a share for each thing that was counted, with its interval; `scores` lists all of them, and the other
functions are views of that table for reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agentark.graph.job import Job, Study, report_job
from agentark.models.names import ZOO, cards, display_name

if TYPE_CHECKING:  # the graph imports this module for `jobs`, which does not need pandas
    import pandas as pd

CRITIC = {  # counts of the section `debater` and what they are called, each with its chance level if there is one
    "traces / precision": "peers called wrong that are",
    "traces / chance": "wrong peers (chance)",
    "traces / recall": "wrong peers called wrong",
    "traces / step_precision": "first wrong step named",
    "traces / step_chance": "a step at random",
    "traces / kept_is_right": "kept traces that are right",
    "traces / chance_kept": "right traces (chance)",
    "control / balanced": "injected errors told from right traces (chance 50)",
    "traces / no_check": "replies without a check",
}


def networks() -> pd.DataFrame:
    """How each network was trained, largest first: its role and size, class, parameters, steps, tokens and minutes."""
    import pandas as pd

    rows = []
    for name, card in cards().items():
        rows.append({
            "network": display_name(name), "name": name, "class": card["architecture"],
            "parameters": card["parameters"], "steps": card["steps"], "tokens": card["tokens"],
            "minutes": round(60 * card["hours"]), "debates": any(p["shares"].get("debate") for p in card["phases"]),
            "known drugs": card["known_drugs"],
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("network")


def scores() -> pd.DataFrame:
    """Every share that the cards have: network, section, part (mostly a task), what, value, n, low and high."""
    import pandas as pd

    rows = [
        {"network": display_name(name), "section": section, "part": part, "what": what, **entry}
        for name, card in cards().items()
        for section, found in card.get("measured", {}).items()
        for part, measured in found["parts"].items()
        for what, entry in _shares(measured)
    ]
    columns = ["network", "section", "part", "what", "value", "n", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _shares(measured: dict, path: str = "") -> Iterator[tuple[str, dict]]:
    """The shares of a part of a card, each with its path in it."""
    for key, entry in measured.items():
        if isinstance(entry, dict):
            where = f"{path} / {key}" if path else key
            if {"value", "n", "low", "high"} <= set(entry):
                yield where, {name: entry[name] for name in ("value", "n", "low", "high")}
            else:
                yield from _shares(entry, where)


def _percent(row) -> str:
    if row.value is None or row.value != row.value:
        return "no case"
    return f"{100 * row.value:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def view(table: pd.DataFrame, rows: list[str], columns: str) -> pd.DataFrame:
    """A table of `scores` for reading: percentages with intervals, in the order of the cards."""
    if table.empty:
        return table.iloc[:, :0]
    text = table.assign(text=[_percent(row) for row in table.itertuples()])
    return text.pivot_table(index=rows, columns=columns, values="text", aggfunc="first", sort=False).fillna("")


def alone(table: pd.DataFrame, what: str = "greedy / dev / all") -> pd.DataFrame:
    """The score of each network on each task, greedy; `what` "sampled / dev / all" is at the cards' temperature."""
    return view(table[(table.section == "accuracy") & (table.what == what)], ["network"], "part")


def splits(table: pd.DataFrame) -> pd.DataFrame:
    """Greedy accuracy by split: what the network was trained on, what students learn from, and dev."""
    kinds = {"greedy / pretrain / all": "pretrain (trained on)", "greedy / train / all": "train",
             "greedy / dev / seen templates": "dev, seen templates",
             "greedy / dev / held-out templates": "dev, held-out templates"}  # fmt: skip
    found = table[(table.section == "accuracy") & table.what.isin(kinds)]
    several = found.groupby(["network", "part"]).what.transform("nunique") == len(kinds)
    return view(found[several].assign(split=found.what.map(kinds)), ["network", "part"], "split")


def drugs(table: pd.DataFrame) -> pd.DataFrame:
    """Greedy accuracy on mini_med by whether a student was taught the facts of the drug."""
    kinds = {f"greedy / dev / {kind} drugs": f"{kind} drugs" for kind in ("known", "unknown")}
    return view(table[table.what.isin(kinds)].assign(kind=table.what.map(kinds)), ["network"], "kind")


def pictures(table: pd.DataFrame) -> pd.DataFrame:
    """Greedy accuracy on questions about a picture, and about blank paper in its place."""
    kinds = {"blank": "blank paper", "seen": "picture"}
    found = table[table.section == "pictures"]
    return view(found.assign(shown=found.what.map(kinds)), ["network", "part"], "shown")


def gold(table: pd.DataFrame) -> pd.DataFrame:
    """The positive control of imitation: accuracy before, and after training on so many gold solutions."""
    found = table[(table.section == "gold") & table.what.isin(["base", "taught"])].copy()
    found[["task", "solutions"]] = found.part.str.split(" ", expand=True) if len(found) else None
    found["solutions"] = [row.solutions if row.what == "taught" else "before" for row in found.itertuples()]
    return view(found.drop_duplicates(["network", "task", "solutions"]), ["network", "task"], "solutions")


def gains(largest: int) -> pd.DataFrame:
    """What the largest number of gold solutions brings each student on each task, in percentage points, with its p."""
    import pandas as pd

    rows = []
    for name, card in cards().items():
        for part, found in card.get("measured", {}).get("gold", {}).get("parts", {}).items():
            task, solutions = part.split()
            if int(solutions) == largest:
                gain = {"gain": 100 * found["difference"]["difference"], "p": found["difference"]["p"]}
                rows.append(
                    {"network": display_name(name), "task": task, "before": 100 * found["base"]["value"], **gain}
                )
    return pd.DataFrame(rows, columns=["network", "task", "before", "gain", "p"])


def critics(table: pd.DataFrame) -> pd.DataFrame:
    """What each teacher can do as a critic, with chance levels."""
    found = table[(table.section == "debater") & table.what.isin(CRITIC)].assign(count=table.what.map(CRITIC))
    shown = view(found, ["network", "part"], "count")
    return shown[[name for name in dict.fromkeys(CRITIC.values()) if name in shown]]


def ways() -> pd.DataFrame:
    """The ways to answer with each teacher: accuracy, and the difference to the equal-sample vote with its p."""
    import pandas as pd

    rows = []
    for name, card in cards().items():
        for task, part in card.get("measured", {}).get("ways", {}).get("parts", {}).items():
            for way, found in part["ways"].items():
                share, difference = found["accuracy"], found.get("difference")
                row = {"network": display_name(name), "task": task, "way": way, "n": share["n"]}
                row["accuracy"] = f"{100 * share['value']:.1f} [{100 * share['low']:.1f}, {100 * share['high']:.1f}]"
                if difference:
                    low, high = 100 * difference["low"], 100 * difference["high"]
                    row["minus the vote"] = f"{100 * difference['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
                    row["p"] = f"{difference['p']:.2g}"
                rows.append(row)
    return pd.DataFrame(rows).fillna("")


def speed() -> pd.DataFrame:
    """Tokens a second of generation and of training, and of the plain loops beside them."""
    import pandas as pd

    rows = []
    for name, card in cards().items():
        for what, found in card.get("measured", {}).get("speed", {}).get("parts", {}).items():
            rate, ratio = found["tokens_per_second"], found["ratio"]["value"]
            rows.append({"network": display_name(name), "what": what, "ours": rate["ours"], "bare": rate["bare"],
                         "ours / bare": ratio})  # fmt: skip
    return pd.DataFrame(rows, columns=["network", "what", "ours", "bare", "ours / bare"])


def jobs(study: Study) -> Iterator[Job]:
    """The notebook that shows the cards."""
    read, written = sorted(ZOO.glob("*/card.json")), [study.files.root / "networks.csv"]
    yield report_job(study, "00_the_networks", ["zoo_cards"], sections=[], inputs=read, outputs=written)
