"""What a notebook's first cell calls: from its parameters to a checked `Run`.

A notebook declares the sections of the params file (mappings; {} takes params/mini.yaml's) and, flat, its coordinates.
`begin(globals())` refuses whatever the notebook did not declare, checks everything, and knows where the run's files lie.
"""

from __future__ import annotations

import ast
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from . import params, store, study, tasks
from .models import load
from .params import ParamsError

DEFAULT = store.ROOT / "params" / "mini.yaml"


@dataclass(frozen=True)
class Run:
    """A checked notebook run: parameters, coordinates and files."""

    params: params.Params
    at: params.Coordinates
    files: study.Files  # what this run makes

    @property
    def name(self) -> str:
        return self.files.root.name

    @property
    def figures(self) -> Path:
        return store.ROOT / "figures" / self.name

    @property
    def reference(self) -> study.Files:
        """The committed rows of a run on a stated machine."""
        return study.Files(store.ROOT / "results" / "reference" / self.params.study.name)

    @property
    def seed(self) -> int:
        return self.at.seed

    def size(self, what: str, task: str) -> int:
        """How many problems of a task's "train", "dev", "test" or "debate_test" this run uses."""
        n = self.params.sizes.of(what, task)
        return min(n, self.at.limit) if self.at.limit else n

    @property
    def tests(self) -> dict[str, int]:
        """The study's test sets, and how many problems of each this run uses."""
        return {test: self.size("test", test) for test in self.params.study.test_tasks}

    def debated(self, split: str, task: str) -> int:
        """How many problems of a task's split are put to the debate."""
        return self.size("debate_test" if split == "test" else split, task)

    def committed(self, table: str, **where: Any) -> pd.DataFrame:
        """Rows of a committed reference table whose columns are as in `where`; says so, and gives none, where there is no reference."""
        path = self.reference.root / f"{table}.csv"
        if not path.exists():
            print(f"there is no committed reference for the study {self.params.study.name!r}")
            return pd.DataFrame()
        rows = pd.read_csv(path, keep_default_na=False, na_values=[""])
        for column, value in where.items():
            rows = rows[rows[column].isin(value) if isinstance(value, list) else rows[column] == value]
        return rows.drop(columns=[c for c, v in where.items() if not isinstance(v, list)]).reset_index(drop=True)

    def found(self, path: Path) -> Path:
        """An earlier stage's table: this run's, or the committed reference, as `inputs` says.  Says which; StoreError where there is none."""
        reference = self.reference.root / path.relative_to(self.files.root)
        order = {"run": [path], "reference": [reference], "auto": [path, reference]}[self.at.inputs]
        for candidate in order:
            if candidate.exists():
                print(f"reading {candidate.relative_to(store.ROOT)}")
                return candidate
        raise store.StoreError(
            f"there is no {' nor '.join(str(c.relative_to(store.ROOT)) for c in order)}: run the notebook that makes it first "
            "(the README's table says which), or `agentark run` for the whole study"
        )

    def rows(self, path: Path, task: str, split: str) -> pd.DataFrame:
        """An earlier stage's rows of a task's split, cut to this run's slice: its first `limit` problems."""
        table = pd.read_parquet(self.found(path))
        if not self.at.limit:
            return table
        return table[table.problem.isin([p.id for p in tasks.problems(task, split, self.at.limit)])].reset_index(
            drop=True
        )


def begin(namespace: dict[str, Any]) -> Run:
    """Check a notebook's parameters.  `namespace` is its globals(), right after the parameters cell.

    Raises ParamsError for a parameter that the notebook does not declare, or that cannot be.
    """
    where = "this notebook's parameters"
    cells = [source for source in namespace.get("In", []) if isinstance(source, str)]
    injected = [source for source in cells if source.startswith("# Parameters\n")]
    declared = {name for source in cells if source not in injected for name in assigned(source)}
    refuse_undeclared({name for source in injected for name in assigned(source)}, declared, where)
    given = {
        name: namespace[name]
        for name in params.SECTIONS + params.COORDINATES
        if name in namespace and not callable(namespace[name])
    }
    return check(given, where)


def check(given: dict[str, Any], where: str) -> Run:
    """The Run of some parameters; what a section does not say is as in params/mini.yaml.  Raises ParamsError."""
    sections = {}
    defaults = yaml.safe_load(DEFAULT.read_text())
    for name in params.SECTIONS:
        said = given.get(name, {})
        sections[name] = {**defaults[name], **said} if isinstance(said, dict) else said
    told, at = params.check({**given, **sections}, where)
    check_names(told, at)
    return Run(told, at, study.Files(store.ROOT / "results" / study.output_name(told.study.name, at.limit)))


def check_names(told: params.Params, at: params.Coordinates) -> None:
    """ParamsError where a task or network of the study or the coordinates does not exist."""
    for task in sorted({*told.study.train_tasks, *told.study.test_tasks, at.task} - {""}):
        try:
            tasks.get(task)
        except ValueError as error:
            raise ParamsError(str(error)) from None
    for model in sorted(
        {*told.study.teachers, *told.study.students, *at.students, at.student, at.teacher, told.prm.backbone}
        - {"", "student"}
    ):
        try:
            load.check_name(model)
        except load.ModelError as error:
            raise ParamsError(str(error)) from None


def assigned(source: str) -> set[str]:
    """The names that a cell's top level assigns; nothing where it is no plain Python (magics)."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    found: set[str] = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def refuse_undeclared(given: set[str], declared: set[str], where: str) -> None:
    """ParamsError where a parameter was given that the notebook's parameters cell does not declare."""
    for name in sorted(given - declared):
        raise ParamsError(f"{where}: {params.unknown(name, tuple(sorted(declared)))}")


def provenance() -> str:
    """What this runs with and on, for a cell that is not compared."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    return f"Python {platform.python_version()}, {packages}\n{store.machine()}"
