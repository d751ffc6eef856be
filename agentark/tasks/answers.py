r"""Whether two answers are the same mathematical answer, and how an answer is read out of a text.

`same` decides by the cheapest means that can: the same words, one letter, one number (exactly, as a fraction); only what is left (sets,
intervals, radicals, expressions, matrices) goes to math-verify (symbolic.py).  COUNTS says how pairs were decided, and which could not be.

What is not compared: units ("5 cm" and "5 m" are one answer: only the number is asked for).  A percentage equals both its number and its value
(50 % is 50 and 0.5).  tests/answer_pairs.py holds what people judged, and where this differs.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from . import symbolic
from .problem import Parsed, Problem

LONGEST = 1000  # characters; what is longer is no answer

# How pairs were decided since the program began: "words", "letter", "number", "symbolic"; and those that could not be, and count as unequal:
# "too long", "no parse", "timeout", "crash".
COUNTS: Counter[str] = Counter()

# What only typesets an answer -> what it stands for, in this order.
_TYPESETTING = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\{,\}", ","),
        (r"\\[!,]", ""),
        (r"\\[;: ]|~|\\q?quad\b", " "),
        (r"\\(?:left|right|displaystyle|limits)\b", ""),
        (r"\\([%$&#])", r"\1"),
        (r"\^\{?\\circ\}?", " degrees "),
        (r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 "),
        (r"\\[dtc]?frac\s*(?:\{\s*(-?[0-9]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))", r" \1\2/\3\4 "),
        (r"(?<![A-Za-z])([AaPp])\.\s?m\b\.?", r"\1m"),
        (r"\s+", " "),
    )
)


_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def boxes(text: str) -> list[str]:
    r"""What stands in each \boxed{…} of a text (braces may nest), first to last; an unclosed one is left out."""
    found = []
    for start in _BOX.finditer(text):
        depth = 1
        for at in range(start.end(), min(len(text), start.end() + LONGEST)):
            depth += (text[at] == "{") - (text[at] == "}")
            if not depth:
                found.append(text[start.end() : at])
                break
    return found


def plain(text: str) -> str:
    r"""An answer without what only typesets it: $…$, **…**, \boxed{…}, \text{…}, \frac of whole numbers, the final full stop."""
    text = text.strip()
    for opening, closing in (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")):
        whole = text.rstrip(". ")
        inside = whole[len(opening) : -len(closing)].strip()
        if whole.startswith(opening) and whole.endswith(closing) and inside and opening not in inside:
            text = inside
    if text.startswith((r"\boxed", r"\fbox")) and len(boxes(text)) == 1 and text.rstrip(". ").endswith("}"):
        text = boxes(text)[0]
    for pattern, form in _TYPESETTING:
        text = pattern.sub(form, text)
    return text.strip().rstrip(".").strip()


# Numbers

_WHOLE = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_MONEY = r"(?:US\$|[$€£¥₹])"
_FIGURE = re.compile(
    rf"(?P<sign>[-+−]?)\s*{_MONEY}?\s*(?P<late>[-−]?)(?:(?P<whole>{_WHOLE})\s+(?P<num>[0-9]+)/(?P<den>[0-9]+)"
    rf"|(?P<top>{_WHOLE}(?:\.[0-9]+)?)\s*/\s*(?P<bottom>{_WHOLE}(?:\.[0-9]+)?)"
    rf"|(?P<plain>{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<power>[-+]?[0-9]{{1,2}})(?!\w))?)\s*(?P<percent>%|percent\b|per cent\b)?"
)
_UNIT = r"(?:[^\W\d_][\w°²³/^.'’]*|\([A-Za-z ]+\)|°[CF]?|[$€£¥₹])"
_UNITS = re.compile(rf"[-\s]*(?:{_UNIT}(?:[-\s]+{_UNIT})*)?[\s.]*")
_ONE_LETTER = set("amgslhtLVWNJKCF")  # units of one letter, and the article in "5 a day"; 2x and 3 y are no numbers
_NO_UNITS = {"or", "and", "to", "pi", "sqrt", "plus", "minus", "times", "squared", "mod", "if", "but", "not", "over"}
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_ANYWHERE = re.compile(
    rf"(?:(?<![\w.)])[-−])?{_MONEY}?(?<![\w.])(?:{_WHOLE}(?:\.[0-9]+)?(?:/[0-9]+(?![\w.]))?|\.[0-9]+)(?:\s?%)?"
)


def number(text: str) -> tuple[Fraction, bool] | None:
    """The one number that an answer consists of (currency, units, a percent sign may stand by it), and whether it is a percentage.

    "$1,234.50", "12 apples", "3/4", "1 1/2", "-5", "2e3", "2 million", "50%".  None for all else: "12 or 13", "3 apples and 4 pears", "x = 2", "2x",
    "5:45".
    """
    text = plain(text) if len(text) <= LONGEST else ""
    found = _FIGURE.match(text)
    if not found or not _UNITS.fullmatch(text[found.end() :]) or found["sign"] and found["late"]:
        return None
    units = re.findall(r"[^\W\d_]+", text[found.end() :])
    if any(unit not in _ONE_LETTER if len(unit) == 1 else unit.lower() in _NO_UNITS for unit in units):
        return None
    top, bottom = (
        (found["plain"], "1") if found["plain"] else (found["top"] or found["num"], found["bottom"] or found["den"])
    )
    if not Fraction(bottom.replace(",", "")):
        return None
    value = Fraction(top.replace(",", "").rstrip(".")) / Fraction(bottom.replace(",", ""))
    value += int(found["whole"].replace(",", "")) if found["whole"] else 0
    value *= Fraction(10) ** int(found["power"] or 0) * _SCALES.get(units[0].lower() if units else "", 1)
    return -value if found["sign"] + found["late"] in ("-", "−") else value, bool(found["percent"])


def numbers(text: str) -> list[str]:
    """All numbers in a text, first to last, as they are written: "$1,234.50", "3/4", "50%"."""
    return [found.strip() for found in _ANYWHERE.findall(text)]


def figure(text: str) -> str | None:
    """The number that an answer consists of in its plain form: "1234.5", "2/3", "50%"; None where it is no number."""
    found = number(text)
    if found is None:
        return None
    value, percent = found
    places = next((n for n in range(30) if 10**n % value.denominator == 0), None)
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}" if places is not None else ""
    shown = (
        str(value)
        if places is None
        else "-" * (value < 0) + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
    )
    return shown + "%" * percent


def _same_number(gold: tuple[Fraction, bool], answer: tuple[Fraction, bool]) -> bool:
    (x, x_percent), (y, y_percent) = gold, answer
    return x == y or x_percent != y_percent and (x / 100 == y if x_percent else x == y / 100)


# Reading an answer out of a text

_LINE = re.compile(
    r"^[ \t>*_#]*(?:final[ \t]+)?answer[*_]*[ \t]*(?::|is\b:?)[*_]*\s*(.*)$", re.IGNORECASE | re.MULTILINE
)
_PHRASE = re.compile(r"\banswer(?:[ \t]+is|[ \t]*:)[ \t]*:?[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_HASHES = re.compile(r"^####[ \t]*(.+)$", re.MULTILINE)
_BEGUN = re.compile(r"(?:\banswer\s*(?:is|:)|^####)[\s*:]*\Z", re.IGNORECASE | re.MULTILINE)
_REFUSAL = re.compile(
    r"\b(?:can\s?not|can['’]t|unable|(?:do|does)(?: not|n['’]t) know|not sure|unknown|unclear|not enough|insufficient|unanswerable|n/a|sorry|as an ai"
    r"|impossible to (?:say|tell|know|determine))\b",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether an answer says that there is none: "I cannot determine this", "unknown"."""
    return bool(_REFUSAL.search(text[:LONGEST]))


