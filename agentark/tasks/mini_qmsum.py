"""mini_qmsum: a summary of the decisions of a meeting, in the role of QMSum in the paper.

Three people talk about two or three topics.  On each, somebody makes a proposal, which is accepted, replaced by an
accepted counter-proposal, or put off; only decisions belong in the summary.  The *template* is the sequence of outcomes
with the wording of the instruction.  No other knowledge is needed.  The split is a function of the topics and
proposals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import mini
from .mini_hotpot import MEN, TOWNS, WOMEN
from .problem import Problem, equal_words, parse_words

COLORS = ("red", "blue", "green", "white", "black", "yellow")
ITEMS = ("chairs", "lamps", "desks", "cups", "pens", "maps", "boxes", "books")
OUTCOMES = ("accept", "counter", "later")


@dataclass(frozen=True)
class Topic:
    """The proposed action (`does`, with {v} the proposal), and the possible proposals."""

    does: str
    values: tuple[str, ...]


TOPICS = {
    **{item: Topic(f"buy {{v}} {item}", mini.pairs("2 3 4 5 6 7 8 9", " ".join(COLORS))) for item in ITEMS},
    "meeting": Topic("meet on {v}", mini.pairs("Monday Tuesday Wednesday Thursday Friday", "morning noon evening")),
    "trip": Topic("go to {v}", TOWNS),
    "paint": Topic("paint the {v}", mini.pairs("door wall roof fence", " ".join(COLORS))),
    "lunch": Topic("eat {v}", mini.pairs("hot cold fresh", "soup rice fish bread corn")),
}
SORTS = (ITEMS, ("meeting",), ("trip",), ("paint",), ("lunch",))
PROPOSE = ("Let us {does}.", "I say we {does}.", "We should {does}.")
ACCEPT = ("Yes, good.", "Fine with me.", "Good idea.")
COUNTER = ("No, better {v}.", "I do not like that. Rather {v}.", "No, I want {v}.")
LATER = ("Not now. Next time.", "I do not know yet. Later.", "No time today. Later.")
WORDINGS = ("{talk}\nWhat did they decide?", "{talk}\nSum up the decisions.", "{talk}\nWhat was decided?",
            "What did they decide?\n{talk}", "Sum up the decisions.\n{talk}",
            "Talk:\n{talk}\nWhat are the decisions?")  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One topic of a meeting: its outcome, its proposal, and the counter-proposal if there was one."""

    topic: str
    outcome: str
    proposal: str
    counter: str = ""

    @property
    def decided(self) -> str:
        """The decision; empty if it was put off."""
        return {"accept": self.proposal, "counter": self.counter, "later": ""}[self.outcome]


@dataclass(frozen=True)
class Case:
    """The content of a meeting: its points in order."""

    points: tuple[Point, ...]

    @property
    def key(self) -> str:
        return "; ".join(f"{p.topic} {p.outcome} {p.proposal} {p.counter}" for p in self.points)

    @property
    def outcomes(self) -> str:
        return "-".join(point.outcome for point in self.points)

    @property
    def answer(self) -> str:
        return summary([(point.topic, point.decided) for point in self.points])


def summary(decisions: list[tuple[str, str]]) -> str:
    """Pairs of a topic and its decision (empty if it was put off) as one sentence."""
    parts = [TOPICS[topic].does.format(v=value) if value else f"put off the {topic}" for topic, value in decisions]
    return f"They {', and '.join(parts)}."


def _write(decisions: list[tuple[str, str]], rng: Random) -> str:
    lines = [f"{topic}: {value or 'put off'}" for topic, value in decisions]
    if rng.random() < 0.5:
        lines.insert(0, f"topics: {', '.join(topic for topic, _ in decisions)}")
    return "\n".join([*lines, f"Answer: {summary(decisions)}"])


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: the outcome of each topic and the summary, or the topics before them."""
    return _write([(point.topic, point.decided) for point in case.points], rng)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: for one or more topics, a missed decision, or a proposal that was not accepted."""
    wrong = set(rng.sample(range(len(case.points)), rng.randint(1, len(case.points))))
    decisions = []
    for n, point in enumerate(case.points):
        missed = point.outcome == "accept" or (point.outcome == "counter" and rng.random() < 0.2)
        decisions.append((point.topic, point.decided if n not in wrong else "" if missed else point.proposal))
    return _write(decisions, rng)


def _case(rng: Random) -> Case:
    points = []
    for sort in rng.sample(SORTS, rng.randint(2, 3)):
        topic, outcome = rng.choice(sort), rng.choice(OUTCOMES)
        proposal, counter = rng.sample(TOPICS[topic].values, 2)
        points.append(Point(topic, outcome, proposal, counter if outcome == "counter" else ""))
    return Case(tuple(points))


def _tell(case: Case, rng: Random) -> str:
    """The meeting as a dialogue."""
    people = rng.sample(WOMEN + MEN, 3)
    lines = []
    for point in case.points:
        a, b, c = rng.sample(people, 3)
        lines.append(f"{a}: {rng.choice(PROPOSE).format(does=TOPICS[point.topic].does.format(v=point.proposal))}")
        if point.outcome == "accept":
            lines.append(f"{b}: {rng.choice(ACCEPT)}")
        elif point.outcome == "counter":
            lines.append(f"{b}: {rng.choice(COUNTER).format(v=point.counter)}")
            lines.append(f"{rng.choice((a, c))}: {rng.choice(ACCEPT)}")
        else:
            lines.append(f"{b}: {rng.choice(LATER)}")
    return "\n".join(lines)


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only."""
    count = 0
    while True:
        case = _case(rng)
        if mini.split_of(f"mini_qmsum {case.key}") != split:
            continue
        wording = rng.randrange(len(WORDINGS))
        template = f"{case.outcomes}-{wording}"
        home = mini.template_split("mini_qmsum", template)
        if home != mini.next_home(split, count):
            continue
        text, name = WORDINGS[wording].format(talk=_tell(case, rng)), f"mini_qmsum/{split}/{count}"
        solution, held_out, references = solve(case, rng), home != "train", (case.answer,)
        yield case, Problem(name, text, case.answer, solution, template, held_out, references=references)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    return mini.first("mini_qmsum", stream, split, n)


TASK = mini.task("mini_qmsum", problems, parse_words, equal_words, "rouge")
TASKS = (TASK,)
