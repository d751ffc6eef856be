"""mini_meta: four augmentations of mini_gsm's problems, in the role that MetaMathQA has in the paper.

MetaMathQA rewrites the training problems of GSM8K and MATH; this does the same with the stories of mini_gsm, so that it is
in-domain for mini_gsm's test set (DECISIONS 12).

| kind     | question                                             | solution                               |
|----------|------------------------------------------------------|----------------------------------------|
| answer   | the story as mini_gsm tells it                        | another right way                      |
| rephrase | the story in other words                             | a right way                            |
| verify   | the start value is x, the outcome is told (self-verification) | undoes the events, the last first |
| backward | the number of one event is x, the outcome is told (FOBAR)    | from both ends to that event      |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from . import mini_gsm
from .mini_gsm import Event, Story
from .numeric import Writer, equal, parse
from .problem import Problem, Task, take

KINDS = ("answer", "rephrase", "verify", "backward")
REPHRASED = {
    "gain": ("After that {p} gets {a} {i} from {q}.", "{a} {i} come on top."),
    "lose": ("After that {a} {i} are gone.", "{q} takes {a} {i} from {p}."),
    "packs": ("Then come {a} crates, each with {b} {i}.", "{q} brings {a} bags, {b} {i} in each."),
    "daily": ("For {a} days {p} needs {b} {i} a day.", "{a} guests take {b} {i} each."),
    "times": ("That number grows to {a} times itself.",),
    "share": ("Only one of {a} equal parts of the {i} stays with {p}.",),
}
VERIFY = "In the end {{p}} has {m} {{i}}. What is x?"
BACKWARD = "If {{p}} now has {m} {{i}}, what is x?"


@dataclass(frozen=True)
class Case:
    """An augmentation: its kind, the story behind it, the distractors' numbers, and which part is x (0 the start, n the n-th event)."""

    kind: str
    story: Story
    stray: tuple[int, ...]
    hidden: int | None = None

    @property
    def key(self) -> str:
        return f"{self.kind} {self.hidden} {self.story.key}"


def outcome(story: Story) -> int:
    """What a story ends with."""
    return int(mini_gsm.solve(story, Random(0)).rsplit(": ", 1)[1])


def _undo(events: tuple[Event, ...], value: int, write: Writer) -> int:
    """From the value after `events` to the one before them."""
    for event in reversed(events):
        if event.kind in ("gain", "lose"):
            value = write("before", value, "-" if event.kind == "gain" else "+", event.a)
        elif event.kind in ("times", "share"):
            value = write("before", value, "/" if event.kind == "times" else "*", event.a)
        else:
            value = write("before", value, "-" if event.kind == "packs" else "+", write("each", event.a, "*", event.b))
    return value


def _between(case: Case, end: int, write: Writer, back_first: bool) -> int:
    """The number of the hidden event: what there was before it, what there was after it, and their difference."""
    before, after = case.story.events[: case.hidden - 1], case.story.events[case.hidden :]
    if back_first:
        y = _undo(after, end, write)
    x = mini_gsm.follow(Story(case.story.start, before), write)
    if not back_first:
        y = _undo(after, end, write)
    return write("x", y, "-", x) if case.story.events[case.hidden - 1].kind == "gain" else write("x", x, "-", y)


def solve(case: Case, rng: Random, slip_at: int = -1, slip: int = 0, end: int | None = None) -> str:
    """A solution, a step a line, the answer last; `end` replaces the told outcome in a wrong one."""
    if case.hidden is None:
        return mini_gsm.solve(case.story, rng, slip_at, slip)
    write = Writer(slip_at, slip)
    end = outcome(case.story) if end is None else end
    answer = (
        _undo(case.story.events, end, write) if case.hidden == 0 else _between(case, end, write, rng.random() < 0.5)
    )
    return "\n".join([*write.lines, f"Answer: {answer}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: as mini_gsm's, or a slip, a misread outcome, or an event forgotten on the way back."""
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


def _ask(case: Case, rng: Random) -> tuple[str, list[int]]:
    """The question's text, and the numbers of its distractors."""
    if case.kind == "answer":
        return mini_gsm.tell(case.story, rng)
    if case.kind == "rephrase":
        return mini_gsm.tell(
            case.story,
            rng,
            REPHRASED,
            "At first there are {a} {i} with {p}.",
            "Find the number of {i} that {p} has at the end.",
        )
    told = rng.choice((mini_gsm.EVENTS, REPHRASED))
    end = (VERIFY if case.kind == "verify" else BACKWARD).format(m=outcome(case.story))
    return mini_gsm.tell(case.story, rng, told, end=end, hidden=case.hidden)


def augment(story: Story, kind: str, rng: Random) -> Case | None:
    """The story's augmentation of a kind; None where it has no event whose number could be asked for."""
    if kind != "backward":
        return Case(kind, story, (), 0 if kind == "verify" else None)
    can = [n for n, event in enumerate(story.events, 1) if event.kind in ("gain", "lose")]
    return Case(kind, story, (), rng.choice(can)) if can else None


def stream(
    split: str, rng: Random, lengths: tuple[int, int] = mini_gsm.LENGTHS, stories: Iterator | None = None
) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split: each story of mini_gsm's stream (or of `stories`) with one augmentation.  Held-out templates are mini_gsm's."""
    count = 0
    for story, source, _ in stories or mini_gsm.stream(split, rng, lengths):
        case = augment(story, rng.choice(KINDS), rng)
        if case is None:
            continue
        question, stray = _ask(case, rng)
        case = replace(case, stray=tuple(stray))
        solution = solve(case, rng)
        yield (
            case,
            Problem(
                f"mini_meta/{split}/{count}",
                question,
                solution.rsplit(": ", 1)[1],
                solution,
                f"{case.kind}:{story.template}",
                source.held_out,
            ),
        )
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split: they are made of the first problems of mini_gsm's."""
    stories = mini_gsm.stream(split, Random(f"mini_gsm {split}"))
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_meta {split}"), stories=stories))
    return take(keyed, n, f"mini_meta/{split}")


TASK = Task("mini_meta", problems, parse, equal, sizes={"train": 4000, "dev": 500, "test": 1000})
