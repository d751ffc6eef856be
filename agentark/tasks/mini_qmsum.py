"""mini_qmsum: summing up what a meeting decided, in the role that QMSum has in the paper.

Three people talk about two or three topics.  On each, a proposal is made and accepted, or countered and the counter-proposal
accepted, or put off; only what was decided belongs into the summary.  The sequence of outcomes with the wording of the
instruction is the *template*.  Nothing is to be known beforehand.  The split is a function of the topics and proposals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .mini_hotpot import MEN, TOWNS, WOMEN
from .problem import Problem, Task, bucket, equal_words, parse_words, take

COLORS = ("red", "blue", "green", "white", "black", "yellow")
ITEMS = ("chairs", "lamps", "desks", "cups", "pens", "maps", "boxes", "books")
OUTCOMES = ("accept", "counter", "later")


@dataclass(frozen=True)
class Topic:
    """What is proposed (`does`, with {v} the proposal), and what may be proposed."""

    does: str
    values: tuple[str, ...]


TOPICS = {
    **{
        item: Topic(f"buy {{v}} {item}", tuple(f"{n} {color}" for n in range(2, 10) for color in COLORS))
        for item in ITEMS
    },
    "meeting": Topic(
        "meet on {v}",
        tuple(
            f"{day} {time}"
            for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
            for time in ("morning", "noon", "evening")
        ),
    ),
    "trip": Topic("go to {v}", TOWNS),
    "paint": Topic(
        "paint the {v}", tuple(f"{part} {color}" for part in ("door", "wall", "roof", "fence") for color in COLORS)
    ),
    "lunch": Topic(
        "eat {v}",
        tuple(
            f"{how} {what}" for how in ("hot", "cold", "fresh") for what in ("soup", "rice", "fish", "bread", "corn")
        ),
    ),
}
SORTS = (ITEMS, ("meeting",), ("trip",), ("paint",), ("lunch",))
PROPOSE = ("Let us {does}.", "I say we {does}.", "We should {does}.")
ACCEPT = ("Yes, good.", "Fine with me.", "Good idea.")
COUNTER = ("No, better {v}.", "I do not like that. Rather {v}.", "No, I want {v}.")
LATER = ("Not now. Next time.", "I do not know yet. Later.", "No time today. Later.")
WORDINGS = (
    "{talk}\nWhat did they decide?",
    "{talk}\nSum up the decisions.",
    "{talk}\nWhat was decided?",
    "What did they decide?\n{talk}",
    "Sum up the decisions.\n{talk}",
    "Talk:\n{talk}\nWhat are the decisions?",
)


@dataclass(frozen=True)
class Point:
    """A topic's course: its outcome, what was proposed and, where it was countered, what instead."""

    topic: str
    outcome: str
    proposal: str
    counter: str = ""

    @property
    def decided(self) -> str:
        """The value agreed on; empty where it was put off."""
        return {"accept": self.proposal, "counter": self.counter, "later": ""}[self.outcome]


@dataclass(frozen=True)
class Case:
    """A meeting's content: its points in order."""

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
    """(topic, value agreed on, or empty where put off) as one sentence."""
    return (
        "They "
        + ", and ".join(
            TOPICS[topic].does.format(v=value) if value else f"put off the {topic}" for topic, value in decisions
        )
        + "."
    )


def template_split(template: str) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"mini_qmsum template {template}", (50, 10, 40))


def _write(decisions: list[tuple[str, str]], rng: Random) -> str:
    lines = [f"{topic}: {value or 'put off'}" for topic, value in decisions]
    if rng.random() < 0.5:
        lines.insert(0, f"topics: {', '.join(topic for topic, _ in decisions)}")
    return "\n".join([*lines, f"Answer: {summary(decisions)}"])


def solve(case: Case, rng: Random) -> str:
    """A solution in one of two styles: what became of each topic and the summary, or first the topics."""
    return _write([(point.topic, point.decided) for point in case.points], rng)


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: on one topic or more, a rejected or put off proposal taken for the decision, or a decision missed."""
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
            lines += [
                f"{b}: {rng.choice(COUNTER).format(v=point.counter)}",
                f"{rng.choice((a, c))}: {rng.choice(ACCEPT)}",
            ]
        else:
            lines.append(f"{b}: {rng.choice(LATER)}")
    return "\n".join(lines)


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split; in dev and test every other problem has a template of that split alone."""
    count = 0
    want_held_out = False
    while True:
        case = _case(rng)
        if bucket(f"mini_qmsum {case.key}", (80, 10, 10)) != split:
            continue
        wording = rng.randrange(len(WORDINGS))
        template = f"{case.outcomes}-{wording}"
        home = template_split(template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        yield (
            case,
            Problem(
                f"mini_qmsum/{split}/{count}",
                WORDINGS[wording].format(talk=_tell(case, rng)),
                case.answer,
                solve(case, rng),
                template,
                held_out,
                references=(case.answer,),
            ),
        )
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_qmsum {split}")))
    return take(keyed, n, f"mini_qmsum/{split}")


TASK = Task(
    "mini_qmsum", problems, parse_words, equal_words, sizes={"train": 4000, "dev": 500, "test": 1000}, measure="rouge"
)
