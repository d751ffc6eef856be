r"""Multiple choice: how options are listed, and which letter a completion chose.

A letter is read from the first of these that a text has: the last "Answer: X" line, the last sentence "the
answer is X", the last \boxed{X}, an (X) or an option's text on the last line.  The article "a" is never option A.
Texts that hedge ("A or B"), deny ("not B"), repeat the list of options or contradict themselves ("B. <the text of C>")
give no answer: Parsed(None, None), which is counted as unparsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .problem import Parsed, Problem

LETTERS = "ABCDEFGHIJ"
INSTRUCTION = 'Think step by step. End with a line of the form "Answer: X", where X is the letter of the right option.'

_DECORATION = re.compile(r"\*\*|__|[`$*]|\\[()\[\]]|\\(?:text|textbf|mathrm|mathbf)\b")
_COLON = re.compile(r"^(?:[^\S\n]|[>#-])*(?:the\s+)?(?:(?:final|correct|best|right)\s+)*answer\s*(?:is\s*)?:"
                    r"[^\S\n]*(.*)$", re.IGNORECASE | re.MULTILINE)  # fmt: skip
_LINE = re.compile(r"^(?:[^\S\n]|[>#-])*(?:final\s+)?answer\s+is\b[^\S\n]*(.*)$", re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(r"\b(?:answer|(?:correct|right|best)\s+(?:option|choice|answer))(?:\s+to\s+[\w\s]{1,40}?)?\s+"
                       r"(?:is|(?:would|must|should)\s+be)\s*:?\s*(?=(.*))", re.IGNORECASE)  # fmt: skip
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_LEAD = re.compile(r"^(?:(?:the|is|it\s+is|it's|correct|right|best|answer|option|choice|letter)\b[\s:]*)+",
                   re.IGNORECASE)  # fmt: skip
_DENIED = re.compile(
    r"\b(?:not|no|never|cannot|neither|nor|wrong|incorrect|false|unlikely|unsure|uncertain|unclear|unknown|sorry|"
    r"unable|except|excluded?|eliminated?|ruled?\s+out)\b|n't\b|n’t\b", re.IGNORECASE)  # fmt: skip
_BECAUSE = r"(?:because|since|as|for|due|given|which|per|according|based|with)\b"
_LIST_ITEM = re.compile(r"^\s*[-*]?\s*\(?([A-J])\s*[).:]\s+\S", re.MULTILINE)


def listed(options: Sequence[str]) -> str:
    """The options as lines "A. …"."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def equal(gold: str, answer: str) -> bool:
    """Whether two answers are the same letter."""
    return gold == answer


def parse(text: str, problem: Problem) -> Parsed:
    r"""The letter that a completion chose, in upper case.

    Strict: from the last line "Answer: X" only, where X is a letter (the text of its option or a reason may follow) or
    the whole text of an option.  If that line exists but cannot be read, flexible is the only option that it names, and
    the text before it does not count.  Flexible without such a line: the last sentence "the answer is X" that can be
    read, otherwise the last \boxed{X}, otherwise an (X) or one option's text on the last line.

    Raises ValueError for a problem without options.
    """
    if not 2 <= len(problem.options) <= len(LETTERS):
        raise ValueError(f"{problem.id} has {len(problem.options)} options; a choice needs 2 to {len(LETTERS)}")
    plain, options = _DECORATION.sub("", text), problem.options
    answers = _after(_COLON, plain) or _after(_LINE, plain)
    if answers:
        strict = _read(answers[-1], options)
        return Parsed(strict, strict or (None if _hedges(answers[-1], options) else _named(answers[-1], options)))
    for rest in reversed(_SENTENCE.findall(plain)):
        if letter := _read(rest, options, article="a") or _begins(rest, options):
            return Parsed(None, letter)
    boxes = [letter for box in _BOXED.findall(plain) if (letter := _read(box.strip("{} "), options))]
    return Parsed(None, boxes[-1] if boxes else _last_line(plain, options))


def _after(cue: re.Pattern, text: str) -> list[str]:
    """The text after each cue: the rest of its line, or the next line if that is empty.  A cue at the end has none."""
    rests = []
    for match in cue.finditer(text):
        rest = match[1].strip() or text[match.end() :].strip().split("\n", 1)[0].strip()
        if rest:
            rests.append(rest)
    return rests


def _norm(text: str) -> str:
    """A text as options are compared: lower case, single spaces, no leading article and no final full stop."""
    text = " ".join(_DECORATION.sub("", text).casefold().split()).strip(" .,;:\"'“”")
    return re.sub(r"^(?:an?|the)\s+(?=\S)", "", text)


def _same_text(text: str, options: Sequence[str]) -> list[str]:
    """The letters of the options whose whole text is `text`."""
    norm = _norm(text)
    return [letter for letter, option in zip(LETTERS, options, strict=False) if norm and _norm(option) == norm]


