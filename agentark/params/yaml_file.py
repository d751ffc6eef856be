"""Strict reading of YAML: what a reader could take for something else is refused, with its line.

Another reader of the same file (papermill has its own) understands each accepted file in the same way.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import yaml

from .base import ParamsError

Place = tuple[Hashable, ...]  # the keys, and indices of lists, that lead to a value
Lines = dict[Place, int]
Mistake = tuple[Place, str]  # where, and a sentence

BYTES, LEVELS, VALUES, CHARACTERS, DIGITS = 256_000, 20, 20_000, 4_000, 18  # the most that a file has
WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
TAG = "tag:yaml.org,2002:"


def read(path: str | Path) -> tuple[Any, Lines]:
    """Return the content of a YAML file, and the line of each value by the keys that lead to it.

    Raises ParamsError, which names the file and the line, if it cannot be read, is not YAML, has a key twice, or has a
    value that is easily misread: `010` (8), `yes` (true), `1:30` (90), a key without a value.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(BYTES + 1)
    except FileNotFoundError:
        raise ParamsError(f"there is no file {path}: correct the path") from None
    except (OSError, ValueError) as error:
        raise ParamsError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > BYTES:
        raise ParamsError(f"{path} has more than {BYTES:,} bytes, which no params file has: name another file")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        raise ParamsError(f"{path}, line {line}: byte {error.start + 1} is not UTF-8: save the file as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> tuple[Any, Lines]:
    """Return the value of a YAML text, and its lines; `source` is its name in messages. Raises ParamsError."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        advice = "indent with spaces" if r"'\t'" in problem else "correct the line; a text with : or # needs quotes"
        raise ParamsError(f"{source}{where} is not YAML ({problem}): {advice}") from None
    except yaml.reader.ReaderError as error:
        line = 1 + text.count("\n", 0, error.position)
        character = f"the character U+{ord(text[error.position]):04X}"
        raise ParamsError(f"{source}, line {line} is not YAML: it has {character}: remove it") from None
    except (ValueError, OverflowError):  # PyYAML converts the numbers of escapes and directives without checking them
        raise ParamsError(f"{source} is not YAML: an escape or a directive has a number that is too large") from None
    lines: Lines = {}
    return (None if node is None else _value(node, (), lines, source)), lines


class _Loader(yaml.SafeLoader):
    """PyYAML's parser, which recurses, with a bound to the levels of a file."""

    level = 0

    def compose_node(self, parent, index):
        self.level += 1
        if self.level > LEVELS:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(None, None, f"more than {LEVELS} levels lie in each other", mark)
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


def _value(node: yaml.Node, place: Place, lines: Lines, source: str) -> Any:
    """Return the value of a node and write the lines of it and of everything below it to `lines`."""
    line = node.start_mark.line + 1
    lines.setdefault(place, line)  # a mapping's line is that of its key

    def refused(problem: str, at: int = line) -> ParamsError:
        return ParamsError(f"{source}, line {at}: {problem}")

    if len(lines) > VALUES or len(place) > LEVELS:  # aliases repeat values, or contain themselves
        raise refused(f"the aliases stand for more than {VALUES:,} values or {LEVELS} levels: write the values out")
    if isinstance(node, yaml.ScalarNode):
        try:
            return SCALARS.get(node.tag, _no_kind)(node)
        except ValueError as error:
            name = ".".join(map(str, place))
            raise refused(f"{name}{' ' if name else ''}{error}") from None
    if node.tag not in (f"{TAG}map", f"{TAG}seq"):
        raise refused(f"the tag {_tag(node)} is not used here: write a plain list or mapping")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*place, index), lines, source) for index, item in enumerate(node.value)]
    mapping: dict[Any, Any] = {}
    inherited: dict[Any, Any] = {}  # from `<<: *name`; keys that are written out replace those
    for key_node, value_node in node.value:
        at = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise refused("a key is a list or a mapping: write a word", at)
        if key_node.tag == f"{TAG}merge":
            merged = _value(value_node, place, lines, source)
            if mapping or inherited or not isinstance(merged, dict):
                raise refused("<< takes one mapping and stands before all other keys: write the keys out", at)
            inherited = merged
            continue
        try:
            key = SCALARS.get(key_node.tag, _no_kind)(key_node)
        except ValueError as error:
            raise refused(f"the key {error}", at) from None
        if key in mapping:
            first = lines[*place, key]
            raise refused(f"the key {'.'.join(map(str, (*place, key)))} stands in line {first} as well: remove one", at)
        lines[*place, key] = at
        mapping[key] = _value(value_node, (*place, key), lines, source)
    return inherited | mapping


# Scalars: each function returns the value of a node, or raises ValueError with the rest of a sentence about it.


def _text(node: yaml.ScalarNode) -> str:
    if any("\ud800" <= character <= "\udfff" for character in node.value):
        raise ValueError("has half a character (an escape from \\uD800 to \\uDFFF): write the character itself")
    if len(node.value) > CHARACTERS:
        raise ValueError(f"has {len(node.value):,} characters, more than {CHARACTERS:,}: shorten it")
    return node.value


def _whole(node: yaml.ScalarNode) -> int:
    text = node.value
    if len(text) > DIGITS:
        raise ValueError(f"has {len(text):,} digits, more than any number here needs: write a smaller number")
    if not WHOLE.fullmatch(text):
        reason = "which YAML takes for an octal, hexadecimal, binary or sexagesimal number"
        raise ValueError(f"is {text}, {reason}: write it as a decimal number, or in quotes if it is a text")
    return int(text.replace("_", ""))


def _float(node: yaml.ScalarNode) -> float:
    text = node.value.replace("_", "").lower()
    if len(text) > CHARACTERS or ":" in text:
        raise ValueError("is a number of an unusual form: write it as a decimal number, or in quotes if it is a text")
    try:
        number = float(text)
    except ValueError:  # YAML writes .inf and .nan; or text with the tag !!float
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"is {node.value[:40]}, which is not a finite number: write a decimal number")
    return number


def _boolean(node: yaml.ScalarNode) -> bool:
    if node.value.lower() not in ("true", "false"):
        raise ValueError(f"is {node.value[:40]}, which YAML reads as true or false: write true or false, or put it in "
                         "quotes if it is a text")  # fmt: skip
    return node.value.lower() == "true"


def _null(node: yaml.ScalarNode) -> None:
    if node.value.lower() not in ("null", "~"):
        raise ValueError("has no value: write one, or null")


def _no_kind(node: yaml.ScalarNode) -> Any:
    raise ValueError(f"has the tag {_tag(node)}, which is not used here: write a plain value, or put it in quotes")


def _tag(node: yaml.Node) -> str:
    return node.tag.replace(TAG, "!!")[:40]


SCALARS: dict[str, Callable[[yaml.ScalarNode], Any]] = {
    f"{TAG}str": _text,
    f"{TAG}timestamp": _text,  # as papermill reads it
    f"{TAG}int": _whole,
    f"{TAG}float": _float,
    f"{TAG}bool": _boolean,
    f"{TAG}null": _null,
}
