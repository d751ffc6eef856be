"""The prompts of verifiers, judges and distillers: plain text files, and how other texts are inserted into them.

A file has comment lines, which say whether the words are the paper's or ours, and sections: a line "== name" and the
text up to the next such line, in which {names} are filled in.  Text that a model or a data set wrote is inserted by
`quote`: each of its lines starts with "> ", so that nothing in it can end the quotation, and it contains no special
token of a chat template.  Every prompt explains such lines.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

NAMES = ("diverse", "extract", "judge", "verify")
_SPECIAL = re.compile(r"<(?=[^\s=])|\[(?=/?[A-Z][A-Z_0-9]+\])")  # opens <|im_end|>, <end_of_turn>, </s>, [INST], …
_NAME = re.compile(r"\{(\w+)\}")


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.txt").read_text(encoding="utf-8")


@cache
def read(name: str) -> dict[str, str]:
    """The sections of a prompt file by name, stripped."""
    head, *parts = re.split(r"^== (\w+)\n", _text(name), flags=re.MULTILINE)
    if any(line and not line.startswith("#") for line in head.splitlines()):
        raise ValueError(f"prompts/{name}.txt: only comment lines may precede its first section (== name)")
    return {section: text.strip() for section, text in zip(parts[::2], parts[1::2], strict=True)}


def fill(template: str, **values: str) -> str:
    """A template with its {names} replaced; the values are not searched for names.

    Raises ValueError if the names of the template and of the values differ.
    """
    names = set(_NAME.findall(template))
    if names != set(values):
        raise ValueError(f"the prompt wants values for {sorted(names)}, but was given {sorted(values)}")
    return _NAME.sub(lambda match: values[match[1]], template)


def quote(text: str) -> str:
    """A text as a quotation: "> " before each line, and a space inside each special token."""
    return "\n".join(f"> {line}".rstrip() for line in _SPECIAL.sub(r"\g<0> ", text).splitlines()) or ">"


def identity(*names: str) -> str:
    """Twelve hex digits that identify the contents of prompt files in manifests."""
    return hashlib.sha256("\0".join(map(_text, names)).encode()).hexdigest()[:12]
