"""What an answer is, and its value: a key, by which answers are compared without asking math-verify.

Keys are equal or not, so that comparing them is an equivalence by construction: numbers are exact fractions (a
percentage is its hundredth), lists are sets, tuples and intervals keep their order and brackets, words lose case,
punctuation and their first article.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache

from . import moments
from .figures import Quantity, quantity
from .typesetting import plain, simple

Key = tuple[str, Hashable]

_MATHEMATICAL = re.compile(r"[0-9\\=<>^+*/()\[\]{}|∞π√±∅∪∩≤≥≠-]|^\W*(?:[A-Za-z]|[b-df-hj-np-tv-z]{2}|pi|infinity)\W*$")
_FUNCTIONS = re.compile(r"\b(?:sqrt|sin|cos|tan|cot|sec|csc|log|exp|lim|mod|det|max|min|gcd|lcm|inf|infinity)\b")
_OPTION = "ABCDEFGHJ"  # letters of options, in upper or lower case; other letters are variables, also i


@lru_cache(maxsize=65536)
def key(text: str) -> Key:
    """What an answer is and its value: two answers are the same if and only if their keys are, except for formulas."""
    return key_of(plain(text))


def key_of(text: str, depth: int = 0) -> Key:
    """The key of an answer without typesetting (`plain`)."""
    if day := moments.day(text):
        return "date", day
    if clock := moments.clock(text):
        return "time", clock
    if read := quantity(text):
        return "number", _value(read)
    if letter := re.fullmatch(r"\(?([A-Za-z])\)?[.:)]?", text):
        return "letter", letter[1].upper() if letter[1].upper() in _OPTION else letter[1]
    if listed := _list(text, depth) if depth < 3 else None:
        return listed
    if _is_words(text):
        return "words", _words(text)
    return ("formula", text) if _MATHEMATICAL.search(text) else ("words", as_text(text))


def _value(read: Quantity) -> Fraction:
    return read.value / 100 if read.percent else read.value


def _is_words(text: str) -> bool:
    if "\\" in text or re.search("[=^√∞]", text) or _FUNCTIONS.search(text):
        return False
    if re.fullmatch(r"[A-Za-z]+_?\{?[0-9][A-Za-z0-9_{}]*", text):  # H2O, B12
        return True
    return bool(re.search(r"[^\W\d_]{3}", text)) or (text.isalpha() and not _MATHEMATICAL.search(text))


def _words(text: str) -> tuple[str, ...]:
    """The words of a text, without case, punctuation and a first article."""
    found = re.findall(r"[^\W_]+", re.sub(r"[_{}]|(?<=\w)'(?=s\b)", "", text.casefold()))
    return tuple(found[1:] if len(found) > 1 and found[0] in ("a", "an", "the") else found)


def as_text(text: str) -> str:
    """A text as texts are compared that are no answers of another kind: without case and spacing."""
    return " ".join(simple(text).casefold().split()).rstrip(".")


# Lists, sets and tuples

_JOINT = re.compile(r"\s*(?:[,;]\s*)?\b(?:and|or)\b\s*|\s*;\s*|\s*&\s*|,\s+|\s*\n\s*", re.IGNORECASE)
_EMPTY = re.compile(r"\\emptyset|\\varnothing|∅|\\?\{\s*\\?\}")
_SIGNS = re.compile(r"(?:\\pm(?![a-z])|±|\+/-)\s*(.+)")
_NAMED = re.compile(r"([A-Za-z](?:_\{?\w\}?)?)\s*=\s*([^=]+)")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


def _list(text: str, depth: int) -> Key | None:
    """The key of a list: of its elements without order, or in their order and brackets; None if it is none."""
    if _EMPTY.fullmatch(text):
        return "list", frozenset()
    if (signs := _SIGNS.fullmatch(text)) and (read := quantity(signs[1])):
        return _unordered({("number", _value(read)), ("number", -_value(read))})
    named = _NAMED.fullmatch(text)
    if named and not parts_of(named[2])[1:]:
        inner = key_of(named[2].strip(), depth + 1)
        return inner if inner[0] == "number" else None
    opening, inside, closing = bracketed(text)
    parts = parts_of(inside)
    if len(parts) < 2 and not (opening == "{" and parts):
        return None
    values, names = parts, {""}
    if all(matches := [_NAMED.fullmatch(part) for part in parts]):  # x = 1 or x = 2
        values, names = [match[2] for match in matches if match], {match[1] for match in matches if match}
    elif matches[0]:  # n = 2, 3, 4
        values = [matches[0][2], *parts[1:]]
    quantities = [quantity(value) for value in values]
    units = [tuple(unit.rstrip("s").lower() for unit in each.units) if each else () for each in quantities]
    elements: list[Hashable] = [key_of(value.strip(), depth + 1) for value in values]
    if any(element[0] == "formula" for element in elements):  # type: ignore[index]
        return None
    if len({*units} - {()}) > 1:  # 3 apples and 4 pears
        elements = list(zip(elements, units, strict=True))
    if len(names) > 1:  # x = 1, y = 2
        elements = [(match and match[1], element) for match, element in zip(matches, elements, strict=True)]
    if opening in ("(", "["):
        return "list", (opening, tuple(elements), closing)
    return _unordered(set(elements))


def _unordered(elements: set) -> Key:
    return next(iter(elements)) if len(elements) == 1 else ("list", frozenset(elements))


def bracketed(text: str) -> tuple[str, str, str]:
    """The brackets around all of a text and what they hold: intervals may be half open; "" for none."""
    text = re.sub(r"\\([{}])", r"\1", text)
    if text[:1] not in _PAIRS or text[-1:] not in ("}" if text[:1] == "{" else ")]"):
        return "", text, ""
    level = 0
    for position, character in enumerate(text):
        level += (character in "([{") - (character in ")]}")
        if not level:
            whole = position == len(text) - 1
            return (text[0], text[1:-1], text[-1]) if whole else ("", text, "")
    return "", text, ""


def parts_of(text: str) -> list[str]:
    """The elements of a list, which commas, semicolons, "and" or "or" separate outside brackets."""
    held = re.sub(r"^\s*(?:both|either)\s+", "", text, flags=re.IGNORECASE)
    shield = _shielded(held)
    cuts = [match.span() for match in _JOINT.finditer(shield)]
    parts = _cut(held, cuts)
    if any("," in _shielded(part) and not quantity(part) for part in parts):  # 3,5,7 has no spaces
        cuts = sorted({*cuts, *(match.span() for match in re.finditer(r",(?=\S)", shield))})
        parts = _cut(held, cuts)
    return [part for part in parts if part]


def _cut(text: str, cuts: list[tuple[int, int]]) -> list[str]:
    starts, ends = [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(text)]
    return [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _shielded(text: str) -> str:
    """A text of the same length in which all that stands in brackets is hidden."""
    level, shown = 0, []
    for character in text:
        level += character in "([{"
        shown.append("_" if level > 0 else character)
        level -= character in ")]}"
    return "".join(shown)
