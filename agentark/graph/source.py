"""Which code a stage depends on: a hash of the definitions that it uses, directly or not.

The hash is of the syntax tree, without docstrings, comments and layout, and follows names: from a function to the
functions, classes and constants of this package that it mentions, in any file.  Another function of the same file, a
new benchmark or a new method change nothing; a changed constant changes everything that depends on it.  A stage must
name as roots what it finds by name at run time (a protocol, a method, a benchmark).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ALWAYS = ""  # the name of a module's statements that define nothing
WHOLE = "*"  # the name that stands for a whole module


@dataclass
class Module:
    """A module: the nodes of each name that it defines, and (module, name or "*") of each name that it imports."""

    nodes: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


@cache
def path_of(module: str) -> Path | None:
    """The file of `agentark.x.y`; None if there is none (or if it is a name in a module)."""
    top, *parts = module.split(".")
    if top != "agentark":
        return None
    path = PACKAGE.joinpath(*parts)
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


@cache
def parsed(module: str) -> Module:
    """A module's definitions, without docstrings, and its imports, wherever in the file they stand."""
    path = path_of(module)
    if path is None:
        raise ValueError(f"there is no module {module} in this package")
    tree, result = ast.parse(path.read_text(encoding="utf-8")), Module()
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in _walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            has_docstring = ast.get_docstring(node, clean=False) is not None
            node.body = (node.body[1:] or [ast.Pass()]) if has_docstring else node.body
        elif isinstance(node, ast.Import):
            for alias in node.names:
                result.imports[alias.asname or alias.name.split(".")[0]] = (alias.name, WHOLE)
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            for alias in node.names:
                submodule = f"{base}.{alias.name}"
                target = (submodule, WHOLE) if path_of(submodule) else (base, alias.name)
                result.imports[alias.asname or alias.name] = target
    for node in tree.body:
        for name in _defined(node):
            result.nodes.setdefault(name, []).append(node)
    return result


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all nodes below it, each after its parent; twice as fast as `ast.walk`."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        for field_name in node._fields:
            value = getattr(node, field_name, None)
            if isinstance(value, ast.AST):
                todo.append(value)
            elif isinstance(value, list):
                todo.extend(part for part in value if isinstance(part, ast.AST))


def _defined(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines; `ALWAYS` for a statement that runs and defines nothing."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    if is_docstring or isinstance(node, (ast.Import, ast.ImportFrom)):
        return []
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        return names or [ALWAYS]
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return []
    return [ALWAYS]


@cache
def uses(module: str, name: str) -> set[tuple[str, str]]:
    """The (module, name) pairs of this package that a definition mentions; `WHOLE` for all of a module's names."""
    own, pairs = parsed(module), {(module, ALWAYS)}
    if name == WHOLE:
        return pairs | {(module, other) for other in own.nodes}
    for node in own.nodes.get(name, []):
        parents: dict[int, ast.Attribute] = {}  # by the object from which an attribute is read, which `walk` sees later
        for n in _walk(node):
            if isinstance(n, ast.Attribute):
                parents[id(n.value)] = n
            elif isinstance(n, ast.Name) and n.id in own.nodes and n.id != name:
                pairs.add((module, n.id))
            elif isinstance(n, ast.Name) and n.id in own.imports:
                chain, parent = [], parents.get(id(n))
                while parent is not None:
                    chain.append(parent.attr)
                    parent = parents.get(id(parent))
                pairs.add(_resolve(*own.imports[n.id], chain))
    return {pair for pair in pairs if path_of(pair[0])}


def _resolve(module: str, name: str, attributes: list[str]) -> tuple[str, str]:
    """The definition of an imported name with the `attributes` read from it, through modules and re-exports."""
    while True:
        if name == WHOLE and attributes and path_of(module):
            name, *attributes = attributes
            if path_of(f"{module}.{name}") and name not in parsed(module).nodes:
                module, name = f"{module}.{name}", WHOLE
        elif name != WHOLE and path_of(module) and name not in parsed(module).nodes and name in parsed(module).imports:
            module, name = parsed(module).imports[name]
        else:
            return module, name


def definitions(*roots: str) -> list[tuple[str, str]]:
    """All (module, name) pairs that the roots depend on, sorted.  A root is "module" (all of it) or "module:name".

    Raises ValueError for a root that does not exist.
    """
    todo = [(module, name.split(".")[0] or WHOLE) for module, _, name in (root.partition(":") for root in roots)]
    for module, name in todo:
        if name not in (WHOLE, *parsed(module).nodes):
            raise ValueError(f"{module} does not define {name}")
    seen: set[tuple[str, str]] = set()
    while todo:
        pair = todo.pop()
        if pair not in seen:
            seen.add(pair)
            todo.extend(uses(*pair))
    return sorted(seen)


@cache
def _text(module: str, name: str) -> bytes:
    """The syntax tree of a definition."""
    nodes = [] if name == WHOLE else parsed(module).nodes.get(name, [])
    return "".join(map(ast.dump, nodes)).encode()


def source_hash(*roots: str) -> str:
    """Twelve hex digits that stand for the code which the roots depend on (see `definitions`).

    A root such as "text:…", which no module can be called, stands for itself.
    """
    code = [root for root in roots if root.startswith("agentark")]
    sha = hashlib.sha256("\0".join(sorted(set(roots) - set(code))).encode())
    for module, name in definitions(*code):
        if text := _text(module, name):
            sha.update(f"\0{module}:{name}\0".encode() + text)
    return sha.hexdigest()[:12]
