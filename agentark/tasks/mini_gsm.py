"""mini_gsm: multi-step arithmetic word problems, in the role of GSM8K in the paper.

A story is a start value and a sequence of events.  The sequence of event kinds is the *template*: half of all sequences
never occur in training (they make up half of the test set), a tenth of them only in dev.  A problem's content is its
template with its numbers, and its split is a function of that content.  Numbers are small, because sums up to 99 are
what a small student can be taught, and distractors are rare, because a debate can find a slip but not a misreading.

Each problem has several right solutions that differ in structure (in the order of the story; products first; gains and
losses separately) and many plausible wrong ones (an arithmetic slip, a forgotten event, a distractor that is counted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

from . import mini
from .numeric import Writer, equal, parse
from .problem import Problem

NAMES = ("Ana", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo",
         "Iris", "Jon", "Kim", "Leo", "Mia", "Noah", "Olga", "Paul")  # fmt: skip
THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "nuts", "pens", "plums", "shells", "stamps", "stones")

# Kind of event -> its wordings: {p} is the person, {q} somebody else, {i} the things, {a} and {b} the numbers.
# fmt: off
EVENTS = {
    "gain":  ("{p} finds {a} more {i}.", "{q} gives {p} {a} {i}.", "{p} picks up {a} {i}."),
    "lose":  ("{p} loses {a} {i}.", "{p} gives {a} {i} to {q}.", "{p} sells {a} {i}."),
    "packs": ("{p} buys {a} bags of {b} {i}.", "{a} friends each give {p} {b} {i}.",
              "{p} opens {a} boxes with {b} {i} each."),
    "daily": ("{p} uses {b} {i} on each of {a} days.", "{p} gives {b} {i} to each of {a} friends.",
              "{p} puts {b} {i} into each of {a} jars and sells them."),
    "times": ("Then {p} gets {a} times as many {i}.", "Now {p} has {a} times as many {i}."),
    "share": ("{p} makes {a} equal piles of {i} and keeps one.",
              "{p} shares all {i} equally among {a} people and takes one part."),
}
# fmt: on
DISTRACTORS = ("{q} has {a} {i}.", "{q} finds {a} {j}.", "{p} also sees {a} {j}.", "{q} buys {a} bags of {b} {j}.")
# Kind of event -> the least and the greatest value of each of its numbers, and its verb and operation in solutions.
BOUNDS = {"gain": [(2, 40)], "lose": [(2, 40)], "packs": [(2, 9), (2, 9)], "daily": [(2, 9), (2, 9)],
          "times": [(2, 3)], "share": [(2, 5)]}  # fmt: skip
STEPS = {"gain": ("gets", "+"), "lose": ("loses", "-"), "packs": ("gets", "+"), "daily": ("loses", "-"),
         "times": ("has", "*"), "share": ("keeps", "/")}  # fmt: skip
PRODUCTS = ("packs", "daily")  # the kinds of events that add or take a product of two numbers
LENGTHS = (2, 4)  # least and most events of a story
LARGEST = 99


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


def _story(rng: Random, lengths: tuple[int, int]) -> Story | None:
    """A random story of `lengths` (least, most) events; None if a value is not a whole number from 1 to LARGEST."""
    start = value = rng.randint(5, 60)
    events: list[Event] = []
    for _ in range(rng.randint(*lengths)):
        kind = rng.choice(tuple(EVENTS))
        event = Event(kind, *(rng.randint(*bounds) for bounds in BOUNDS[kind]))
        new = _apply(value, event)
        if new is None or not 1 <= new <= LARGEST:
            return None
        value = new
        events.append(event)
    return Story(start, tuple(events))


def _apply(value: int, event: Event) -> int | None:
    """The value after an event; None if it is not a whole number."""
    op, amount = STEPS[event.kind][1], event.a * event.b if event.kind in PRODUCTS else event.a
    if op == "/":
        return value // amount if value % amount == 0 else None
    return {"+": value + amount, "-": value - amount, "*": value * amount}[op]


def tell(story: Story, rng: Random, wordings: dict[str, tuple[str, ...]] = EVENTS, start: str = "{p} has {a} {i}.",
         end: str = "How many {i} does {p} have now?", hidden: int | None = None) -> tuple[str, list[int]]:  # fmt: skip
    """The story as text, and the numbers of its distractors.

    `wordings`, `start` and `end` are the texts of its parts.  The number of part `hidden` (0 for the start value, n for
    the n-th event) is replaced by x.
    """
    p, q = rng.sample(NAMES, 2)
    i, j = rng.sample(THINGS, 2)
    parts = [(start, story.start, 0)] + [(rng.choice(wordings[event.kind]), event.a, event.b) for event in story.events]
    lines = [form.format(p=p, q=q, i=i, a="x" if n == hidden else a, b=b) for n, (form, a, b) in enumerate(parts)]
    stray: list[int] = []
    for _ in range(rng.choice((0, 0, 0, 1))):
        a, b = rng.randint(2, 60), rng.randint(2, 9)
        stray.append(a)
        lines.insert(rng.randint(1, len(lines)), rng.choice(DISTRACTORS).format(p=p, q=q, i=i, j=j, a=a, b=b))
    return " ".join([*lines, end.format(p=p, i=i)]), stray


def follow(story: Story, write: Writer, products: list[int] | None = None) -> int:
    """Write the events in the story's order; `products` are the products that are computed already."""
    value = story.start
    for n, event in enumerate(story.events):
        verb, op = STEPS[event.kind]
        value = write(verb, value, op, products[n] if products else amount(event, write))
    return value


