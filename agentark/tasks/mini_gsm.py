"""mini_gsm: multi-step arithmetic word problems, in the role that GSM8K has in the paper.

A story is a start value and a sequence of events.  The sequence of event kinds is the *template*: half of all
sequences never occur in training (they make up half of the test set), and a tenth is kept for the dev split.  A problem's
content is its template with its numbers; the split is a function of that content.

Each problem has several right solutions that differ in structure (in the order of the story; products first; gains and
losses apart), and any number of plausible wrong ones (an arithmetic slip, a forgotten event, a distractor taken in).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from .numeric import Writer, equal, parse
from .problem import Problem, Task, bucket, take

NAMES = (
    "Ana",
    "Ben",
    "Cara",
    "Dan",
    "Eva",
    "Finn",
    "Gina",
    "Hugo",
    "Iris",
    "Jon",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
)
THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "nuts", "pens", "plums", "shells", "stamps", "stones")

# Kind of event -> the ways it is told. {p} the person, {q} somebody else, {i} the things, {a} and {b} the numbers.
EVENTS = {
    "gain": ("{p} finds {a} more {i}.", "{q} gives {p} {a} {i}.", "{p} picks up {a} {i}."),
    "lose": ("{p} loses {a} {i}.", "{p} gives {a} {i} to {q}.", "{p} sells {a} {i}."),
    "packs": (
        "{p} buys {a} bags of {b} {i}.",
        "{a} friends each give {p} {b} {i}.",
        "{p} opens {a} boxes with {b} {i} each.",
    ),
    "daily": (
        "{p} uses {b} {i} on each of {a} days.",
        "{p} gives {b} {i} to each of {a} friends.",
        "{p} puts {b} {i} into each of {a} jars and sells them.",
    ),
    "times": ("Then {p} gets {a} times as many {i}.", "Now {p} has {a} times as many {i}."),
    "share": (
        "{p} makes {a} equal piles of {i} and keeps one.",
        "{p} shares all {i} equally among {a} people and takes one part.",
    ),
}
DISTRACTORS = ("{q} has {a} {i}.", "{q} finds {a} {j}.", "{p} also sees {a} {j}.", "{q} buys {a} bags of {b} {j}.")
LENGTHS = (2, 4)  # least and most events of a story
LARGEST = 299


@dataclass(frozen=True)
class Event:
    kind: str
    a: int
    b: int = 0


@dataclass(frozen=True)
class Story:
    start: int
    events: tuple[Event, ...]

    @property
    def template(self) -> str:
        return "-".join(event.kind for event in self.events)

    @property
    def key(self) -> str:
        return f"{self.start} " + " ".join(f"{e.kind}:{e.a}:{e.b}" for e in self.events)


def template_split(template: str) -> str:
    """The only split's data that may use this template beyond the shared ones: "train" means every split may."""
    return bucket(f"mini_gsm template {template}", (50, 10, 40))


def _story(rng: Random, lengths: tuple[int, int]) -> Story | None:
    """A random story of `lengths` (least, most) events whose values stay whole and between 1 and LARGEST, or None where the dice did not give one."""
    start = value = rng.randint(5, 60)
    events: list[Event] = []
    for _ in range(rng.randint(*lengths)):
        kind = rng.choice(tuple(EVENTS))
        if kind == "gain":
            event = Event(kind, rng.randint(3, 60))
        elif kind == "lose":
            event = Event(kind, rng.randint(2, 60))
        elif kind == "packs":
            event = Event(kind, rng.randint(2, 9), rng.randint(2, 12))
        elif kind == "daily":
            event = Event(kind, rng.randint(2, 9), rng.randint(2, 9))
        elif kind == "times":
            event = Event(kind, rng.randint(2, 3))
        else:
            event = Event(kind, rng.randint(2, 5))
        new = _apply(value, event)
        if new is None or not 1 <= new <= LARGEST:
            return None
        value = new
        events.append(event)
    return Story(start, tuple(events))


def _apply(value: int, event: Event) -> int | None:
    """The value after an event; None where it does not come out whole."""
    if event.kind == "share":
        return value // event.a if value % event.a == 0 else None
    return {
        "gain": value + event.a,
        "lose": value - event.a,
        "packs": value + event.a * event.b,
        "daily": value - event.a * event.b,
        "times": value * event.a,
    }[event.kind]


