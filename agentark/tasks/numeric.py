"""Tasks whose answer is a number: writing solutions, reading answers and comparing them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from .problem import Parsed, Problem, answer_lines, boxed

INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}


@dataclass
class Writer:
    """Writes the lines of a solution; the result of line `slip_at` is wrong by `slip`, and later lines build on it."""

    slip_at: int = -1
    slip: int = 0

    def __post_init__(self):
        self.lines: list[str] = []

    def __call__(self, verb: str, x: int, op: str, y: int) -> int:
        value = {"+": x + y, "-": x - y, "*": x * y, "/": x // y if y else 0}[op]
        if len(self.lines) == self.slip_at:
            value = max(0, value + self.slip)
        self.lines.append(f"{verb} {x}{op}{y}={value}".strip())
        return value


_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def numbers(text: str) -> list[str]:
    """All numbers in a text, first to last, without thousands separators."""
    return [n.replace(",", "") for n in _NUMBER.findall(text)]


def _number(text: str) -> str | None:
    """The only number in a text (a unit may follow it), without thousands separators; None if there are others."""
    only = numbers(text)
    return only[0] if len(only) == 1 else None


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: the number on the last "Answer:" line.  Flexible: else the last one in a \boxed{}, else the last."""
    lines = answer_lines(text)
    strict = _number(lines[-1]) if lines else None
    if strict is not None:
        return Parsed(strict, strict)
    if lines and _NUMBER.search(lines[-1]):  # several numbers are a hedge, not an answer
        return Parsed(None, None)
    in_box = [n for n in map(_number, boxed(text)) if n is not None]
    anywhere = numbers(text)
    return Parsed(None, in_box[-1] if in_box else anywhere[-1] if anywhere else None)


def equal(gold: str, answer: str) -> bool:
    """Whether two answers are equal as numbers: 12, 12.0 and 1.2e1 are."""
    try:
        return Decimal(gold) == Decimal(answer)  # as floats, 2**53 and 2**53 + 1 would be equal
    except InvalidOperation:
        return False
