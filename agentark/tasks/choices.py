r"""Multiple choice: how options are listed, and which letter a completion chose.

The order of trust (FACTS.md): the last "Answer: X" line, else the last sentence "the answer is X", else the last \boxed{X}, else an (X), else an
option's text on the last line.  The article "a" is never option A, and what hedges ("A or B"), denies ("not B"), lists the options over or
contradicts itself ("B. <the text of C>") is no answer: Parsed(None, None), to be counted as unparsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .problem import Parsed, Problem

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = 'Think step by step. End with a line of the form "Answer: X", where X is the letter of the right option.'

_DECORATION = re.compile(r"\*\*|__|[`$*]|\\[()\[\]]|\\(?:text|textbf|mathrm|mathbf)\b")
_COLON = re.compile(
    r"^[\s>#-]*(?:the\s+)?(?:(?:final|correct|best|right)\s+)*answer\s*(?:is\s*)?:[^\S\n]*(.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_LINE = re.compile(r"^[\s>#-]*(?:final\s+)?answer\s+is\b[^\S\n]*(.*)$", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(
    r"\b(?:answer|(?:correct|right|best)\s+(?:option|choice|answer))(?:\s+to\s+[\w\s]{1,40}?)?\s+"
    r"(?:is|(?:would|must|should)\s+be)\s*:?\s*(?=(.*))",
    re.IGNORECASE,
)
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LEAD = re.compile(
    r"^(?:(?:the|is|it\s+is|it's|correct|right|best|answer|option|choice|letter)\b[\s:]*)+", re.IGNORECASE
)
_DENIED = re.compile(
    r"\b(?:not|no|never|cannot|neither|nor|wrong|incorrect|false|unlikely|unsure|uncertain|unclear|unknown|sorry|unable|"
    r"except|excluded?|eliminated?|ruled?\s+out)\b|n't\b|n’t\b",
    re.IGNORECASE,
)
_BECAUSE = r"(?:because|since|as|for|due|given|which|per|according|based|with)\b"
_LIST_ITEM = re.compile(r"^\s*[-*]?\s*\(?([A-J])\s*[).:]\s+\S", re.MULTILINE)


def listed(options: Sequence[str]) -> str:
    """The options as lines "A. …"."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options))


def equal(gold: str, answer: str) -> bool:
    """The same letter."""
    return gold == answer


def parse(text: str, problem: Problem) -> Parsed:
    r"""The letter that a completion chose, in upper case.

    Strict: from the last line "Answer: X" alone, X being a letter (its option's text, or a reason, may follow) or an option's whole
    text.  Where there is such a line and it cannot be read, flexible is the one option that it names, and nothing before it counts.
    Flexible without such a line: the last sentence "the answer is X" that can be read, else the last \boxed{X}, else on the last line
    an (X), or one option's text.  Raises ValueError for a problem without options.
    """
    if not 2 <= len(problem.options) <= len(LETTERS):
        raise ValueError(f"{problem.id} has {len(problem.options)} options; a choice needs 2 to {len(LETTERS)}")
    plain, options = _DECORATION.sub("", text), problem.options
    said = _after(_COLON, plain) or _after(_LINE, plain)
    if said:
        strict = _read(said[-1], options)
        return Parsed(strict, strict or (None if _hedges(said[-1], options) else _named(said[-1], options)))
    for found in reversed(_SENTENCE.findall(plain)):
        if letter := _read(found, options, article="a") or _begins(found, options):
            return Parsed(None, letter)
    boxes = [letter for box in _BOXED.findall(plain) if (letter := _read(box.strip("{} "), options))]
    return Parsed(None, boxes[-1] if boxes else _last_line(plain, options))


def _after(cue: re.Pattern, text: str) -> list[str]:
    """What follows each cue: the rest of its line, or the next line where that is empty.  A cue that the text ends with says nothing."""
    found = []
    for match in cue.finditer(text):
        rest = match[1].strip() or text[match.end() :].strip().split("\n", 1)[0].strip()
        if rest:
            found.append(rest)
    return found


def _norm(text: str) -> str:
    """For comparing options: lower case, single spaces, no article before and no full stop behind."""
    return re.sub(
        r"^(?:an?|the)\s+(?=\S)", "", " ".join(_DECORATION.sub("", text).casefold().split()).strip(" .,;:\"'“”")
    )


def _same_text(said: str, options: Sequence[str]) -> list[str]:
    """The letters of the options whose whole text is `said`."""
    return [letter for letter, option in zip(LETTERS, options) if _norm(option) == _norm(said) and _norm(said)]


