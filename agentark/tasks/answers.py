r"""Answers: reading them from a reply, and whether two of them are the same.  The one judge of all tasks, own data too.

`equal` decides votes.  It compares keys (keys.py), so that it is symmetric and transitive on all answers that have one:
numbers with any unit or currency, percentages (50 % is 0.5), letters, words, dates, times, and lists, sets and tuples
of these.  Formulas have none.  They go to math-verify (symbolic.py) in a fixed order, so that `equal` is symmetric for
them too, and transitive as far as math-verify is, which compares a decimal with an irrational number to one part in a
million.

A gold answer is more lenient than that: 50 % is also 50, and (1, 2) is also 1, 2.  Votes cannot be, for 50 is not 0.5.
The leniency is therefore in the reading: `parse`, `parse_number` and `parse_like_gold` return an answer in the form of
the gold answer (`in_form_of`), after which `equal` decides.  `same` does both, for a gold answer and an answer.

Units are not compared: "5 cm" and "5 m" are the same answer.  tests/answer_pairs.py has the judgments of people, and
where this module differs from them.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from fractions import Fraction

from . import moments, replies, symbolic
from .assertions import refuses
from .figures import Quantity, figure, number, numbers, quantity, written
from .keys import Key, as_text, bracketed, key, key_of, parts_of
from .problem import Parsed, Problem
from .replies import cut
from .typesetting import LONGEST, boxes, compiled, plain, simple

# How pairs were decided since the program began: "words" (or identical texts), "number", "letter", "list", "date",
# "time" or "symbolic".  Pairs that could not be decided count as unequal: "too long", "too large", "no parse",
# "timeout" or "crash".
COUNTS: Counter[str] = Counter()


# Reading


def parse_number(text: str, problem: Problem) -> Parsed:
    """The number that a reply gives, in the form of the gold answer: see replies.parse_number."""
    return _formed(replies.parse_number(text, problem), problem.answer)


def parse(text: str, problem: Problem) -> Parsed:
    """The answer that a reply gives, in the form of the gold answer: see replies.parse."""
    return _formed(replies.parse(text, problem), problem.answer)


def parse_like_gold(text: str, problem: Problem) -> Parsed:
    """The number, the letter of an option or the other answer that a reply gives, whichever the gold answer is."""
    return _formed(replies.parse_like_gold(text, problem), problem.answer)


def _formed(parsed: Parsed, gold: str) -> Parsed:
    strict, flexible = (answer and in_form_of(gold, answer) for answer in (parsed.strict, parsed.flexible))
    return Parsed(strict, flexible)


# Comparing


def same(gold: str, answer: str) -> bool:
    """Whether `answer` is right if `gold` is, counted in COUNTS.  Not transitive: 50 = 50 % = 0.5.

    Raises symbolic.AnswerError if math-verify is needed but not installed.
    """
    return equal(gold, in_form_of(gold, answer))


def equal(x: str, y: str) -> bool:
    """Whether two answers are the same answer, counted in COUNTS: an equivalence, as the module says.

    Raises symbolic.AnswerError if math-verify is needed but not installed.
    """
    decided, how = _decide(x, y)
    COUNTS[how] += 1
    return decided


def _decide(x: str, y: str) -> tuple[bool, str]:
    if x.strip() == y.strip():
        return bool(x.strip()), "words"
    if max(len(x), len(y)) > LONGEST:
        return as_text(x) == as_text(y), "too long"
    first, second = key(x), key(y)
    if "formula" not in (first[0], second[0]) or first == second:
        return first == second and first[1] != "", first[0] if first[0] == second[0] else "words"
    if not {first[0], second[0]} <= {"formula", "number", "letter", "list"}:
        return False, "words"
    return symbolic.compare(*sorted((_latex(x, first), _latex(y, second))))


# The form of the gold answer

_LETTERED = re.compile(r"(?:option\s+)?(?:\(([A-J])\)|([A-J])[).:])\s*(\S.*)?", re.IGNORECASE)


def in_form_of(gold: str, answer: str) -> str:
    """An answer in the form of the gold answer, where that form is more lenient than `equal` is.

    If one of the two is a percentage, the other is read as one of its two values, the one that is nearer to the gold
    answer in size: 50 as 50 %, but 0.5 not as 0.5 %.  A list is read as a tuple if the gold answer is one, and a tuple
    as a list; an option as its letter or its text; an ambiguous date as the nearer one.  Only the kind and size of the
    gold answer count here, so that what is read does not depend on whether it is right; but of "B) Lyon", an answer
    may have the letter or the text.
    """
    if max(len(gold), len(answer)) > LONGEST:
        return answer
    x, y = plain(gold), plain(answer)
    if x == y:
        return answer
    target, read = quantity(x), quantity(y)
    if target and read:
        return answer if target.percent == read.percent else _percent_in_form_of(target, read)
    if (goal := _nearest_date(x, y)) is not None:
        return goal
    if (lettered := _LETTERED.fullmatch(x)) and lettered[3]:
        own = _LETTERED.fullmatch(y) or re.fullmatch("([A-J])()()", y, re.IGNORECASE)
        letter = (own[1] or own[2]).upper() == (lettered[1] or lettered[2]).upper() if own else False
        if (own and letter and not own[3]) or (not own and key_of(lettered[3]) == key_of(y)):
            return gold
    elif not lettered and (own := _LETTERED.fullmatch(y)) and own[3] and key_of(x)[0] in ("letter", "words"):
        return (own[1] or own[2]).upper() if key_of(x)[0] == "letter" else own[3]
    (opening, inside, closing), (left, within, right) = bracketed(x), bracketed(y)
    n = len(parts_of(inside))
    if n > 1 and n == len(parts_of(within)):
        if not left and (opening + closing == "()" or (opening + closing == "[]" and n > 2)):  # [1, 2] is an interval
            return opening + ", ".join(parts_of(within)) + closing
        if not opening and left + right in ("()", "[]"):
            return ", ".join(parts_of(within))
    return answer


def _percent_in_form_of(gold: Quantity, read: Quantity) -> str:
    """A percentage as a number, or a number as a percentage, whichever the gold answer is.

    A sign may be missing from percentages of 1 % and more only: 0.5 % is not 0.5.
    """
    readings = [read.value / 100 if read.percent else read.value * 100]
    if abs(read.value) >= 1:
        readings.append(read.value)
    if gold.value and all(readings):
        sizes = [max(abs(gold.value / reading), abs(reading / gold.value)) for reading in readings]
        return written(readings[sizes.index(min(sizes))], gold.percent)
    return written(readings[0], gold.percent)


def _nearest_date(gold: str, answer: str) -> str | None:
    """An ambiguous date as the one that is nearer to the gold answer; None if neither is ambiguous."""
    golds, read = moments.days_of(gold), moments.days_of(answer)
    if len(golds) == 1 and len(read) == 2 and all(golds[0]):
        near = min(read, key=lambda day: abs(date(*day) - date(*golds[0])))
        return date(*near).isoformat()
    if len(golds) == 2 and len(read) == 1 and all(read[0]):
        return gold if read[0] in golds else answer
    return None


# Formulas

_AS_LATEX = compiled(
    (r"\\[()\[\]]|\$", ""), (r"\\(?:left|right)(?![a-zA-Z])", ""),
    (r"(?<!\\)\bsqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)", r"\\sqrt{\1\2}"),
    (r"(?<!\\)\bexp\s*\(([^()]*)\)", r"e^{\1}"), (r"\+\s*-", "-"), (r"(?<=[0-9])i\b", " i"),
    (r"√\s*([0-9]+|\w)", r"\\sqrt{\1}"), (r"\*\*", "^"), (r"\*|×|·", r"\\cdot "),
    (r"(?<!\\)\bpi\b|π", r"\\pi "), (r"(?<!\\)\b(?:infinity|inf|oo)\b|∞", r"\\infty "), (r"±", r"\\pm "),
    ("÷", "/"), ("≤|<=", r"\\le "), ("≥|>=", r"\\ge "), ("≠|!=", r"\\ne "),
    (r"\\text\s*\{\s*(?:or|and)\s*\}|(?<!\\)\b(?:or|and)\b", ","),
    (r"∪|(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "), (r"^\s*\{([^{}\\]*)\}\s*$", r"\\{\1\\}"),
)  # fmt: skip


def _latex(text: str, of: Key) -> str:
    """An answer as a LaTeX formula, the only form that is given to math-verify."""
    if isinstance(of[1], Fraction):
        sign, value = "-" * (of[1] < 0), abs(of[1])
        return f"${sign}{value.numerator}$" if value.denominator == 1 else (
            rf"${sign}\frac{{{value.numerator}}}{{{value.denominator}}}$")  # fmt: skip
    text = simple(text)
    text = (boxes(text) or [text.strip().rstrip(".")])[-1]
    for pattern, form in _AS_LATEX:
        text = pattern.sub(form, text)
    return f"${text.strip()}$"


__all__ = [
    "COUNTS", "boxes", "cut", "equal", "figure", "in_form_of", "key", "number", "numbers", "parse", "parse_like_gold",
    "parse_number", "plain", "refuses", "same",
]  # fmt: skip
