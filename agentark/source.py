"""Which source a stage depends on: a hash of a module with everything of this package that it imports.

A stage is made anew when a line of it, or of what it imports, changes; a commit elsewhere changes nothing.  `agentark.tasks` names every benchmark, and
a stage reads one or two: it adds those it reads (`tasks.modules`), so that a new benchmark makes no night's work stale.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

PACKAGE = Path(__file__).parent
TABLE = "agentark.tasks"


def _file(module: str) -> Path | None:
    """The file of `agentark.x.y`, or None where that is no module (but a name in one)."""
    top, *parts = module.split(".")
    if top != "agentark":
        return None
    path = PACKAGE.joinpath(*parts)
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def imports(module: str) -> set[str]:
    """The modules of this package that `module` imports, wherever in the file it does; of TABLE, none of those it names."""
    file = _file(module)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(part for part in (above, node.module) if part)
            named = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in named:
            parts = name.split(".")
            if parts[0] == "agentark":  # a package's __init__ is run, too
                found.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return {name for name in found if _file(name) and not (module == TABLE and name.startswith(f"{TABLE}."))}


def modules(*roots: str) -> list[str]:
    """The roots and all modules of this package that they import, directly or not, sorted."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        if _file(module) is None:
            raise ValueError(f"no module {module} in this package")
        seen.add(module)
        todo.extend(imports(module))
    return sorted(seen)


def source_hash(*roots: str) -> str:
    """Twelve hex digits that stand for the source of `roots` with all of the package that they import."""
    sha = hashlib.sha256()
    for module in modules(*roots):
        sha.update(module.encode() + b"\0" + _file(module).read_bytes() + b"\0")
    return sha.hexdigest()[:12]
