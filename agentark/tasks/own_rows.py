"""From a row of one's own data to a problem, or to the reason why it cannot be one.

What a row may contain is described in docs/own-data.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from types import NoneType
from typing import Any

from . import choices
from .problem import SPLITS, Parsed, Problem, bucket
from .row_files import RowError
from .typesetting import LONGEST

OPTIONS = ("options", "choices")
KEYS = ("id", "question", "answer", "solution", "split", *OPTIONS)
_ANNOTATION = re.compile(r"<<[^<>]*>>")  # GSM8K's calculator: <<48/2=24>>
_ANSWER_LINE = re.compile(r"^[ \t]*(?:final[ \t]+)?answer[ \t]*:[ \t]*(\S.*)\Z", re.IGNORECASE | re.MULTILINE)
_HASHES = re.compile(r"^####\s*(\S.*)$")
_LETTERED = re.compile(r"\(?([A-Za-z])[.):]\s+(.+)", re.DOTALL)

Parse = Callable[[str, Problem], Parsed]
Equal = Callable[[str, str], bool]


def name_of(values: dict[str, Any]) -> str:
    """Return the id of a row, "" if it has none; RowError if it is neither a text nor a number."""
    found = value(values, "id")
    if isinstance(found, bool) or not isinstance(found, (str, int, float, Decimal, NoneType)):
        raise RowError("an id that is no text or number", "must have a text or a number as its id")
    return "" if found is None else _plain(found, "id")


def problem(values: dict[str, Any], name: str, parse: Parse, equal: Equal) -> tuple[Problem, str]:
    """Return the problem of a row and its split.

    parse, equal: how answers to it are judged, by which the gold answer and the solution have to be right.  Raises
    RowError.
    """
    for key in ("question", "answer"):
        if value(values, key) is None:
            others = ", ".join(repr(other)[:40] for other in list(values)[:8] if other not in KEYS)
            hint = f" (rename the right one of its keys {others})" if others and key not in values else ""
            raise RowError(f"no {key}", f"has no {key}{hint}")
    question, answer, worked = values["question"], values["answer"], value(values, "solution") or ""
    if not isinstance(question, str) or not isinstance(answer, (str, int, float, Decimal)):
        raise RowError("a question or answer of another type",
                       "must have a text as its question, and a text or a number as its answer")  # fmt: skip
    if not isinstance(worked, str):
        raise RowError("a solution that is no text", "must have a text as its solution")
    _refuse_half_characters(name, question, worked)
    split = value(values, "split") or bucket(f"jsonl {question}", (80, 10, 10))
    if split not in SPLITS:
        raise RowError("an unknown split", f"has the unknown split {split!r} instead of {', '.join(SPLITS)}")
    options, labels = _options(values)
    question, gold = question.strip(), _plain(answer, "answer").strip()
    if not options:
        gold, worked = _gold(gold, worked)
    else:
        gold = _letter(gold, options, labels)
        listing = choices.listed(options)
        question = question if question.endswith(listing) else f"{question}\n{listing}"
    _refuse_half_characters(gold, *options)
    made = Problem(name, question, gold, f"Answer: {gold}", options=options)
    if not _is_right(made.solution, made, parse, equal):
        raise RowError("an answer that fails its own check",
                       f"has an answer that its own check does not accept as right ({gold[:60]!r})")  # fmt: skip
    return Problem(name, question, gold, _ending(worked, made, parse, equal), options=options), split


def value(values: dict[str, Any], name: str) -> Any:
    """Return the value of a key; None if it is absent, null or blank."""
    found = values.get(name)
    return None if isinstance(found, str) and not found.strip() else found


def conflicts(problems: list[Problem], equal: Equal) -> dict[int, int]:
    """Map each problem whose question another one has with another answer to the first such one, both by position."""
    places: dict[str, list[int]] = {}
    for k, p in enumerate(problems):
        places.setdefault(key(p.question), []).append(k)
    found: dict[int, int] = {}
    for first, *others in places.values():
        if any(not equal(problems[first].answer, problems[k].answer) for k in others):
            found |= {first: others[0], **dict.fromkeys(others, first)}
    return found


def key(question: str) -> str:
    """Return a question without differences of case and spaces."""
    return " ".join(question.casefold().split())


def _plain(value: Any, name: str) -> str:
    """A text or a number as text, a number without an exponent."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise RowError("NaN or Infinity", f"has {value} as its {name}, which is no number")
        if abs(value.adjusted()) < LONGEST and len(value.as_tuple().digits) <= LONGEST:
            return format(value, "f")
        size = max(abs(value.adjusted()) + 1, len(value.as_tuple().digits))
        raise RowError("a number of too many digits", f"has a number of {size:,} digits as its {name}")
    return str(value)


