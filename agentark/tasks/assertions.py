"""What a text asserts: which of its numbers it gives as an answer, and not to deny them or to bound one with them."""

from __future__ import annotations

import re

from .figures import figure, number, numbers
from .typesetting import LONGEST, plain_text, simple

_REFUSAL = re.compile(
    r"\b(?:can\s?not|can['’]t|unable|(?:do|does)(?: not|n['’]t) know|not (?:sure|able|certain|clear)|no idea|it depends"
    r"|unknown|unclear|not enough|insufficient"
    r"|unanswerable|n/a|sorry|as an ai|undetermined|impossible to (?:say|tell|know|determine|answer)"
    r"|no way to (?:say|tell|know))\b", re.IGNORECASE)  # fmt: skip


def refuses(text: str) -> bool:
    """Whether a text declines to answer: "I cannot determine this", "unknown"."""
    return bool(_REFUSAL.search(text[:LONGEST]))


_NUMBER = r"[^0-9\W]?-?[$€£¥₹]?\.?[0-9](?:[0-9.,/^{}'×·]*[0-9}])?%?"
_FEW = r"(?:\s+[A-Za-z'-]+)"
_DENIED = re.compile(
    rf"(?:\b(?:not|never|neither|nor|rather\s+than|instead\s+of|except|unlike|anything\s+but|without)|n't)\b{_FEW}{{0,3}}\s+"
    rf"{_NUMBER}|(?:≠|!=|\\neq?\b)\s*{_NUMBER}"
    rf"|{_NUMBER}{_FEW}{{0,2}}\s+(?:is|are|was|were|would\s+be|seems)"
    r"(?:\s+(?:not|never|wrong|incorrect|false|impossible|too)\b|n't\b)"
    rf"|{_NUMBER}{_FEW}{{0,2}}\s+(?:isn't|wasn't|aren't|can't\s+be|cannot\s+be|can\s+not\s+be)\b",
    re.IGNORECASE)  # fmt: skip
_MORE = r"(?:more|less|fewer|greater|larger|smaller|higher|lower|bigger|longer|shorter|later|earlier|older|younger)"
_BOUND = re.compile(
    rf"(?:\b(?:at\s+(?:least|most|minimum|maximum)|{_MORE}\s+than(?:\s+or\s+equal\s+to)?|up\s+to|over|under|above|below"
    r"|as\s+(?:many|much|few|little)\s+as|beyond|exceed(?:s|ing)?|nearly|almost|an?\s+(?:minimum|maximum)\s+of|minimum|maximum|max)\s"
    rf"|(?:[<>≤≥]=?|\\(?:leq?|geq?|leqslant|geqslant|lt|gt)(?![a-z])))\s*(?:about\s+)?{_NUMBER}"
    rf"(?:\s*(?:and|to|-)\s*{_NUMBER})?|\bbetween\s+{_NUMBER}{_FEW}{{0,2}}\s+and\s+{_NUMBER}"
    rf"|{_NUMBER}{_FEW}{{0,2}}?\s+(?:or|and)\s+(?:{_MORE}|above|below|over|under|up|beyond|so)\b"
    rf"|{_NUMBER}{_FEW}{{0,2}}?\s+(?:at\s+(?:least|most)|minimum|maximum|max|upwards?)\b"
    rf"|{_NUMBER}\+(?!\s*[\w$(\\.-])", re.IGNORECASE)  # fmt: skip
_BOUNDED = "⊘"
REASON = re.compile(
    r"[,;]?\s+[(]?(?:because|since|due\s+to|given\s+that|as\s+(?:it|they|he|she|the|there)|which)\b.*", re.IGNORECASE
)
_RETRACTED = re.compile(
    r"\b(?:wait|actually|correction|oops|no|or|but|rather|instead|sorry|mistake|not)\b", re.IGNORECASE
)
SENTENCE = re.compile(r"(.*?(?:[)\]}$*%\"]|[0-9]|[^\W\d_]{4}))[.!]\*{0,2}\s+(?=[^\W\d_a-z(])(.*)")
_EQUALS = re.compile(r"(?<![!<>≠≤≥:=])=(?![=>])")
_ARITHMETIC = re.compile(  # 3 + 1/4 and 2\\sqrt{4}, but not 5-6
    r"(?:[0-9.,\s*/^(){}·×÷√]|\s[-+]\s|\\(?:[dt]?frac|sqrt|cdot|times|binom|div)(?![a-z]))*[0-9)}]")  # fmt: skip