def _read(answer: str, options: Sequence[str], article: str = "") -> str | None:
    """The letter that `answer` stands for; None if it has none or several, denies it or contradicts itself.

    `article` is a letter that is read as a word if it stands alone in lower case ("the answer is a").
    """
    answer = re.sub(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}", r"\1", answer)
    answer = answer.translate(str.maketrans("", "", '[]{}"“”')).strip()
    letters = LETTERS[: len(options)]
    for candidate in dict.fromkeys((answer, _LEAD.sub("", answer))):
        alone = re.fullmatch(rf"\(?([{letters}{letters.lower()}])\s*([).:,;!]*)", candidate)
        if alone and candidate != article:
            return alone[1].upper()
        if len(same := _same_text(candidate, options)) == 1:
            return same[0]
        either = f"[{letters}{letters.lower()}]"
        lead = re.match(rf"(?:\(({either})\)|({either})\s*[).:;,](?=\s)|([{letters}])(?=\s+(?:[-–—=]\s|{_BECAUSE}|\()))"
                        r"\s*[.:,;=–—-]*\s*(.*)", candidate, re.DOTALL)  # fmt: skip
        if lead:
            return _agrees((lead[1] or lead[2] or lead[3]).upper(), lead[4], options)
        # "B Anterior ethmoidal artery": without a stop after it, B is a letter only before its own option's text
        bare = re.match(rf"([{letters}])\s+(.+)", candidate)
        if bare and bare[1] in _same_text(bare[2], options):
            return bare[1]
    return None


def _begins(rest: str, options: Sequence[str]) -> str | None:
    """The option with whose text the rest of a sentence begins ("the answer is Lordosis, because …")."""
    head = _norm(_LEAD.sub("", rest).split(". ")[0].split(", ")[0].split(" because ")[0])
    same = _same_text(head, options)
    return same[0] if len(same) == 1 else None


def _agrees(letter: str, rest: str, options: Sequence[str]) -> str | None:
    """`letter`, unless the text after it is another option's, names a second letter or takes the first one back."""
    option, text = options[LETTERS.index(letter)], _norm(rest)
    own, second = _norm(option), _second(options)
    if own and (text == own or (own in text and not re.search(second, _without(rest, option)))):
        return letter
    if re.search(second, f" {rest}") or re.match(r"(?:is|was)\s+(?:not|wrong|incorrect)\b", rest):
        return None
    normed = {other: _norm(option) for other, option in zip(LETTERS, options, strict=False) if other != letter and text}
    others = [other for other, option in normed.items() if text == option or _within(text, option)]
    return None if others and not _within(text, own) else letter


def _second(options: Sequence[str]) -> str:
    """A pattern for a second letter after the first: "or C", "and (D)", "/B", ", C"."""
    letter = f"[{LETTERS[: len(options)]}]"
    return (
        rf"(?:^|\s)(?:or|and|&|/|,|\+)\s*(?:option\s+)?\(?{letter}\b(?!\s+[a-z]|['’-])|^\s*/?\s*{letter}\s*(?:[).]|$)"
    )


def _without(text: str, option: str) -> str:
    """`text` without an option's own words, so that no letter is read from a text like "Hepatitis B"."""
    return re.sub(re.escape(option.strip(" .")), "", text, flags=re.IGNORECASE)


def _within(part: str, whole: str) -> bool:
    """Whether `whole` contains the words of `part` in sequence."""
    return bool(part) and re.search(rf"(?<!\w){re.escape(part)}(?!\w)", whole) is not None


def _hedges(answer: str, options: Sequence[str]) -> bool:
    """Whether an unreadable answer denies something or names letters, so that its words name no option either."""
    if re.match(rf"\(?[{LETTERS[: len(options)]}]\s*[).:;]", answer):
        return True
    for option in options:
        answer = _without(answer, option)
    second = re.search(rf"\b[B-{LETTERS[len(options) - 1]}]\b", answer)
    return bool(second or _DENIED.search(answer) or re.search(r"\b(?:either|both)\b", answer, re.IGNORECASE))


def _named(answer: str, options: Sequence[str]) -> str | None:
    """The only option that `answer` names by its text; of options that contain each other, the longest counts."""
    line = rest = _norm(answer)
    normed = [(letter, _norm(option)) for letter, option in zip(LETTERS, options, strict=False)]
    hits = [(letter, option) for letter, option in normed if len(option) > 3 and _within(option, line)]
    texts = [option for _, option in hits]
    longest = [x for x, option in hits if not any(option != other and _within(option, other) for other in texts)]
    for option in texts:
        rest = rest.replace(option, " ")
    return longest[0] if len(longest) == 1 and not _DENIED.search(rest) else None


def _last_line(text: str, options: Sequence[str]) -> str | None:
    """The letter, or its option's text, on the last line; None if the text repeats the options or breaks off."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines or len(set(_LIST_ITEM.findall(text)) & set(LETTERS[: len(options)])) > 1:
        return None
    last, letters = lines[-1], LETTERS[: len(options)]
    if len(lines) == 1 and re.fullmatch(rf"[{letters}]", last):
        return last
    whole = _read(last, options) if re.match(rf"\(?[{letters}]\s*[).:]", last) or _same_text(last, options) else None
    if whole:
        option = options[LETTERS.index(whole)]
        is_whole = (
            _norm(last).endswith(_norm(option)) or re.fullmatch(rf"\(?{whole}\s*[).:]+", last) or last[-1] in ".!"
        )
        return whole if is_whole else None
    in_parentheses = set(re.findall(rf"\(([{letters}])\)", last))
    if in_parentheses:
        rest = last
        for option in options:
            rest = _without(rest, option)
        ends = last[-1] in ".!)" or any(_norm(last).endswith(_norm(option)) for option in options)
        return in_parentheses.pop() if len(in_parentheses) == 1 and ends and not _DENIED.search(rest) else None
    return _named(last, options) if len(re.findall(r"\w+", last)) < 40 else None
