"""mini_math: equations, order of operations and remainders, in the role that MATH has in the paper.

(reasoning-gym has such questions, too, but no worked steps and no held-out forms, which everything after this needs.)

Everything is a tree of sums: a number, "x", or (operation, left, right).  An equation is a tree around x and its value.
The *template* is the kind with the tree's shape: half of the shapes never occur in training, as in mini_gsm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from .numeric import Writer, equal, parse
from .problem import Problem, Task, bucket, take

LARGEST = 299
WORDINGS = {
    "equation": ("Solve {t}={m} for x.", "Find x so that {t}={m}.", "{t}={m}. What is x?"),
    "order": ("Compute {t}.", "What is {t}?", "Find the value of {t}."),
    "remainder": (
        "What is the remainder of {t} divided by {m}?",
        "Divide {t} by {m}. What is left over?",
        "Find {t} modulo {m}.",
    ),
}
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}
Tree = int | str | tuple


def show(tree: Tree, shape: bool = False) -> str:
    """A tree as text with as few brackets as possible; as a `shape`, each number is an n."""
    if not isinstance(tree, tuple):
        return "n" if shape and tree != "x" else str(tree)
    op, left, right = tree

    def side(part: Tree, least: int) -> str:
        inner = show(part, shape)
        return f"({inner})" if isinstance(part, tuple) and PRECEDENCE[part[0]] < least else inner

    return side(left, PRECEDENCE[op]) + op + side(right, PRECEDENCE[op] + 1)


@dataclass(frozen=True)
class Case:
    """A question: its tree, and `m`: an equation's right side, or what is divided by (0 for an order of operations)."""

    kind: str
    tree: Tree
    m: int

    @property
    def template(self) -> str:
        return f"{self.kind} {show(self.tree, shape=True)}"

    @property
    def key(self) -> str:
        return f"{self.kind} {show(self.tree)} {self.m}"


def template_split(template: str) -> str:
    """As in mini_gsm: "train" templates may occur in every split, the others in their own alone."""
    return bucket(f"mini_math template {template}", (50, 10, 40))


def apply(op: str, x: int, y: int) -> int | None:
    """The value of one operation; None where it is not whole, is negative or too large."""
    if op == "/":
        return x // y if y and x % y == 0 else None
    value = {"+": x + y, "-": x - y, "*": x * y}[op]
    return value if 0 <= value <= LARGEST else None


def value(tree: Tree, x: int = 0) -> int | None:
    """A tree's value, or None where a part of it has none."""
    if not isinstance(tree, tuple):
        return x if tree == "x" else tree
    left, right = value(tree[1], x), value(tree[2], x)
    return None if left is None or right is None else apply(tree[0], left, right)


def _tree(rng: Random, operations: int) -> Tree:
    if operations == 0:
        return rng.randint(2, 40)
    op = rng.choice("++--**/")
    left = rng.randrange(operations)
    if op in "*/":
        return (
            op,
            _tree(rng, left),
            rng.randint(2, 9) if operations - 1 - left == 0 else _tree(rng, operations - 1 - left),
        )
    return (op, _tree(rng, left), _tree(rng, operations - 1 - left))


def _around(rng: Random, operations: int) -> Tree:
    """A tree around x, the other side of each operation a number."""
    tree: Tree = "x"
    for _ in range(operations):
        op = rng.choice("+-*/")
        number = rng.randint(2, 9) if op in "*/" else rng.randint(2, 60)
        tree = (op, number, tree) if op in "+*" and rng.random() < 0.5 else (op, tree, number)
    return tree


def _case(rng: Random) -> Case | None:
    kind = rng.choice(tuple(WORDINGS))
    if kind == "equation":
        tree = _around(rng, rng.randint(1, 3))
        m = value(tree, rng.randint(2, 60))
        return None if m is None else Case(kind, tree, m)
    tree = _tree(rng, rng.randint(2, 4) if kind == "order" else rng.randint(1, 2))
    return None if value(tree) is None else Case(kind, tree, rng.randint(3, 12) if kind == "remainder" else 0)


def _evaluate(tree: Tree, write: Writer, right_first: bool) -> int:
    if not isinstance(tree, tuple):
        return tree
    op, left, right = tree
    if right_first:
        y = _evaluate(right, write, True)
        x = _evaluate(left, write, True)
    else:
        x, y = _evaluate(left, write, False), _evaluate(right, write, False)
    return write("so", x, op, y)


def _unwrap(tree: Tree, m: int, write: Writer, named: bool) -> int:
    """Solve tree = m for x: undo the outermost operation until x is alone; `named` says what each result is the value of."""
    while tree != "x":
        op, left, right = tree
        inner, number = (right, left) if isinstance(left, int) else (left, right)
        m = write(f"{show(inner)}:" if named else "so", m, {"+": "-", "-": "+", "*": "/", "/": "*"}[op], number)
        tree = inner
    return m


def solve(case: Case, rng: Random, slip_at: int = -1, slip: int = 0) -> str:
    """A solution in one of two styles, a step a line, the answer last."""
    write, style = Writer(slip_at, slip), rng.random() < 0.5
    if case.kind == "equation":
        answer = _unwrap(case.tree, case.m, write, style)
    else:
        answer = _evaluate(case.tree, write, style)
        if case.kind == "remainder":
            answer = write("left", answer, "-", write("whole", answer // case.m, "*", case.m))
    return "\n".join([*write.lines, f"Answer: {answer}"])


def spoil(case: Case, rng: Random) -> str:
    """A plausible wrong solution: a slip in one line, or another problem solved than the one that was asked (a number or an operation misread)."""
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
        return tree if tree == "x" else max(1, tree + rng.choice((-2, -1, 1, 2, 10)))
    op, left, right = tree
    at = rng.randrange(3)
    if at == 0:
        return ({"+": "-", "-": "+", "*": "+", "/": "-"}[op], left, right)
    return (op, _misread(left, rng), right) if at == 1 else (op, left, _misread(right, rng))


def stream(split: str, rng: Random) -> Iterator[tuple[Case, Problem]]:
    """Endless (case, problem) of a split; in dev and test every other problem has a template of that split alone."""
    count = 0
    want_held_out = False
    while True:
        case = _case(rng)
        if case is None or bucket(f"mini_math {case.key}", (80, 10, 10)) != split:
            continue
        home = template_split(case.template)
        held_out = home != "train"
        if held_out != want_held_out or (held_out and home != split):
            continue
        question = rng.choice(WORDINGS[case.kind]).format(t=show(case.tree), m=case.m)
        solution = solve(case, rng)
        yield (
            case,
            Problem(
                f"mini_math/{split}/{count}", question, solution.rsplit(": ", 1)[1], solution, case.template, held_out
            ),
        )
        count += 1
        want_held_out = split != "train" and not want_held_out


def problems(split: str, n: int) -> list[Problem]:
    """The first n problems of a split."""
    keyed = ((case.key, problem) for case, problem in stream(split, Random(f"mini_math {split}")))
    return take(keyed, n, f"mini_math/{split}")


TASK = Task("mini_math", problems, parse, equal, sizes={"train": 4000, "dev": 500, "test": 1000})
