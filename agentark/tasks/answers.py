r"""Mathematical answers: reading them from a text, and whether two of them are the same.

`same` uses the cheapest comparison that can decide: the same words, one letter, or one number (exactly, as a fraction).
Only the remaining pairs (sets, intervals, radicals, expressions, matrices) go to math-verify (symbolic.py).  COUNTS
holds how pairs were decided, and which could not be.

Units are not compared: "5 cm" and "5 m" are the same answer.  A percentage equals its number and its value (50 % is
both 50 and 0.5).  tests/answer_pairs.py has the judgments of people, and where this module differs from them.
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

from . import symbolic
from .problem import Parsed, Problem

LONGEST = 1000  # characters; longer texts are not answers

# How pairs were decided since the program began: "words", "letter", "number" or "symbolic".  Pairs that could not be
# decided count as unequal: "too long", "no parse", "timeout" or "crash".
COUNTS: Counter[str] = Counter()


def _compiled(*replacements: tuple[str, str]) -> tuple[tuple[re.Pattern, str], ...]:
    return tuple((re.compile(pattern), form) for pattern, form in replacements)


# Typesetting in an answer -> its replacement, applied in this order.
_TYPESETTING = _compiled(
    (r"\{,\}", ","), (r"\\[!,]", ""), (r"\\[;: ]|~|\\q?quad\b", " "), (r"\\(?:left|right|displaystyle|limits)\b", ""),
    (r"\\([%$&#])", r"\1"), (r"\^\{?\\circ\}?", " degrees "),
    (r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 "),
    (r"\\[dtc]?frac\s*(?:\{\s*(-?[0-9]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))", r" \1\2/\3\4 "),
    (r"(?<![A-Za-z])([AaPp])\.\s?m\b\.?", r"\1m"), (r"\s+", " "),
)  # fmt: skip
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def boxes(text: str) -> list[str]:
    r"""The contents of each \boxed{…} of a text (braces may nest), first to last, without unclosed ones."""
    contents = []
    for opening in _BOX.finditer(text):
        depth = 1
        for position in range(opening.end(), min(len(text), opening.end() + LONGEST)):
            depth += (text[position] == "{") - (text[position] == "}")
            if not depth:
                contents.append(text[opening.end() : position])
                break
    return contents


def plain(text: str) -> str:
    r"""An answer without its typesetting: $…$, **…**, \boxed{…}, \text{…}, \frac of integers, the final full stop."""
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
    rf"|(?P<plain>{_WHOLE}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE](?P<power>[-+]?[0-9]{{1,2}})(?!\w))?)"
    r"\s*(?P<percent>%|percent\b|per cent\b)?"
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
    """The number that is the whole answer (with a currency, units or a percent sign), and whether it is a percentage.

    For example "$1,234.50", "12 apples", "3/4", "1 1/2", "-5", "2e3", "2 million" and "50%".  None for other texts:
    "12 or 13", "3 apples and 4 pears", "x = 2", "2x", "5:45".
    """
    text = plain(text) if len(text) <= LONGEST else ""
    match = _FIGURE.match(text)
    if not match or not _UNITS.fullmatch(text[match.end() :]) or (match["sign"] and match["late"]):
        return None
    units = re.findall(r"[^\W\d_]+", text[match.end() :])
    if any(unit not in _ONE_LETTER if len(unit) == 1 else unit.lower() in _NO_UNITS for unit in units):
        return None
    top, bottom = match["plain"] or match["top"] or match["num"], match["bottom"] or match["den"] or "1"
    if not Fraction(bottom.replace(",", "")):
        return None
    value = Fraction(top.replace(",", "").rstrip(".")) / Fraction(bottom.replace(",", ""))
    value += int(match["whole"].replace(",", "")) if match["whole"] else 0
    value *= Fraction(10) ** int(match["power"] or 0) * _SCALES.get(units[0].lower() if units else "", 1)
    return -value if match["sign"] + match["late"] in ("-", "−") else value, bool(match["percent"])


def numbers(text: str) -> list[str]:
    """All numbers in a text, first to last, as written: "$1,234.50", "3/4", "50%"."""
    return [written.strip() for written in _ANYWHERE.findall(text)]


def figure(text: str) -> str | None:
    """The number that is the whole answer in its plain form: "1234.5", "2/3", "50%"; None if it is not a number."""
    parsed = number(text)
    if parsed is None:
        return None
    value, percent = parsed
    places = next((n for n in range(30) if 10**n % value.denominator == 0), None)
    if places is None:
        return str(value) + "%" * percent
    digits = f"{abs(value.numerator) * 10**places // value.denominator:0{places + 1}d}"
    shown = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return "-" * (value < 0) + shown + "%" * percent


def _same_number(gold: tuple[Fraction, bool], answer: tuple[Fraction, bool]) -> bool:
    (x, x_percent), (y, y_percent) = gold, answer
    return x == y or (x_percent != y_percent and (x / 100 == y if x_percent else x == y / 100))


# Reading an answer from a text

_LINE = re.compile(r"^[ \t>*_#]*(?:final[ \t]+)?answer[*_]*[ \t]*(?::|is\b:?)[*_]*\s*(.*)$",
                   re.IGNORECASE | re.MULTILINE)  # fmt: skip
_PHRASE = re.compile(r"\banswer(?:[ \t]+is|[ \t]*:)[ \t]*:?[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_HASHES = re.compile(r"^####[ \t]*(.+)$", re.MULTILINE)
_BEGUN = re.compile(r"(?:\banswer\s*(?:is|:)|^####)[\s*:]*\Z", re.IGNORECASE | re.MULTILINE)
_REFUSAL = re.compile(
    r"\b(?:can\s?not|can['’]t|unable|(?:do|does)(?: not|n['’]t) know|not sure|unknown|unclear|not enough|insufficient"
    r"|unanswerable|n/a|sorry|as an ai|impossible to (?:say|tell|know|determine))\b", re.IGNORECASE)  # fmt: skip


def refuses(text: str) -> bool:
    """Whether a text declines to answer: "I cannot determine this", "unknown"."""
    return bool(_REFUSAL.search(text[:LONGEST]))


def cut(text: str) -> bool:
    r"""Whether a text breaks off in its answer: in an open \boxed{, or after "Answer:", "the answer is" or "####"."""
    opened = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    return (opened >= 0 and text.count("{", opened) > text.count("}", opened)) or bool(
        _BEGUN.search(text.rstrip()[-60:])
    )


def parse_number(text: str, problem: Problem) -> Parsed:
    r"""Strict: the only number on the last "Answer:" line.

    Flexible: otherwise the number in the last \boxed{}, otherwise the one after the last "####", otherwise the last of
    the text.  Neither is read from an answer line with several numbers (a hedge) or a refusal, or from a text that
    breaks off in its answer.
    """
    lines = _LINE.findall(text)
    if lines and not refuses(lines[-1]):
        line = lines[-1].strip()
        strict = figure(line) or figure(line.rsplit("=", 1)[-1])
        if strict is None and len(numbers(line)) == 1:
            strict = figure(numbers(line)[0])
        if strict is not None:
            return Parsed(strict, strict)
    if cut(text) or (lines and (numbers(lines[-1]) or refuses(lines[-1]))):
        return Parsed(None, None)
    for candidates in (boxes(text), _HASHES.findall(text), numbers(text)):
        last = next((value for value in map(figure, reversed(candidates)) if value is not None), None)
        if last is not None:
            return Parsed(None, last)
    return Parsed(None, None)


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: the text of the last "Answer:" line, or of its \boxed{} if it has one.

    Flexible: otherwise the last \boxed{}, otherwise the text after the last "####", otherwise after the last "the
    answer is".  Neither is read from a refusal or from a text that breaks off in its answer.
    """
    lines = _LINE.findall(text)
    if cut(text) or (lines and refuses(lines[-1])):
        return Parsed(None, None)
    if lines:
        strict = (boxes(lines[-1]) or [lines[-1]])[-1].strip()
        return Parsed(strict, strict)
    candidates = boxes(text) or _HASHES.findall(text) or _PHRASE.findall(text)
    return Parsed(None, candidates[-1].strip() if candidates and not refuses(candidates[-1]) else None)


# Comparing

_WORDED = re.compile(r"[^\W\d_][^\W\d_]+(?:[\s.,;:'’-]+[^\W\d_]+)*[\s.,;:!]*")
_LETTER = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
_MATHEMATICAL = re.compile(r"[0-9\\=<>^+*/()\[\]{}|∞π√]|^\W*(?:[A-Za-z]{1,2}|pi|infinity)\W*$")
_AS_LATEX = _compiled(
    (r"\\[()\[\]]|\$", ""),
    (r"(?<!\\)\bsqrt\s*\(([^()]*)\)|√\s*\(([^()]*)\)", r"\\sqrt{\1\2}"),
    (r"√\s*([0-9]+|\w)", r"\\sqrt{\1}"), (r"\*\*", "^"), (r"\*|×", r"\\cdot "),
    (r"(?<!\\)\bpi\b|π", r"\\pi "), (r"(?<!\\)\b(?:infinity|inf|oo)\b|∞", r"\\infty "),
    ("÷", "/"), ("−|–", "-"), ("≤|<=", r"\\le "), ("≥|>=", r"\\ge "), ("≠|!=", r"\\ne "),
    (r"\\text\s*\{\s*(?:or|and)\s*\}|(?<!\\)\b(?:or|and)\b", ","),
    (r"∪|(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "), (r"^\s*\{([^{}\\]*)\}\s*$", r"\\{\1\\}"),
)  # fmt: skip


def same(gold: str, answer: str) -> bool:
    """Whether `answer` is the same mathematical answer as `gold`, counted in COUNTS.

    Raises symbolic.AnswerError if math-verify is needed but not installed.
    """
    equal, how = _decide(gold, answer)
    COUNTS[how] += 1
    return equal


def _decide(gold: str, answer: str) -> tuple[bool, str]:
    if max(len(gold), len(answer)) > LONGEST:
        return False, "too long"
    x, y = plain(gold), plain(answer)
    if not x or not y or x == y or (_WORDED.fullmatch(x) and _WORDED.fullmatch(y) and _words(x) == _words(y)):
        return bool(x and y), "words"
    m, n = number(gold), number(answer)
    if m is not None and n is not None:
        return _same_number(m, n), "number"
    first, second = _LETTER.fullmatch(x), _LETTER.fullmatch(y)
    if first and (second or first[1] in "ABCDE"):  # an option, in upper or lower case, or a variable
        forms = (second[1], second[1].upper() if first[1] in "ABCDE" else "") if second else ()
        return first[1] in forms, "letter"
    if not _MATHEMATICAL.search(x) or not _MATHEMATICAL.search(y):
        return False, "words"
    return symbolic.compare(_latex(gold), _latex(answer))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.casefold())


def _latex(text: str) -> str:
    """An answer as a LaTeX formula, the only form that is given to math-verify."""
    text = (boxes(text) or [text.strip().rstrip(".")])[-1]
    for pattern, form in _AS_LATEX:
        text = pattern.sub(form, text)
    return f"${text.strip()}$"