def tell(
    story: Story,
    rng: Random,
    told: dict[str, tuple[str, ...]] = EVENTS,
    start: str = "{p} has {a} {i}.",
    end: str = "How many {i} does {p} have now?",
    hidden: int | None = None,
) -> tuple[str, list[int]]:
    """The story as text, and the numbers of its distractors.

    `told`, `start` and `end` are the ways its parts are told; of part `hidden` (0 the start value, n the n-th event) the number is given as x.
    """
    p, q = rng.sample(NAMES, 2)
    i, j = rng.sample(THINGS, 2)
    parts = [(start, story.start, 0)] + [(rng.choice(told[event.kind]), event.a, event.b) for event in story.events]
    lines = [form.format(p=p, q=q, i=i, a="x" if n == hidden else a, b=b) for n, (form, a, b) in enumerate(parts)]
    stray: list[int] = []
    for _ in range(rng.choice((0, 1, 1, 2))):
        a, b = rng.randint(2, 60), rng.randint(2, 9)
        stray.append(a)
        lines.insert(rng.randint(1, len(lines)), rng.choice(DISTRACTORS).format(p=p, q=q, i=i, j=j, a=a, b=b))
    return " ".join([*lines, end.format(p=p, i=i)]), stray


def follow(story: Story, write: Writer, products: list[int] | None = None) -> int:
    """Write the events in the story's order; `products` are already computed ones."""
    value = story.start
    for n, event in enumerate(story.events):
        if event.kind == "gain":
            value = write("gets", value, "+", event.a)
        elif event.kind == "lose":
            value = write("loses", value, "-", event.a)
        elif event.kind == "times":
            value = write("has", value, "*", event.a)
        elif event.kind == "share":
            value = write("keeps", value, "/", event.a)
        else:
            amount = products[n] if products else write("each", event.a, "*", event.b)
            value = write(
                "gets" if event.kind == "packs" else "loses", value, "+" if event.kind == "packs" else "-", amount
            )
    return value


def _products_first(story: Story, write: Writer) -> int:
    products = [write("each", e.a, "*", e.b) if e.kind in ("packs", "daily") else 0 for e in story.events]
    return follow(story, write, products)


def _net(story: Story, write: Writer) -> int:
    """All gains together, all losses together, then the start value."""
    sums = {"+": None, "-": None}
    for event in story.events:
        sign = "+" if event.kind in ("gain", "packs") else "-"
        amount = write("each", event.a, "*", event.b) if event.kind in ("packs", "daily") else event.a
        sums[sign] = amount if sums[sign] is None else write("sum", sums[sign], "+", amount)
    value = story.start
    if sums["+"] is not None:
        value = write("gets", value, "+", sums["+"])
    if sums["-"] is not None:
        value = write("loses", value, "-", sums["-"])
    return value


def styles(story: Story) -> tuple:
    """The ways to solve this story that differ in structure."""
    kinds = [event.kind for event in story.events]
    ways = [follow]
    if any(kind in ("packs", "daily") for kind in kinds[1:]):
        ways.append(_products_first)
    if not {"times", "share"} & set(kinds):
        ways.append(_net)
    return tuple(ways)


def solve(story: Story, rng: Random, slip_at: int = -1, slip: int = 0) -> str:
    """A solution of the story in one of its styles, a step a line, the answer last."""
    write = Writer(slip_at, slip)
    value = rng.choice(styles(story))(story, write)
    return "\n".join([*write.lines, f"Answer: {value}"])


def spoil(story: Story, stray: list[int], rng: Random) -> str:
    """A plausible wrong solution: a slip in one line, a misread number, a forgotten event or a distractor taken in."""
    way = rng.choice(("slip", "slip", "misread", "forget", "distract"))
    events = list(story.events)
    n = rng.randrange(len(events))
    if way == "forget":
        del events[n]
    elif way == "distract" and stray:
        events.insert(n, Event("gain", rng.choice(stray)))
    elif way == "misread":
        events[n] = replace(events[n], a=max(1, events[n].a + rng.choice((-2, -1, 1, 2, 10))))
    else:
        return solve(story, rng, rng.randrange(len(events)), rng.choice((-10, -2, -1, 1, 2, 10)))
    return solve(Story(story.start, tuple(events)), rng)


def stream(split: str, rng: Random, lengths: tuple[int, int] = LENGTHS) -> Iterator[tuple[Story, Problem, list[int]]]:
    """Endless (story, problem, distractors' numbers) of a split; shorter stories serve as a curriculum.

    Train stories use train templates only; in dev and test every other story has a template of that split alone.
    """
    count = 0
    want_held_out = False
    while True:
        story = _story(rng, lengths)
        if story is None or bucket(story.key, (80, 10, 10)) != split:
            continue
        home = template_split(story.template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        question, stray = tell(story, rng)
        solution = solve(story, rng)
        answer = solution.rsplit(": ", 1)[1]
        yield story, Problem(f"mini_gsm/{split}/{count}", question, answer, solution, story.template, held_out), stray
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((story.key, problem) for story, problem, _ in stream(split, Random(f"mini_gsm {split}")))
    return take(keyed, n, f"mini_gsm/{split}")


TASK = Task("mini_gsm", problems, parse, equal, sizes={"train": 4000, "dev": 500, "test": 1000})
