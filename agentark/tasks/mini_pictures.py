"""mini_pictures: questions about a small drawn picture, for the vision-language networks of the zoo.

The picture (agentark/pictures.py) has things of three shapes and three colours, or a number that is written with
digits among a few things.  A question asks to *count* things, to *compare* two kinds of things (which are there more
of, or how many more), or to *read* the number; counts and numbers may be the start of a sum.  Nothing about the picture
is in the text.  A *template* is a kind with a frame and a wording; the split is a function of what is in the picture.

`mini_pictures_exchanged` is its blind control: the same questions and gold answers, each beside the picture of another
question of its kind.  Who answers as many of them as before has not looked at the picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from agentark import pictures

from . import mini, numeric
from .problem import Parsed, Problem, equal_words, parse_words

NAMES = ("Ana", "Ben", "Cara", "Dan", "Eva", "Finn", "Gina", "Hugo")
COINS = ("apples", "books", "cards", "coins", "eggs", "pens", "shells", "stones")
COLOURS = {"r": "red", "b": "blue", "g": "green"}
SHAPES = {"c": "circles", "s": "squares", "t": "triangles"}
THINGS = tuple(colour + shape for colour in COLOURS for shape in SHAPES)
EXCHANGED = "mini_pictures_exchanged"
MOST = 12  # things in a picture; 4 of its 16 cells at least are empty

# Kind -> its wordings: {t} and {u} are things ("red circles"), {p} is a person, {i} other things, {a} a number.
# fmt: off
WORDINGS = {
    "count": ("How many {t} are in the picture?", "How many {t} do you see?", "Count the {t}."),
    "count+": ("{p} has {a} {i} and finds one for each of the {t}. How many {i} does {p} have now?",
               "{p} has {a} {i} and gets as many as there are {t}. How many {i} does {p} have now?",
               "Somebody draws {a} more {t}. How many are there then?"),
    "count*": ("{p} pays {a} {i} for each of the {t}. How many {i} does {p} pay?",
               "Each of the {t} costs {a} {i}. How many {i} do all of them cost?",
               "There are {a} such pictures. How many {t} are in all of them?"),
    "compare": ("Are there more {t} or more {u}?", "Which are more, the {t} or the {u}?",
                "Of the {t} and the {u}, which are more?"),
    "compare-": ("How many more {t} than {u} are there?", "By how many do the {t} exceed the {u}?",
                 "Take one of the {t} away for each of the {u}. How many {t} are left?"),
    "read": ("Which number is in the picture?", "Which number do you see?", "Read the number."),
    "read+": ("{p} has as many {i} as the number says and finds {a} more. How many {i} does {p} have now?",
              "Add {a} to the number.", "The number grows by {a}. What is it then?"),
    "read-": ("{p} has as many {i} as the number says and loses {a}. How many {i} does {p} have now?",
              "Take {a} from the number.", "The number falls by {a}. What is it then?"),
}
# fmt: on
FRAMES = ("{q}", "Look at the picture. {q}", "This is a picture. {q}", "{q} Look closely.")
NOTHING = "nothing"  # what an empty cell holds
STEPS = {"+": "gets", "-": "more", "*": "each"}  # the verb of the sum of a solution, by its operation


@dataclass(frozen=True)
class Case:
    """The content of a question: its kind, the picture, what is counted in it and the number in the text (or 0).

    `targets` are one or two codes of things: a colour and a shape, of which one may be "?" for any; none if the number
    is read.
    """

    kind: str
    picture: str
    targets: tuple[str, ...]
    a: int

    @property
    def key(self) -> str:
        return f"{self.kind} {self.picture} {' '.join(self.targets)} {self.a}"


def name(target: str) -> str:
    """What a target is called: "red circles", "circles" or "red things"."""
    return f"{COLOURS.get(target[0], '')} {SHAPES.get(target[1], 'things')}".strip()


def single(code: str) -> str:
    """What the thing of a cell is called: "red circle", "red 4" or "nothing"."""
    if code == pictures.EMPTY:
        return NOTHING
    return f"{COLOURS[code[0]]} {SHAPES[code[1]].removesuffix('s') if code[1] in SHAPES else code[1]}"


def seen(case: Case) -> list[int]:
    """What is to be seen in the picture: the number of things of each target, or the number that is written."""
    if case.targets:
        return [sum(rows) for rows in by_row(case)]
    return [int("".join(digits(case).values()))]


def by_row(case: Case) -> list[list[int]]:
    """For each target, the number of its things in each row of the picture."""
    codes, n = pictures.cells(case.picture), pictures.CELLS
    fits = [[code != pictures.EMPTY and all(x in ("?", y) for x, y in zip(target, code, strict=True)) for code in codes]
            for target in case.targets]  # fmt: skip
    return [[sum(cells[start : start + n]) for start in range(0, n * n, n)] for cells in fits]


def digits(case: Case) -> dict[str, str]:
    """The digits of the number that is written, by the letters of their cells."""
    codes = zip(pictures.LETTERS, pictures.cells(case.picture), strict=True)
    return {letter: code[1] for letter, code in codes if code[1].isdigit()}


def _solution(case: Case, rows: list[list[int]], read: dict[str, str], slip: int = 0) -> str:
    """What is seen, as lines, then the sum, and the answer; the result of the sum is wrong by `slip`.

    Things are counted row by row ("red circles: A-D 1+E-H 0+I-L 2+M-P 0=3"), a number is read cell by cell ("number: F
    3 G 7=37").  A small network finds a cell by its letter, as it does a line of its peers.
    """
    labels, values = [name(target) for target in case.targets], [sum(counts) for counts in rows]
    lines = []
    for label, counts, value in zip(labels, rows, values, strict=True):
        of_rows = (f"{row[0]}-{row[-1]} {n}" for row, n in zip(pictures.ROWS, counts, strict=True))
        lines.append(f"{label}: {'+'.join(of_rows)}={value}")
    if not rows:
        values = [int("".join(read.values()))]
        lines = [f"number: {' '.join(f'{letter} {digit}' for letter, digit in read.items())}={values[0]}"]
    op = case.kind[-1]
    if op in STEPS:
        write = numeric.Writer(0, slip)
        verb = STEPS[op] if case.targets or op == "+" else "loses"
        answer = str(write(verb, values[0], op, values[1] if len(values) > 1 else case.a))
        lines += write.lines
    else:
        answer = labels[values[1] > values[0]] if len(values) > 1 else str(values[0])
    return "\n".join([*lines, f"Answer: {answer}"])


def solve(case: Case, rng: Random) -> str:
    """The solution: what is seen, one line for each target, and the sum of it if there is one."""
    return _solution(case, by_row(case), digits(case))


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: a thing too many or too few in a row, a misread digit, or a slip in the sum."""
    answer = solve(case, rng).rsplit(": ", 1)[1]
    while True:
        rows, read, slip = by_row(case), digits(case), 0
        if case.kind[-1] in STEPS and rng.random() < 0.3:
            slip = rng.choice((-2, -1, 1, 2, 10))
        elif not case.targets:
            read[rng.choice([*read])] = rng.choice("123456789")
        elif case.kind == "compare" and rng.random() < 0.5:
            rows.reverse()  # each kind is taken for the other: a miscount alone may leave the answer
        else:
            counts = rng.choice(rows)
            at = rng.randrange(len(counts))
            counts[at] = min(pictures.CELLS, max(0, counts[at] + rng.choice((-1, 1))))
        wrong = _solution(case, rows, read, slip)
        if wrong.rsplit(": ", 1)[1] != answer and not wrong.rsplit(": ", 1)[1].startswith("-"):
            return wrong


def _things(rng: Random) -> list[str]:
    """Cells with one to twelve things, of which a few kinds are frequent: otherwise, most counts would be 0 or 1."""
    kinds = [rng.choice(THINGS) for _ in range(rng.randint(2, 4))]
    things = [rng.choice(kinds) for _ in range(rng.randint(1, MOST))]
    cells = things + [pictures.EMPTY] * (pictures.CELLS**2 - len(things))
    rng.shuffle(cells)
    return cells


def _number(rng: Random) -> list[str]:
    """Cells with a number of one to three digits in one row, and at most three things around it."""
    digits = str(rng.randint(1, 10 ** rng.randint(1, 3) - 1))
    row, column = rng.randrange(pictures.CELLS), rng.randint(0, pictures.CELLS - len(digits))
    colour, cells = rng.choice(tuple(COLOURS)), [pictures.EMPTY] * pictures.CELLS**2
    place = row * pictures.CELLS + column
    cells[place : place + len(digits)] = [colour + digit for digit in digits]
    free = [n for n, code in enumerate(cells) if n // pictures.CELLS != row]
    for n in rng.sample(free, rng.randint(0, 3)):
        cells[n] = rng.choice(THINGS)
    return cells


def _targets(rng: Random, cells: list[str], n: int) -> tuple[str, ...]:
    """n different targets, of which most occur in the cells; two of them are both kinds, both colours or both shapes.

    So no thing belongs to both.
    """
    form = rng.choice(("colour and shape", "colour", "shape"))

    def target(code: str) -> str:
        return {"colour": code[0] + "?", "shape": "?" + code[1]}.get(form, code)

    held = [target(code) for code in cells if code != pictures.EMPTY]
    every = [target(code) for code in THINGS]
    chosen: list[str] = []
    while len(chosen) < n:
        new = rng.choice(held if rng.random() < 0.8 else every)
        if new not in chosen:
            chosen.append(new)
    rng.shuffle(chosen)  # the first one is mostly the more frequent one
    return tuple(chosen)


def _case(rng: Random, kind: str) -> Case | None:
    """A case of a kind; None if its two counts do not differ as they should."""
    cells = _number(rng) if kind.startswith("read") else _things(rng)
    picture = pictures.key(cells, rng.randrange(1000))
    targets = () if kind.startswith("read") else _targets(rng, cells, 2 if kind.startswith("compare") else 1)
    bounds = {"count+": (2, 60), "count*": (2, 9), "read+": (2, 60), "read-": (2, 60)}
    case = Case(kind, picture, targets, rng.randint(*bounds[kind]) if kind in bounds else 0)
    values = seen(case)
    if kind == "compare" and values[0] == values[1] or kind == "compare-" and values[0] <= values[1]:
        return None
    return None if kind == "read-" and values[0] <= case.a else case


def _split(case: Case) -> str:
    """The split of a case, by what is in its picture: the number that is written, or the things in their cells."""
    content = str(seen(case)[0]) if not case.targets else case.picture.rpartition("/")[0]
    return mini.split_of(f"mini_pictures {content}")


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only."""
    count = 0
    while True:
        kind = rng.choice(tuple(WORDINGS))
        frame, wording = rng.randrange(len(FRAMES)), rng.randrange(len(WORDINGS[kind]))
        template = f"{kind}-{frame}-{wording}"
        home = mini.template_split("mini_pictures", template)
        if home != mini.next_home(split, count):
            continue
        case = _case(rng, kind)
        if case is None or _split(case) != split:
            continue
        names = dict(zip("tu", map(name, case.targets), strict=False))
        text = WORDINGS[kind][wording].format(p=rng.choice(NAMES), i=rng.choice(COINS), a=case.a, **names)
        solution = solve(case, rng)
        yield case, Problem(f"mini_pictures/{split}/{count}", FRAMES[frame].format(q=text),
                            solution.rsplit(": ", 1)[1], solution, template, home != "train",
                            image=case.picture)  # fmt: skip
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    return mini.first("mini_pictures", stream, split, n)


def exchanged(split: str, n: int) -> list[Problem]:
    """The same problems, each with the picture of the last one of its kind; the first of a kind has blank paper."""
    shown: dict[str, str] = {}
    found = []
    for problem in problems(split, n):
        kind, name = problem.template.rsplit("-", 2)[0], problem.id.replace("mini_pictures", EXCHANGED)
        found.append(replace(problem, id=name, image=shown.get(kind, pictures.BLANK)))
        shown[kind] = problem.image
    return found


_NUMBER = re.compile(r"\d+")


def parse(text: str, problem: Problem) -> Parsed:
    """A number, or the name of a kind of things, as the gold answer is."""
    return (numeric.parse if _NUMBER.fullmatch(problem.answer) else parse_words)(text, problem)


def equal(gold: str, answer: str) -> bool:
    """Whether two answers are equal as numbers, or have the same words."""
    return numeric.equal(gold, answer) if _NUMBER.fullmatch(gold) else equal_words(gold, answer)


TASK = mini.task("mini_pictures", problems, parse, equal, "accuracy", pictures=True)
TASKS = (TASK, mini.task(EXCHANGED, exchanged, parse, equal, "accuracy", TASK.family, pictures=True))
