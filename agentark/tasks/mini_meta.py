"""mini_meta: four augmentations of mini_gsm's problems, in the role of MetaMathQA in the paper.

MetaMathQA rewrites the training problems of GSM8K and MATH; this task does the same with the stories of mini_gsm, so
that it is in-domain for mini_gsm's test set (DECISIONS 12).

| kind     | question                                                       | solution                             |
|----------|----------------------------------------------------------------|--------------------------------------|
| answer   | the story in the words of mini_gsm                             | another right solution               |
| rephrase | the story in other words                                       | a right solution                     |
| verify   | the start value is x, the outcome is given (self-verification) | undoes the events from the last      |
| backward | the number of one event is x, the outcome is given (FOBAR)     | works from both ends to that event   |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from . import mini, mini_gsm
from .mini_gsm import Event, Story
from .numeric import INVERSE, Writer, equal, parse
from .problem import Problem

KINDS = ("answer", "rephrase", "verify", "backward")
REPHRASED = {
    "gain":  ("After that {p} gets {a} {i} from {q}.", "{a} {i} come on top."),
    "lose":  ("After that {a} {i} are gone.", "{q} takes {a} {i} from {p}."),
    "packs": ("Then come {a} crates, each with {b} {i}.", "{q} brings {a} bags, {b} {i} in each."),
    "daily": ("For {a} days {p} needs {b} {i} a day.", "{a} guests take {b} {i} each."),
    "times": ("That number grows to {a} times itself.",),
    "share": ("Only one of {a} equal parts of the {i} stays with {p}.",),
}  # fmt: skip
AT_FIRST, AT_THE_END = "At first there are {a} {i} with {p}.", "Find the number of {i} that {p} has at the end."
VERIFY = "In the end {{p}} has {m} {{i}}. What is x?"
BACKWARD = "If {{p}} now has {m} {{i}}, what is x?"


@dataclass(frozen=True)
class Case:
    """An augmentation: its kind, its story, the numbers of the distractors, and which part is x.

    `hidden` is 0 for the start value and n for the n-th event.
    """

    kind: str
    story: Story
    stray: tuple[int, ...]
    hidden: int | None = None

    @property
    def key(self) -> str:
        return f"{self.kind} {self.hidden} {self.story.key}"


def outcome(story: Story) -> int:
    """The final value of a story."""
    return int(mini_gsm.solve(story, Random(0)).rsplit(": ", 1)[1])


def _undo(events: tuple[Event, ...], value: int, write: Writer) -> int:
    """Compute the value before `events` from the value after them."""
    for event in reversed(events):
        number = mini_gsm.amount(event, write)
        value = write("before", value, INVERSE[mini_gsm.STEPS[event.kind][1]], number)
    return value


def _between(case: Case, hidden: int, end: int, write: Writer, back_first: bool) -> int:
    """The number of the hidden event: the difference of the values before and after it."""
    before, event, after = case.story.events[: hidden - 1], case.story.events[hidden - 1], case.story.events[hidden:]
    if back_first:
        y = _undo(after, end, write)
    x = mini_gsm.follow(Story(case.story.start, before), write)
    if not back_first:
        y = _undo(after, end, write)
    return write("x", y, "-", x) if event.kind == "gain" else write("x", x, "-", y)


def solve(case: Case, rng: Random, slip_at: int = -1, slip: int = 0, end: int | None = None) -> str:
    """A solution: one step per line, the answer last; `end` replaces the given outcome for a wrong solution."""
    if case.hidden is None:
        return mini_gsm.solve(case.story, rng, slip_at, slip)
    write = Writer(slip_at, slip)
    end = outcome(case.story) if end is None else end
    if case.hidden == 0:
        answer = _undo(case.story.events, end, write)
    else:
        answer = _between(case, case.hidden, end, write, rng.random() < 0.5)
    return "\n".join([*write.lines, f"Answer: {answer}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: mini_gsm's, or a slip, a misread outcome or an event that is not undone."""
    if case.hidden is None:
        return mini_gsm.spoil(case.story, list(case.stray), rng)
    way = rng.choice(("slip", "slip", "misread", "forget"))
    if way == "misread":
        return solve(case, rng, end=max(1, outcome(case.story) + rng.choice((-10, -2, -1, 1, 2, 10))))
    if way == "forget" and case.hidden == 0 and len(case.story.events) > 1:
        events = list(case.story.events)
        del events[rng.randrange(len(events))]
        return solve(replace(case, story=Story(case.story.start, tuple(events))), rng, end=outcome(case.story))
    return solve(case, rng, rng.randrange(len(case.story.events)), rng.choice((-10, -2, -1, 1, 2, 10)))


def _question(case: Case, rng: Random) -> tuple[str, list[int]]:
    """The text of the question, and the numbers of its distractors."""
    if case.kind == "answer":
        return mini_gsm.tell(case.story, rng)
    if case.kind == "rephrase":
        return mini_gsm.tell(case.story, rng, REPHRASED, AT_FIRST, AT_THE_END)
    wordings = rng.choice((mini_gsm.EVENTS, REPHRASED))
    end = (VERIFY if case.kind == "verify" else BACKWARD).format(m=outcome(case.story))
    return mini_gsm.tell(case.story, rng, wordings, end=end, hidden=case.hidden)


def augment(story: Story, kind: str, rng: Random) -> Case | None:
    """The augmentation of a story; None if no number of its events can be asked for."""
    if kind != "backward":
        return Case(kind, story, (), 0 if kind == "verify" else None)
    candidates = [n for n, event in enumerate(story.events, 1) if event.kind in ("gain", "lose")]
    return Case(kind, story, (), rng.choice(candidates)) if candidates else None


def stream(split: str, rng: Random, lengths: tuple[int, int] = mini_gsm.LENGTHS,
           stories: Iterator | None = None) -> Iterator[tuple[Case, Problem]]:  # fmt: skip
    """An endless stream of (case, problem): each story of mini_gsm's stream (or of `stories`) with one augmentation.

    The held-out templates are mini_gsm's.
    """
    count = 0
    for story, source, _ in stories or mini_gsm.stream(split, rng, lengths):
        case = augment(story, rng.choice(KINDS), rng)
        if case is None:
            continue
        question, stray = _question(case, rng)
        case = replace(case, stray=tuple(stray))
        solution = solve(case, rng)
        answer, template = solution.rsplit(": ", 1)[1], f"{case.kind}:{story.template}"
        yield case, Problem(f"mini_meta/{split}/{count}", question, answer, solution, template, source.held_out)
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split, made from the first problems of mini_gsm's split."""
    stories = mini_gsm.stream(split, Random(f"mini_gsm {split}"))
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_meta {split}"), stories=stories))
    return mini.taken(keyed, n, "mini_meta", split)


TASK = mini.task("mini_meta", problems, parse, equal, "accuracy", ("mini_gsm",))
TASKS = (TASK,)
