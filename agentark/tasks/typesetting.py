r"""The typesetting of answers: Unicode, markdown and LaTeX, reduced to plain ASCII text where that has a form."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LONGEST = 1000  # characters; longer texts are compared as texts only


def compiled(*replacements: tuple[str, str]) -> tuple[tuple[re.Pattern, str], ...]:
    return tuple((re.compile(pattern), form) for pattern, form in replacements)


_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－⁃"), "-")
_QUOTES = {**dict.fromkeys(map(ord, "‘’‚‛ʼ′`´"), "'"), **dict.fromkeys(map(ord, "“”„‟«»″"), '"')}
_OTHER = {ord("٫"): ".", ord("٬"): ",", ord("、"): ", ", ord("。"): ".", ord("⋅"): "·", ord("∙"): "·", ord("∕"): "/"}
_INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2065), 0xFEFF])
_CHARACTERS = _DASHES | _QUOTES | _OTHER | _INVISIBLE
_RAISED, _LOWERED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "₀₁₂₃₄₅₆₇₈₉"
_GROUPS = re.compile(r"(?<=[0-9])[\u00a0\u2007-\u200a\u202f](?=[0-9]{3}(?![0-9]))")
_FORMS = (  # what the compatibility form of Unicode would lose: 10⁸ would be 108, and 1½ would be 11/2
    (re.compile("[¼-¾⅐-⅞↉]"), lambda match: " " + unicodedata.normalize("NFKC", match[0]).replace("⁄", "/") + " "),
    (re.compile(f"[{_RAISED}]+"), lambda match: "^{" + unicodedata.normalize("NFKC", match[0]) + "}"),
    (re.compile(f"[{_LOWERED}]+"), lambda match: "_{" + unicodedata.normalize("NFKC", match[0]) + "}"),
)


def simple(text: str) -> str:
    """A text with one form of each dash, quotation mark, digit, space and fraction: １２ and ١٢ are 12."""
    if text.isascii():
        return text
    text = _GROUPS.sub("", "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text))
    for pattern, form in _FORMS:
        text = pattern.sub(form, text)
    return unicodedata.normalize("NFKC", text.translate(_CHARACTERS)).translate(_CHARACTERS).replace("⁄", "/")


_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")


def spans(text: str) -> list[tuple[int, int, str]]:
    r"""Start, end and content of each \boxed{…} of a text (braces may nest), first to last, without unclosed ones."""
    found = []
    for opening in _BOX.finditer(text):
        depth = 1
        for position in range(opening.end(), min(len(text), opening.end() + LONGEST)):
            depth += (text[position] == "{") - (text[position] == "}")
            if not depth:
                found.append((opening.start(), position + 1, text[opening.end() : position]))
                break
    return found


def boxes(text: str) -> list[str]:
    r"""The contents of each \boxed{…} of a text, first to last."""
    return [content for _, _, content in spans(text)]


# Typesetting in an answer -> its replacement, applied in this order.
_WORDS = r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mbox|operatorname|emph|bf|rm)\b\s*"
_TOP, _BOTTOM = r"(?:\{\s*(-?[0-9][0-9.,]*)\s*\}|([0-9]))", r"(?:\{\s*([0-9][0-9.,]*)\s*\}|([0-9]))"
_TYPESETTING = compiled(
    (r"\{,\}", ","), (r"\\[!,]", ""), (r"\\[;: >]|~|\\q?quad\b", " "),
    (r"\\(?:left|right|displaystyle|limits|[Bb]igg?[lr]?)(?![a-zA-Z])", ""), (r"\\([%$&#_])", r"\1"),
    (r"\^\{?\\circ\}?", " degrees "), (_WORDS + r"\{([^{}]*)\}", r" \1 "),
    (rf"\\[dtc]?frac\s*{_TOP}\s*{_BOTTOM}", r" \1\2/\3\4 "),
    (r"\\(?:approx|simeq|sim)(?![a-zA-Z])", "≈"), (r"\\(?:times|cdot)(?![a-zA-Z])", "·"),
    (r"</?(?:b|i|em|strong|answer|final_answer|span|code|mark)>", ""),
    (r"(?<![A-Za-z])([AaPp])\.\s?[mM]\b\.?", r"\1m"), (r"\s+", " "),
)  # fmt: skip
_EMPHASIS = re.compile(r"(?<![\w)])(?:\*\*|__)|(?:\*\*|__)(?![\w(])")  # and not the power in 2**10
_PAIRS = (
    ("**", "**"), ("__", "__"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"), ("*", "*"),
    ('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("_", "_"),
)  # fmt: skip


def bare(text: str) -> str:
    r"""A text without what encloses all of it (**…**, $…$, "…", \boxed{…}), and what GSM8K has before "####"."""
    before, text = None, text.rpartition("####")[2]
    while before != text:
        before = text = text.strip()
        whole = text.rstrip(". ")
        for opening, closing in _PAIRS:
            inside = whole[len(opening) : -len(closing)].strip()
            if whole.startswith(opening) and whole.endswith(closing) and inside and opening not in inside:
                text = whole = inside
        if whole.startswith((r"\boxed", r"\fbox")) and whole.endswith("}") and len(found := boxes(whole)) == 1:
            text = found[0]
        if whole.startswith("{") and whole.endswith("}") and "," not in whole and whole.count("{") == 1 and whole[1:-1]:
            text = whole[1:-1]
    return text


@lru_cache(maxsize=65536)
def plain(text: str) -> str:
    """An answer without its typesetting: bare, with Unicode and LaTeX in plain forms and single spaces."""
    text = bare(simple(text))
    for pattern, form in _TYPESETTING:
        text = pattern.sub(form, text)
    return bare(text.strip().rstrip(",;:")).rstrip(".").strip()


def plain_text(text: str) -> str:
    """A longer text with its numbers in plain forms; its lines and sentences stay."""
    text = _EMPHASIS.sub("", simple(text))
    for pattern, form in _TYPESETTING[:-1]:
        text = pattern.sub(form, text)
    return text