_ASIDE = re.compile(r"\((?!or\b|not\b|maybe\b)[^()]*\)")
_REFERENCE = re.compile(
    r"\b(?:step|case|question|problem|figure|table|section|equation|example)s?\s+#?[0-9]+", re.IGNORECASE
)
_SUM = re.compile(r"[0-9)]\s*[-+*×÷·]\s*[$0-9.,]+\W*\Z|[0-9)]\s+/\s+[0-9.,]+\W*\Z")  # an end without its result
_MARK = re.compile(r"^[ \t>*-]*[0-9]{1,2}[.)](?=\s|\Z)", re.MULTILINE)
_OPEN_WORDS = {
    "and", "or", "then", "the", "a", "an", "of", "to", "in", "with", "by", "for", "from", "is", "are", "was",
    "were", "so", "we", "which", "that", "but", "because", "if", "on", "at", "times", "plus", "minus", "divided",
    "multiplied", "equals", "than", "as", "into", "per", "each", "her", "his", "their", "its", "he", "she", "it",
    "they", "i", "you", "this", "these", "there", "will", "would", "has", "have", "had", "can", "therefore", "thus",
    "hence", "when", "where", "while", "since", "not", "step",
}  # fmt: skip


def _asserted(text: str) -> str:
    """A text in which the numbers that it denies are left out, and those that only bound something are marked."""
    return _DENIED.sub(" … ", _BOUND.sub(f" {_BOUNDED} ", text))


def first_sentence(line: str) -> str:
    """The first sentence of an answer line, without its reasons; the whole line if the rest takes something back."""
    short = REASON.sub("", line)
    if (match := SENTENCE.match(short)) and not _RETRACTED.search(match[2]):
        short = match[1]
    return short


def only_number(line: str, gold: str) -> str | None:
    """The number that a line gives, in its plain form; None if it gives none or several, denies or bounds it."""
    line = simple(line) if len(line) <= LONGEST else ""
    exact, _, rounded = re.sub(r"\\approx\b", "≈", line).partition("≈")
    if exact.strip() and rounded.strip():
        line = rounded if "." in gold else exact
    for part in dict.fromkeys((line, first_sentence(line), _ASIDE.sub(" ", line))):
        sides = [found for side in _EQUALS.split(part) if (found := figure(side))] if "=" in part else []
        if found := figure(part) or (sides[-1] if sides and not _RETRACTED.search(part) else None):
            return found
        asserted = _asserted(part)
        given = {number(found): found for found in numbers(asserted)} if _BOUNDED not in asserted else {}
        if len(given) == 1 and (found := figure(next(iter(given.values())))):
            return found
    last = _EQUALS.split(line)[-1].strip(" $.")
    return last if _ARITHMETIC.fullmatch(last) else None


def last_number(text: str) -> str | None:
    """The last number of a text, if the text is complete and asserts it."""
    marks = [mark.strip() for mark in _MARK.findall(text)]
    if len(marks) > 1 and text.rstrip().endswith("\n" + marks[-1]):
        return None
    text = _MARK.sub("", text) if marks and text.strip() != marks[0] else text
    sentences = [part for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]
    if not sentences or _unfinished(sentences[-1][-LONGEST:]):
        return None
    for sentence in reversed(sentences):
        sentence = _REFERENCE.sub("", plain_text(sentence[-LONGEST:]))
        if refuses(sentence):
            return None
        if not re.search("[0-9]", sentence):
            continue
        if sentence.rstrip().endswith("?") or _SUM.search(sentence):
            return None
        found = numbers(_asserted(sentence).rpartition(_BOUNDED)[2])
        return figure(found[-1]) if found else None
    return None


def _unfinished(sentence: str) -> bool:
    """Whether the last sentence of a text breaks off: it ends neither in a stop nor in a number with a few words."""
    end = sentence.rstrip(" \t*_`\"'")
    if end.endswith(("...", "…", ",", ":", ";", "=", "+", "-", "×", "(", "\\")):
        return True
    if end.endswith((".", "!", "?", ")", "]", "}", "$", "%", "°", "。", ">")):
        return False
    words = re.findall(r"[^\W\d_]+", re.split("[0-9]", end)[-1]) if re.search("[0-9]", end) else [""] * 9
    return len(words) > 4 or bool(words and words[-1].lower() in _OPEN_WORDS)