def _gold(answer: str, worked: str) -> tuple[str, str]:
    """The answer on one line, and the worked solution.

    Both come from the answer if that is GSM8K's "… #### 20" or ends in a line "Answer: 20".
    """
    before, hashes, last = answer.rpartition("####")
    if line := _ANSWER_LINE.search(answer):
        answer, worked = line[1], worked or answer[: line.start()].strip()
    elif hashes and len(last.strip().splitlines()) < 2:
        answer, worked = last.strip(), worked or _ANNOTATION.sub("", before).strip()
        if not answer:
            raise RowError("no answer after ####", "has no answer after the #### in its answer")
    if len(answer) > LONGEST:
        raise RowError("an answer that is too long",
                       f"has an answer of {len(answer):,} characters, of which {LONGEST:,} are allowed")  # fmt: skip
    if "\n" in answer:
        raise RowError("an answer of several lines",
                       "has an answer of several lines (put the reasoning under the key solution)")  # fmt: skip
    return " ".join(answer.split()), worked


def _ending(worked: str, p: Problem, parse: Parse, equal: Equal) -> str:
    """The worked solution with the answer line as its last line; RowError if it ends in another answer."""
    lines = worked.strip().splitlines()
    if lines and (hashes := _HASHES.match(lines[-1].strip())):
        lines = [_ANNOTATION.sub("", line) for line in lines[:-1]] + [f"Answer: {hashes[1]}"]
    if not lines:
        return p.solution
    found = parse("\n".join(lines), p).strict
    if found is not None and not equal(p.answer, found):
        raise RowError("a solution with another answer",
                       f"has the answer {p.answer[:60]!r}, but its solution ends in {found[:60]!r}")  # fmt: skip
    if not _is_right(lines[-1], p, parse, equal):
        lines.append(p.solution)
    return "\n".join(lines)


def _is_right(text: str, p: Problem, parse: Parse, equal: Equal) -> bool:
    strict = parse(text, p).strict
    return strict is not None and equal(p.answer, strict)


def _refuse_half_characters(*texts: str) -> None:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        reason = "contains half a character (a lone surrogate), which no tokenizer can encode"
        raise RowError("half a character", reason) from None


# Options


def _options(values: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts of a row's options and their own labels (of a mere list: none); empty for an open question."""
    given = [values[name] for name in OPTIONS if values.get(name)]
    if not given:
        return (), ()
    unclear = RowError("options of an unknown form",
                       "must have a list of texts, or an object of labels and texts, as its options")  # fmt: skip
    if len(given) > 1 and given[0] != given[1]:
        raise RowError("options and choices that differ", "has options and choices that differ; keep one of them")
    found: Any = given[0]
    if isinstance(found, dict) and set(found) == {"text", "label"}:  # as in ARC
        if not isinstance(found["text"], list) or not isinstance(found["label"], list):
            raise unclear
        pairs = list(zip(found["label"], found["text"], strict=False))
        pairs += [("", None)] * abs(len(found["label"]) - len(found["text"]))
    elif isinstance(found, dict):
        pairs = [(label, text) for label, text in found.items() if text is not None]
    elif isinstance(found, list) and all(isinstance(each, dict) for each in found):
        pairs = [(each.get("label"), each.get("text")) for each in found]
    elif isinstance(found, list):
        pairs = [("", text) for text in found]
    else:
        raise unclear
    if any(not isinstance(x, (str, int, float, Decimal)) for pair in pairs for x in pair):
        raise unclear
    texts = [_plain(text, "option").strip() for _, text in pairs]
    labels = [_plain(label, "option").strip() for label, _ in pairs]
    if not 2 <= len(texts) <= len(choices.LETTERS):
        count = f"has {len(texts)} options, and 2 to {len(choices.LETTERS)} are possible"
        raise RowError("too few or too many options", count)
    if not all(texts) or (any(labels) and len(set(labels)) < len(labels)):
        raise RowError("an empty option or a label twice", "has an empty option, or a label twice")
    lettered = [_LETTERED.fullmatch(text) for text in texts]
    if all(match and match[1].upper() == letter for match, letter in zip(lettered, choices.LETTERS, strict=False)):
        texts = [match[2].strip() for match in lettered if match]
    return tuple(" ".join(text.split()) for text in texts), tuple(labels) if any(labels) else ()


def _letter(answer: str, options: tuple[str, ...], labels: tuple[str, ...]) -> str:
    """The letter of the option that an answer means: by its label, letter, place from 0 or text.

    Raises RowError if it means none, or if its readings differ: 2 is the third of "1", "2", "3", and the second's text.
    """
    folded, bare = [key(label) for label in labels], key(answer.strip("().: "))
    if bare in folded:
        return choices.LETTERS[folded.index(bare)]
    whole = key(answer)
    lettered = _LETTERED.fullmatch(answer)
    letter = re.fullmatch(r"\(?([A-Za-z])\)?[.:)]?", answer)
    found = {k for k, option in enumerate(options) if key(option) == whole}
    if lettered:
        found |= {k for k, option in enumerate(options)
                  if choices.LETTERS[k] == lettered[1].upper() and key(option) == key(lettered[2])}  # fmt: skip
    if not labels:
        found |= {k for k in range(len(options)) if letter and choices.LETTERS[k] == letter[1].upper()}
        found |= {k for k in range(len(options)) if str(k) == answer}
    if len(found) != 1:
        what = "several" if found else "none"
        reason = f"has the answer {answer[:60]!r}, which means {what} of its {len(options)} options"
        raise RowError(f"an answer that means {what} of the options",
                       f"{reason} (give a letter, the text, or a place counted from 0)")  # fmt: skip
    return choices.LETTERS[found.pop()]
