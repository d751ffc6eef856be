"""mini_math: equations, order of operations and remainders, in the role of MATH in the paper.

(reasoning-gym has such questions, too, but without the worked steps and held-out forms that the later stages need.)

Every expression is a tree: a number, "x", or (operation, left, right).  An equation is a tree with an x and its value.
The *template* is the kind of question with the shape of the tree: half of the shapes never occur in training, as in
mini_gsm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from . import mini
from .numeric import INVERSE, Writer, equal, parse
from .problem import Problem

LENGTHS = (2, 4)  # least and most operations of an order of operations; the other kinds have fewer
LARGEST = 99
WORDINGS = {
    "equation":  ("Solve {t}={m} for x.", "Find x so that {t}={m}.", "{t}={m}. What is x?"),
    "order":     ("Compute {t}.", "What is {t}?", "Find the value of {t}."),
    "remainder": ("What is the remainder of {t} divided by {m}?", "Divide {t} by {m}. What is left over?",
                  "Find {t} modulo {m}."),
}  # fmt: skip
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
Tree = int | str | tuple


def show(tree: Tree, shape: bool = False) -> str:
    """A tree as text with as few brackets as possible; with `shape`, each number is written as n."""
    if not isinstance(tree, tuple):
        return "n" if shape and tree != "x" else str(tree)
    op, left, right = tree

    def side(part: Tree, least: int) -> str:
        inner = show(part, shape)
        return f"({inner})" if isinstance(part, tuple) and PRECEDENCE[part[0]] < least else inner

    return side(left, PRECEDENCE[op]) + op + side(right, PRECEDENCE[op] + 1)


@dataclass(frozen=True)
class Case:
    """A question: its tree, and `m`, the right side of an equation or a divisor (0 for an order of operations)."""

    kind: str
    tree: Tree
    m: int

    @property
    def template(self) -> str:
        return f"{self.kind} {show(self.tree, shape=True)}"

    @property
    def key(self) -> str:
        return f"{self.kind} {show(self.tree)} {self.m}"


def apply(op: str, x: int, y: int) -> int | None:
    """The value of one operation; None if it is not a whole number, negative or too large."""
    if op == "/":
        return x // y if y and x % y == 0 else None
    value = {"+": x + y, "-": x - y, "*": x * y}[op]
    return value if 0 <= value <= LARGEST else None


def value(tree: Tree, x: int = 0) -> int | None:
    """The value of a tree; None if a part of it has none."""
    if not isinstance(tree, tuple):
        return x if tree == "x" else int(tree)
    left, right = value(tree[1], x), value(tree[2], x)
    return None if left is None or right is None else apply(tree[0], left, right)


def _tree(rng: Random, operations: int) -> Tree:
    if operations == 0:
        return rng.randint(2, 40)
    op, n_left = rng.choice("++--**/"), rng.randrange(operations)
    n_right = operations - 1 - n_left
    left = _tree(rng, n_left)
    return op, left, rng.randint(2, 9) if op in "*/" and n_right == 0 else _tree(rng, n_right)


def _around(rng: Random, operations: int) -> Tree:
    """A tree with one x, in which the other side of each operation is a number."""
    tree: Tree = "x"
    for _ in range(operations):
        op = rng.choice("+-*/")
        number = rng.randint(2, 9) if op in "*/" else rng.randint(2, 60)
        tree = (op, number, tree) if op in "+*" and rng.random() < 0.5 else (op, tree, number)
    return tree


def _case(rng: Random, lengths: tuple[int, int]) -> Case | None:
    kind, (least, most) = rng.choice(tuple(WORDINGS)), lengths
    if kind == "equation":
        tree = _around(rng, rng.randint(max(1, least - 1), max(1, most - 1)))
        m = value(tree, rng.randint(2, 60))
        return None if m is None else Case(kind, tree, m)
    tree = _tree(rng, rng.randint(least, most) if kind == "order" else rng.randint(1, max(1, most - 2)))
    return None if value(tree) is None else Case(kind, tree, rng.randint(3, 12) if kind == "remainder" else 0)


def _evaluate(tree: Tree, write: Writer, right_first: bool) -> int:
    if not isinstance(tree, tuple):
        return int(tree)
    op, left, right = tree
    if right_first:
        y = _evaluate(right, write, True)
        return write("so", _evaluate(left, write, True), op, y)
    return write("so", _evaluate(left, write, False), op, _evaluate(right, write, False))


def _unwrap(tree: Tree, m: int, write: Writer, named: bool) -> int:
    """Solve tree = m for x, from the outermost operation; with `named`, lines begin with what they compute."""
    while isinstance(tree, tuple):
        op, left, right = tree
        inner, number = (right, left) if isinstance(left, int) else (left, right)
        m = write(f"{show(inner)}:" if named else "so", m, INVERSE[op], number)
        tree = inner
    return m


def solve(case: Case, rng: Random, slip_at: int = -1, slip: int = 0) -> str:
    """A solution in one of two styles: one step per line, the answer last."""
    write, style = Writer(slip_at, slip), rng.random() < 0.5
    if case.kind == "equation":
        answer = _unwrap(case.tree, case.m, write, style)
    else:
        answer = _evaluate(case.tree, write, style)
        if case.kind == "remainder":
            answer = write("left", answer, "-", write("whole", answer // case.m, "*", case.m))
    return "\n".join([*write.lines, f"Answer: {answer}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: a slip in one line, or a misread number or operation."""
    right = solve(case, rng).rsplit(": ", 1)[1]
    while True:
        if rng.random() < 0.6:
            wrong = solve(case, rng, rng.randrange(4), rng.choice((-10, -2, -1, 1, 2, 10)))
        else:
            tree = _misread(case.tree, rng)
            if value(tree, 30) is None:
                continue
            wrong = solve(Case(case.kind, tree, case.m), rng)
        if wrong.rsplit(": ", 1)[1] != right:
            return wrong


def _misread(tree: Tree, rng: Random) -> Tree:
    """The tree with one number or one operation changed."""
    if not isinstance(tree, tuple):
        return tree if tree == "x" else max(1, int(tree) + rng.choice((-2, -1, 1, 2, 10)))
    op, left, right = tree
    part = rng.randrange(3)
    if part == 0:
        return ({"+": "-", "-": "+", "*": "+", "/": "-"}[op], left, right)
    return (op, _misread(left, rng), right) if part == 1 else (op, left, _misread(right, rng))


def stream(split: str, rng: Random, lengths: tuple[int, int] = LENGTHS) -> Iterator[tuple[Case, Problem]]:
    """An endless stream of (case, problem); in dev and test every other problem has a template of that split only.

    `lengths` are the least and most operations; fewer serve as a curriculum.
    """
    count = 0
    while True:
        case = _case(rng, lengths)
        if case is None or mini.split_of(f"mini_math {case.key}") != split:
            continue
        home = mini.template_split("mini_math", case.template)
        if home != mini.next_home(split, count):
            continue
        question = rng.choice(WORDINGS[case.kind]).format(t=show(case.tree), m=case.m)
        solution = solve(case, rng)
        answer = solution.rsplit(": ", 1)[1]
        yield case, Problem(f"mini_math/{split}/{count}", question, answer, solution, case.template, home != "train")
        count += 1


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    return mini.first("mini_math", stream, split, n)


TASK = mini.task("mini_math", problems, parse, equal, "accuracy")
TASKS = (TASK,)