def amount(event: Event, write: Writer) -> int:
    """The number by which an event changes the value; a product is written first."""
    return write("each", event.a, "*", event.b) if event.kind in PRODUCTS else event.a


def _products_first(story: Story, write: Writer) -> int:
    return follow(story, write, [amount(event, write) for event in story.events])


def _net(story: Story, write: Writer) -> int:
    """Add all gains and all losses separately, then apply both sums to the start value."""
    sums: dict[str, int] = {}
    for event in story.events:
        op, number = STEPS[event.kind][1], amount(event, write)
        sums[op] = write("sum", sums[op], "+", number) if op in sums else number
    value = story.start
    for verb, op in (("gets", "+"), ("loses", "-")):
        if op in sums:
            value = write(verb, value, op, sums[op])
    return value


def styles(story: Story) -> tuple[Callable[[Story, Writer], int], ...]:
    """The functions that solve this story, in ways that differ in structure."""
    kinds = [event.kind for event in story.events]
    ways: list[Callable[[Story, Writer], int]] = [follow]
    if set(PRODUCTS) & set(kinds[1:]):
        ways.append(_products_first)
    if not {"times", "share"} & set(kinds):
        ways.append(_net)
    return tuple(ways)


def solve(story: Story, rng: Random, slip_at: int = -1, slip: int = 0) -> str:
    """A solution of the story in one of its styles: one step per line, the answer last."""
    write = Writer(slip_at, slip)
    value = rng.choice(styles(story))(story, write)
    return "\n".join([*write.lines, f"Answer: {value}"])


def spoil(story: Story, stray: list[int], rng: Random) -> str:
    """A plausible wrong solution: a slip in one line, a misread number, a forgotten event or a counted distractor."""
    way = rng.choice(("slip",) * 6 + ("misread", "forget", "distract"))
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
    """An endless stream of (story, problem, numbers of the distractors); shorter stories serve as a curriculum.

    Stories of pretrain and train have train templates only; in dev and test every other story has a template of that
    split only.
    """
    count = 0
    while True:
        story = _story(rng, lengths)
        if story is None or mini.split_of(story.key) != split:
            continue
        home = mini.template_split("mini_gsm", story.template)
        if home != mini.next_home(split, count):
            continue
        question, stray = tell(story, rng)
        solution = solve(story, rng)
        answer = solution.rsplit(": ", 1)[1]
        problem = Problem(f"mini_gsm/{split}/{count}", question, answer, solution, story.template, home != "train")
        yield story, problem, stray
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((story.key, problem) for story, problem, _ in stream(split, Random(f"mini_gsm {split}")))
    return mini.taken(keyed, n, "mini_gsm", split)


TASK = mini.task("mini_gsm", problems, parse, equal, "accuracy")
TASKS = (TASK,)
