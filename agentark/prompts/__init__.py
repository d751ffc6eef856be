"""What verifiers, judges and distillers are told: plain text files, and how foreign text is put into them.

A file is comment lines (whose words they are: the paper's or ours) and sections: a line "== name" and the text up to the next one,
in which {names} are filled in.  Whatever a model or a data set wrote goes in by `quote`: each of its lines begins with "> ", so that
nothing in it can end the quotation, and it holds no special token of a chat template; every prompt says what such lines are.
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
    """The sections of a prompt file, by name, without spaces around them."""
    head, *parts = re.split(r"^== (\w+)\n", _text(name), flags=re.MULTILINE)
    if any(line and not line.startswith("#") for line in head.splitlines()):
        raise ValueError(f"prompts/{name}.txt: before its first section (== name) only comment lines may stand")
    return {section: text.strip() for section, text in zip(parts[::2], parts[1::2])}


def fill(template: str, **values: str) -> str:
    """A template with its {names} replaced; what stands in the values is not looked at again.

    Raises ValueError where the template names something that is not given, or the other way round.
    """
    wanted = set(_NAME.findall(template))
    if wanted != set(values):
        raise ValueError(f"the prompt wants {sorted(wanted)}, it was given {sorted(values)}")
    return _NAME.sub(lambda found: values[found[1]], template)


def quote(text: str) -> str:
    """Foreign text as a quotation: "> " before each line, special tokens broken by a space."""
    return "\n".join(f"> {line}".rstrip() for line in _SPECIAL.sub(r"\g<0> ", text).splitlines()) or ">"


def identity(*names: str) -> str:
    """Twelve hex digits that stand for the words of prompt files, for the manifests of what was made with them."""
    return hashlib.sha256("\0".join(map(_text, names)).encode()).hexdigest()[:12]
