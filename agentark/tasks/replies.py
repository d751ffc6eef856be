r"""Replies of language models: reading the answer from one.

Two levels: strict is the text of the last "Answer:" line (or heading) only; flexible is otherwise the last \boxed{},
otherwise what stands after the last "####", otherwise after "the answer is", and for numbers the last number of the
text.  No answer is read from a refusal, from a number that is denied ("not 5") or only bounds the answer ("at least
5"), or from a text that breaks off before its answer.

The gold answer is used for its form only: whether a number, a letter or words are expected, and whether it is a
sentence of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from . import choices
from .assertions import REASON, SENTENCE, first_sentence, last_number, only_number, refuses
from .figures import number
from .problem import Parsed, Problem
from .typesetting import LONGEST, bare, simple, spans

_ANSWER = (r"(?:answers?|ans|最终答案|答案|回答|解答|答え|答|정답|답|antwort|respuesta|r[ée]ponse|risposta|resposta"
           r"|ответ|odpowiedź|cevap)")  # fmt: skip
_KIND = r"(?:(?:final|correct|right|best|short|full|numeric|numerical|endgültige)\s+)*"
_DECORATION = r"(?:[^\w\n]|_)*+"  # **, ##, >, -, ✅ and the like
_LABEL = re.compile(
    rf"{_DECORATION}(?:[0-9]{{1,2}}[.)]\s+{_DECORATION})?(?:(?:so|thus|hence|therefore)\b,?\s+)?(?P<the>(?:the|my|our)\s+)?"
    rf"{_KIND}{_ANSWER}[*_`#]*\s?(?:\([^()\n]{{0,40}}\)[*_`]*)?\s*"
    rf"(?:[:：=→][*_`]*(?P<value>.*)|(?(the)(?!)|(?:is\b|是|は|은|는)\s*:?[*_`]*(?P<being>.*))|{_DECORATION})$",
    re.IGNORECASE)  # fmt: skip
_NOT_THE = "".join(f"(?<!{word} )" for word in ("first", "second", "other", "wrong", "incorrect", "possible"))
_PHRASE = re.compile(
    rf"{_NOT_THE}\b{_ANSWER}\b(?:(?:\s+to|\s+for|\s+of|,)\s[^.\n:=]{{1,60}}?)?"
    r"(?:\s+(?:is|are|was|(?:would|should|must)\s+be|equals)\b|\s*[:：]|\s*[是为為])\s*:?[ \t]*(.+)$",
    re.IGNORECASE | re.MULTILINE)  # fmt: skip
_HASHES = re.compile(r"^####[ \t]*([^#\s].*)$", re.MULTILINE)
_BEGUN = re.compile(rf"(?:\b{_ANSWER}[*_`]*\s*(?:is|[:：=])|^####)[\s*_:$]*\Z", re.IGNORECASE | re.MULTILINE)
_BLOCK = re.compile(r"\s*(?:\$\$(.*?)\$\$|\\\[(.*?)\\\]|```\w*\n(.*?)```)", re.DOTALL)
_TAG = re.compile(r"<answer>\s*((?:(?!<answer>).){0,1000}?)\s*</answer>", re.DOTALL)
_THOUGHT = re.compile(r"<(think|thinking|thought|reasoning)>.*?(?:</\1>|(?P<open>\Z))", re.DOTALL | re.IGNORECASE)


def cut(text: str) -> bool:
    r"""Whether a text breaks off in its answer: in an open \boxed{, or after "Answer:", "the answer is" or "####"."""
    opened = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    return (opened >= 0 and text.count("{", opened) > text.count("}", opened)) or bool(
        _BEGUN.search(text.rstrip()[-60:])
    )


def _spoken(text: str) -> str | None:
    """A reply without the thoughts before it; None if it ends in them."""
    text = _TAG.sub(r"\nAnswer: \1\n", text) if "<answer>" in text else text
    thoughts = list(_THOUGHT.finditer(text)) if "<" in text else []
    if thoughts and thoughts[-1]["open"] is not None:
        return None
    return _THOUGHT.sub("", text).rpartition("</think>")[2] if thoughts or "</think>" in text else text


def answer_lines(text: str) -> list[str]:
    """What follows each "Answer:" on its line, or in the next paragraph if that line is empty; first to last."""
    lines, found = text.split("\n"), []
    for n, line in enumerate(lines):
        if not (match := _LABEL.match(line)):
            continue
        value = (match["value"] or match["being"] or "").strip()
        if not value.strip("*_`$[\\"):
            below = "\n".join(lines[n + 1 : n + 12])
            block = _BLOCK.match((value + "\n" + below) if value else below)
            value = next((inside for inside in block.groups() if inside), "") if block else ""
            value = value or next((later for later in below.split("\n") if later.strip("*_`$[\\ \t#-")), "")
            value = re.sub(r"^\s*[-*•]\s+(?=\S)", "", value)
        if value.strip():
            found.append(" ".join(value.split()))
    return found


def boxed(text: str) -> list[str]:
    r"""The contents of each \boxed{}; those that only a comma, "and" or "or" separates are one answer: "3, 5"."""
    joined: list[list[str]] = []
    end = -1
    for start, stop, content in spans(text):
        between = re.sub(r"\\(?:text|mbox|quad|qquad|,|;)|[{}$,;&\s]|\b(?:and|or)\b", "", text[end:start])
        if joined and end >= 0 and not between and start > end:
            joined[-1].append(content.strip())
        else:
            joined.append([content.strip()])
        end = stop
    return [", ".join(dict.fromkeys(contents)) for contents in joined]


# Numbers


def parse_number(text: str, problem: Problem) -> Parsed:
    r"""Strict: the only number on the last "Answer:" line.

    Flexible: otherwise the number in the last \boxed{}, otherwise the one after the last "####" or "the answer is",
    otherwise the last of the text.  None of them is read from an answer line with several numbers (a hedge) or a
    refusal, or from a text that breaks off before its answer.
    """
    spoken, gold = _spoken(text), problem.answer
    if spoken is None or cut(spoken):
        return Parsed(None, None)
    lines = answer_lines(spoken)
    if lines:
        strict = None if refuses(lines[-1]) else only_number(_inner(lines[-1]), gold)
        if strict is not None or re.search("[0-9]", simple(lines[-1])) or refuses(lines[-1]):
            return Parsed(strict, strict)
    sources: list[Callable[[str], list[str]]] = [boxed, _HASHES.findall, _phrases]
    for candidates in (source(spoken) for source in sources):
        given = [candidate for candidate in candidates if re.search("[0-9½⅓¼]", simple(candidate[:LONGEST]))]
        if given:
            refused = refuses(given[-1])
            return Parsed(None, None if refused else only_number(given[-1], gold))
    return Parsed(None, None if lines else last_number(spoken))


def _phrases(text: str) -> list[str]:
    return [_inner(found) for found in _PHRASE.findall(text) if len(found) <= LONGEST]


def _inner(value: str) -> str:
    """What an answer says that repeats "the answer is"."""
    while len(value) <= LONGEST and (match := _PHRASE.search(value)):
        value = match[1]
    return value


# Other answers

_LEAD = re.compile(
    r"(?:(?:so|thus|therefore),?\s+)?(?:it|this|that|he|she|they|there)(?:\s+(?:is|was|are|were)|['’]s)\s+(?=\S)",
    re.IGNORECASE)  # fmt: skip
_CLAUSE = re.compile(r"[\w\s,'’-]{1,80}?\s(?:is|was|are|were)\s+(?=\S)", re.IGNORECASE)
_DOUBT = re.compile(r"\b(?:not|never|no|wrong|incorrect|isn't|or|but|maybe|false)\b|n['’]t\b", re.IGNORECASE)


def _short(value: str, gold: str) -> str:
    """An answer without what the gold answer does not have: "It is …", a reason, an aside, a second sentence."""
    value = _inner(value)
    if found := boxed(value):
        value = found[-1]
    if not SENTENCE.match(gold) and not REASON.search(gold):
        value = first_sentence(value)
    value = bare(value)
    if "\\" in value or not re.search(r"[^\W\d_]{3}", value):
        return value
    if "(" not in gold and re.fullmatch(r"[^()]*[^\W\d_]\s+\([^()]*\)", value):
        value = value.partition("(")[0]
    for lead in (_LEAD, _CLAUSE):
        if not lead.match(gold) and (match := lead.match(value)) and not _DOUBT.search(match[0]):
            value = value[match.end() :]
    return bare(value)


def parse(text: str, problem: Problem) -> Parsed:
    r"""Strict: the text of the last "Answer:" line, or of its \boxed{} if it has one.

    Flexible: otherwise the last \boxed{} (several side by side are a list), otherwise the text after the last "####",
    otherwise after the last "the answer is".  None of them is read from a refusal, unless the gold answer is one, or
    from a text that breaks off in its answer.
    """
    spoken, gold = _spoken(text), problem.answer
    if spoken is None or cut(spoken):
        return Parsed(None, None)
    lines = answer_lines(spoken)
    candidates = lines or boxed(spoken) or _HASHES.findall(spoken) or _phrases(spoken)
    if not candidates or (refuses(candidates[-1]) and not refuses(gold)):
        return Parsed(None, None)
    answer = candidates[-1].strip() if candidates[-1].strip() == gold.strip() else _short(candidates[-1].strip(), gold)
    return Parsed((answer or None) if lines else None, answer or None)


_OPTION = re.compile(rf"\(?[{choices.LETTERS}]\)?\.?")
_NO_TEXTS = tuple(chr(0xE000 + n) * 4 for n in range(len(choices.LETTERS)))  # options whose texts no reply has


def parse_like_gold(text: str, problem: Problem) -> Parsed:
    """The answer that a reply gives to a problem whose gold answer is a number, the letter of an option, or another."""
    if problem.options or _OPTION.fullmatch(problem.answer.strip()):
        spoken = simple(_spoken(text) or "")[-3 * LONGEST :]  # an answer stands at the end
        lines = [] if cut(spoken) else answer_lines(spoken)
        reply = f"Answer: {lines[-1]}" if lines else "\n".join(line for line in spoken.split("\n") if line.strip())
        return choices.parse(reply, replace(problem, options=problem.options or _NO_TEXTS))
    return (parse_number if number(problem.answer) else parse)(text, problem)
