"""Free answers of language models: how a short one and a summary are read, and how a long passage is cut.

As `parse_words` in problem.py, but markdown about an answer line is no part of the answer.
"""

from __future__ import annotations

import re

from .problem import Parsed, Problem, parse_words

SHORT = 'Think step by step if you need to. End with a line of the form "Answer: …" that holds nothing but the answer, as short as possible.'
SUMMARY = 'Write nothing but the summary, after "Answer:".'

_MARKDOWN = re.compile(r"\*\*|`|^#+[^\S\n]*", re.MULTILINE)
_MARK = re.compile(r"^[\s>-]*(?:final\s+)?(?:answer|summary)\s*:", re.IGNORECASE | re.MULTILINE)


def parse_short(text: str, problem: Problem) -> Parsed:
    """Strict: what stands on the last "Answer:" line.  Flexible: else the text's last line."""
    found = parse_words(_MARKDOWN.sub("", text), problem)
    return Parsed(found.strict or None, found.flexible or None)


def parse_summary(text: str, problem: Problem) -> Parsed:
    """Strict: all that follows the last "Answer:" (or "Summary:") at a line's start, lines joined.  Flexible: else the whole text."""
    plain = _MARKDOWN.sub("", text)
    marks = list(_MARK.finditer(plain))
    strict = " ".join(plain[marks[-1].end() :].split()) if marks else ""
    return Parsed(strict or None, strict or (None if marks else " ".join(plain.split()) or None))


def cut(text: str, words: int) -> tuple[str, bool]:
    """The first `words` words of a text with its line breaks, and whether anything was cut off."""
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return (text[: ends[words - 1]], True) if len(ends) > words else (text, False)
