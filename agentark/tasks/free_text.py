"""Free answers of language models: reading short answers and summaries, and cutting long passages.

The parsers differ from `parse_words` (problem.py) in that they remove markdown around the answer line.
"""

from __future__ import annotations

import re

from .problem import Parsed, Problem, parse_words

SHORT = (
    'Think step by step if you need to. End with a line of the form "Answer: …" that holds nothing but the answer, '
    "as short as possible."
)
SUMMARY = 'Write nothing but the summary, after "Answer:".'

_MARKDOWN = re.compile(r"\*\*|`|^#+[^\S\n]*", re.MULTILINE)
_MARK = re.compile(r"^[\s>-]*(?:final\s+)?(?:answer|summary)\s*:", re.IGNORECASE | re.MULTILINE)


def parse_short(text: str, problem: Problem) -> Parsed:
    """Strict: the text of the last "Answer:" line.  Flexible: otherwise the last line of the text."""
    parsed = parse_words(_MARKDOWN.sub("", text), problem)
    return Parsed(parsed.strict or None, parsed.flexible or None)


def parse_summary(text: str, problem: Problem) -> Parsed:
    """Strict: everything after the last "Answer:" (or "Summary:") at the start of a line, its lines joined.

    Flexible: otherwise the whole text.
    """
    plain = _MARKDOWN.sub("", text)
    marks = list(_MARK.finditer(plain))
    strict = " ".join(plain[marks[-1].end() :].split()) if marks else ""
    return Parsed(strict or None, strict or (None if marks else " ".join(plain.split()) or None))


def cut(text: str, words: int) -> tuple[str, bool]:
    """The first `words` words of a text, with its line breaks, and whether anything was cut off."""
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return (text[: ends[words - 1]], True) if len(ends) > words else (text, False)