def _read(said: str, options: Sequence[str], article: str = "") -> str | None:
    """The letter that `said` stands for; None where it is none, several, denied or contradictory.

    `article` is a letter that, bare and in lower case, is taken for a word ("the answer is a").
    """
    said = re.sub(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", said)
    said = said.translate(str.maketrans("", "", '[]{}"“”')).strip()
    letters = LETTERS[: len(options)]
    for candidate in dict.fromkeys((said, _LEAD.sub("", said))):
        alone = re.fullmatch(rf"\(?([{letters}{letters.lower()}])\s*([).:,;!]*)", candidate)
        if alone and not (candidate == article):
            return alone[1].upper()
        if len(same := _same_text(candidate, options)) == 1:
            return same[0]
        either = f"[{letters}{letters.lower()}]"
        lead = re.match(
            rf"(?:\(({either})\)|({either})\s*[).:;,](?=\s)|([{letters}])(?=\s+(?:[-–—=]\s|{_BECAUSE}|\()))\s*[.:,;=–—-]*\s*(.*)",
            candidate,
            re.DOTALL,
        )
        if lead:
            return _agrees((lead[1] or lead[2] or lead[3]).upper(), lead[4], options)
        # "B Anterior ethmoidal artery": without a stop between, only the option's own text makes it a letter
        bare = re.match(rf"([{letters}])\s+(.+)", candidate)
        if bare and bare[1] in _same_text(bare[2], options):
            return bare[1]
    return None


def _begins(said: str, options: Sequence[str]) -> str | None:
    """The option whose text a sentence's rest begins with ("the answer is Lordosis, because …")."""
    head = _norm(_LEAD.sub("", said).split(". ")[0].split(", ")[0].split(" because ")[0])
    same = _same_text(head, options)
    return same[0] if len(same) == 1 else None


def _agrees(letter: str, rest: str, options: Sequence[str]) -> str | None:
    """`letter`, unless what follows it is another option's text, names a second letter or takes the first one back."""
    own, said = _norm(options[LETTERS.index(letter)]), _norm(rest)
    if own and (
        said == own or (own in said and not re.search(_second(options), _without(rest, options[LETTERS.index(letter)])))
    ):
        return letter
    if re.search(_second(options), f" {rest}") or re.match(r"(?:is|was)\s+(?:not|wrong|incorrect)\b", rest):
        return None
    other = [
        o
        for o, option in zip(LETTERS, options)
        if o != letter and said and (said == _norm(option) or _within(said, _norm(option)))
    ]
    return None if other and not _within(said, own) else letter


def _second(options: Sequence[str]) -> str:
    """A pattern for another letter that is offered beside the first: "or C", "and (D)", "/B", ", C"."""
    letter = f"[{LETTERS[: len(options)]}]"
    return (
        rf"(?:^|\s)(?:or|and|&|/|,|\+)\s*(?:option\s+)?\(?{letter}\b(?!\s+[a-z]|['’-])|^\s*/?\s*{letter}\s*(?:[).]|$)"
    )


def _without(text: str, option: str) -> str:
    """`text` without an option's own words, so that "Hepatitis B" in it is no letter."""
    return re.sub(re.escape(option.strip(" .")), "", text, flags=re.IGNORECASE)


def _within(part: str, whole: str) -> bool:
    """Whether the words of `part` stand in `whole`, one after the other."""
    return bool(part) and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", whole) is not None


def _hedges(said: str, options: Sequence[str]) -> bool:
    """Whether an answer that could not be read denies something or names letters: its words then name no option."""
    if re.match(rf"\(?[{LETTERS[: len(options)]}]\s*[).:;]", said):
        return True
    for option in options:
        said = _without(said, option)
    second = re.search(rf"\b[B-{LETTERS[len(options) - 1]}]\b", said)
    return bool(second or _DENIED.search(said) or re.search(r"\b(?:either|both)\b", said, re.IGNORECASE))


def _named(said: str, options: Sequence[str]) -> str | None:
    """The one option that `said` names by its text; of options that contain one another, the longest counts."""
    line = _norm(said)
    hits = [
        (letter, _norm(option))
        for letter, option in zip(LETTERS, options)
        if len(_norm(option)) > 3 and _within(_norm(option), line)
    ]
    longest = [
        letter for letter, option in hits if not any(option != other and _within(option, other) for _, other in hits)
    ]
    rest = line
    for _, option in hits:
        rest = rest.replace(option, " ")
    return longest[0] if len(longest) == 1 and not _DENIED.search(rest) else None


def _last_line(text: str, options: Sequence[str]) -> str | None:
    """The letter on the last line: alone, in parentheses, or by its option's text.  None where the text lists options over or breaks off."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines or len(set(_LIST_ITEM.findall(text)) & set(LETTERS[: len(options)])) > 1:
        return None
    last, letters = lines[-1], LETTERS[: len(options)]
    if len(lines) == 1 and re.fullmatch(rf"[{letters}]", last):
        return last
    whole = _read(last, options) if re.match(rf"\(?[{letters}]\s*[).:]", last) or _same_text(last, options) else None
    if whole:
        option = options[LETTERS.index(whole)]
        return (
            whole
            if _norm(last).endswith(_norm(option)) or re.fullmatch(rf"\(?{whole}\s*[).:]+", last) or last[-1] in ".!"
            else None
        )
    in_parentheses = set(re.findall(rf"\(([{letters}])\)", last))
    if in_parentheses:
        rest = last
        for option in options:
            rest = _without(rest, option)
        ends = last[-1] in ".!)" or any(_norm(last).endswith(_norm(option)) for option in options)
        return in_parentheses.pop() if len(in_parentheses) == 1 and ends and not _DENIED.search(rest) else None
    return _named(last, options) if len(re.findall(r"\w+", last)) < 40 else None
