"""Finds what the files of the package declare (stages, protocols, methods, benchmarks), and checks names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from agentark.params import ParamsError, unknown


@cache
def discover(package: str, name: str) -> dict[str, Any]:
    """Find the modules of `package`, at any depth, that define `name` at the top level: {module: object}, sorted.

    A module is imported only if its text has the definition, so that looking for declarations loads nothing heavy.
    """
    root, found = Path(import_module(package).__path__[0]), {}
    definition = re.compile(rf"^(?:def {name}\(|{name}\b[^=\n]*=)", re.MULTILINE)
    for path in sorted(root.rglob("*.py")):
        if definition.search(path.read_text(encoding="utf-8")):
            module = ".".join([package, *path.relative_to(root).with_suffix("").parts]).removesuffix(".__init__")
            found[module] = getattr(import_module(module), name)
    return found


def by_name(declared: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Declarations, given by module, by their `name`.  Raises ParamsError if two modules declare the same name."""
    modules: dict[str, str] = {}
    for module, declaration in declared.items():
        if declaration.name in modules:
            raise ParamsError(f"{modules[declaration.name]} and {module} both declare the {kind} {declaration.name!r}")
        modules[declaration.name] = module
    return {declaration.name: declaration for declaration in declared.values()}


def check_name(name: str, known: Mapping[str, Any], kind: str) -> None:
    """Raises ParamsError, with the nearest name and the list, if `name` is not among the `known` ones of its kind."""
    if name not in known:
        sentence = unknown(name, tuple(known), kind)
        names = f" ({kind}s: {', '.join(known)})" if "did you mean" in sentence else ""
        raise ParamsError(sentence + names)