def cut(text: str) -> bool:
    r"""Whether a text ends inside its answer: in an open \boxed{, or right behind "Answer:", "the answer is" or "####"."""
    opened = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    return opened >= 0 and text.count("{", opened) > text.count("}", opened) or bool(_BEGUN.search(text.rstrip()[-60:]))


def parse_number(text: str, problem: Problem) -> Parsed:
    r"""Strict: the one number on the last "Answer:" line.  Flexible: else in the last \boxed{}, else behind the last "####", else the text's last.

    Several numbers on the answer line are a hedge and a refusal there is no answer; a text that ends inside its answer has none.
    """
    said = _LINE.findall(text)
    if said and not refuses(said[-1]):
        line = said[-1].strip()
        strict = figure(line) or figure(line.rsplit("=", 1)[-1])
        if strict is None and len(numbers(line)) == 1:
            strict = figure(numbers(line)[0])
        if strict is not None:
            return Parsed(strict, strict)
    if cut(text) or said and (numbers(said[-1]) or refuses(said[-1])):
        return Parsed(None, None)
    for found in (boxes(text), _HASHES.findall(text), numbers(text)):
        last = next((one for one in map(figure, reversed(found)) if one is not None), None)
        if last is not None:
            return Parsed(None, last)
    return Parsed(None, None)


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: what stands on the last "Answer:" line, within its \boxed{} where it has one.

    Flexible: else the last \boxed{}, else what stands behind the last "####", else behind the last "the answer is".  A refusal is no
    answer, and a text that ends inside its answer has none.
    """
    said = _LINE.findall(text)
    if cut(text) or said and refuses(said[-1]):
        return Parsed(None, None)
    if said:
        strict = (boxes(said[-1]) or [said[-1]])[-1].strip()
        return Parsed(strict, strict)
    found = boxes(text) or _HASHES.findall(text) or _PHRASE.findall(text)
    return Parsed(None, found[-1].strip() if found and not refuses(found[-1]) else None)


# Comparing

_WORDED = re.compile(r"[^\W\d_][^\W\d_]+(?:[\s.,;:'’-]+[^\W\d_]+)*[\s.,;:!]*")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
_MATHEMATICAL = re.compile(r"[0-9\\=<>^+*/()\[\]{}|∞π√]|^\W*(?:[A-Za-z]{1,2}|pi|infinity)\W*$")
_AS_LATEX = tuple(
    (re.compile(pattern), form)
    for pattern, form in (
        (r"\\[()\[\]]|\$", ""),
        (r"(?<!\\)\bsqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)", r"\\sqrt{\1\2}"),
        (r"√\s*([0-9]+|\w)", r"\\sqrt{\1}"),
        (r"\*\*", "^"),
        (r"\*|×", r"\\cdot "),
        (r"(?<!\\)\bpi\b|π", r"\\pi "),
        (r"(?<!\\)\b(?:infinity|inf|oo)\b|∞", r"\\infty "),
        ("÷", "/"),
        ("−|–", "-"),
        ("≤|<=", r"\\le "),
        ("≥|>=", r"\\ge "),
        ("≠|!=", r"\\ne "),
        (r"\\text\s*\{\s*(?:or|and)\s*\}|(?<!\\)\b(?:or|and)\b", ","),
        (r"∪|(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),
        (r"^\s*\{([^{}\\]*)\}\s*$", r"\\{\1\\}"),
    )
)


def same(gold: str, answer: str) -> bool:
    """Whether `answer` is the same mathematical answer as `gold`.  Raises symbolic.AnswerError where math-verify is needed and absent."""
    equal, how = _decide(gold, answer)
    COUNTS[how] += 1
    return equal


def _decide(gold: str, answer: str) -> tuple[bool, str]:
    if max(len(gold), len(answer)) > LONGEST:
        return False, "too long"
    x, y = plain(gold), plain(answer)
    if not x or not y or x == y or _WORDED.fullmatch(x) and _WORDED.fullmatch(y) and _words(x) == _words(y):
        return bool(x and y), "words"
    m, n = number(gold), number(answer)
    if m is not None and n is not None:
        return _same_number(m, n), "number"
    one, other = _LETTER.fullmatch(x), _LETTER.fullmatch(y)
    if one and (other or one[1] in "ABCDE"):  # an option of a question with choices, in either case; or a variable
        return other is not None and one[1] in (other[1], other[1].upper() if one[1] in "ABCDE" else ""), "letter"
    if not _MATHEMATICAL.search(x) or not _MATHEMATICAL.search(y):
        return False, "words"
    return symbolic.compare(_latex(gold), _latex(answer))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def _latex(text: str) -> str:
    """An answer as a LaTeX formula: math-verify gets no other form."""
    text = (boxes(text) or [text.strip().rstrip(".")])[-1]
    for pattern, form in _AS_LATEX:
        text = pattern.sub(form, text)
    return f"${text.strip()}$"
