"""The first cell of a notebook: from its parameters to a checked `Run`.

A notebook declares the sections of the params file (mappings; {} stands for those of params/mini.yaml) and, flat, its
coordinates.  `begin(globals())` refuses undeclared parameters, checks the others, and knows the run's files.
"""

from __future__ import annotations

import ast
import logging
import platform
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import params, store, tasks
from .cells import Artifact, Cell, Files, fill_coordinates, slug
from .cells.cell import NONE
from .discovery import check_name
from .distill.method import links, methods
from .graph import graph
from .graph.job import Sizes, Study, output_name
from .mas.protocol import protocols
from .models import fit, load
from .params import ParamsError, yaml_file
from .store import progress

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = store.ROOT / "params" / "mini.yaml"


@dataclass(frozen=True)
class Run:
    """A checked notebook run: its study, its coordinates, and its files."""

    base: params.Params = field(repr=False)
    coordinates: params.Coordinates

    @cached_property
    def study(self) -> Study:
        """The study, with the axis values of this run."""
        return Study(self.base, self.coordinates.limit, tuple(self.coordinates.axes.items()))

    @property
    def params(self) -> params.Params:
        """The sections of the params file, with the axis values of this run."""
        return self.study.params

    @property
    def name(self) -> str:
        return output_name(self.base.study.name, self.coordinates.limit)

    @cached_property
    def files(self) -> Files:
        """The files that this run writes."""
        return graph.files(self.study)

    @property
    def figures(self) -> Path:
        return store.ROOT / "figures" / self.name

    @property
    def reference(self) -> Files:
        """The committed rows of the reference run of this study."""
        return Files(store.ROOT / "results" / "reference" / self.base.study.name, self.files.defaults)

    @cached_property
    def cell(self) -> Cell:
        """The cell of this run; a stage of several students adds the student."""
        c = self.coordinates
        names = {name: getattr(c, name) for name in ("method", "protocol", "seed", "split")}
        networks = {"teacher": c.teacher or NONE, "student": c.student or NONE}
        return self.study.cell(**networks, **names, **{"test" if c.split == "test" else "train": c.task})

    @property
    def data_cell(self) -> Cell:
        """The cell of the traces: students of every training seed learn from those of the study's first seed."""
        return self.cell.but(seed=self.base.study.seeds[0])

    def size(self, split: str, task: str) -> int:
        """The number of problems of a task's "train", "dev", "test" or "debate_test" that this run uses."""
        return self.study.size(split, task)

    def generated(self, split: str, task: str) -> int:
        """The number of problems of a task's split that a protocol answers."""
        return self.study.generated(split, task)

    def questions(self, students: list[str]) -> int:
        """How many test questions some students answer, each once; see `models.fit.tests_of`."""
        taken = [test for student in students for test in fit.tests_of(student, self.tests, self.params.engine)]
        return sum(self.tests[test] for test in taken)

    @cached_property
    def sizes(self) -> Sizes:
        """The number of problems that this run uses of its training set, of dev, and of each test set."""
        return self.study.sizes(self.coordinates.task)

    @property
    def tests(self) -> dict[str, int]:
        """The study's test sets, and the number of problems of each that this run uses."""
        return self.sizes.tests

    def reference_table(self, table: str, *, of_run: bool = False, **where: Any) -> pd.DataFrame:
        """Rows of a table of the full run whose columns equal `where`; empty, with a sentence, if there is none.

        of_run: only those of this run's values of the study's axes; a row without a value of one belongs to them all.
        """
        import pandas as pd

        path = self.reference.root / f"{table}.csv"
        if not path.exists():
            print(f"there are no full-run results of the study {self.base.study.name!r}")
            return pd.DataFrame()
        rows = pd.read_csv(path, keep_default_na=False, na_values=[""])
        if {"train", "test"} <= set(rows.columns):
            rows = fill_coordinates(rows)
        for axis in set(self.base.study.axes) & set(rows.columns) if of_run else ():
            value, column = self.params.value(axis), rows[axis]
            rows = rows[column.isna() | column.eq(value) | column.astype(str).eq(str(value))]
        for column, value in where.items():
            rows = rows[rows[column].isin(value) if isinstance(value, list) else rows[column] == value]
        return rows.drop(columns=[c for c, v in where.items() if not isinstance(v, list)]).reset_index(drop=True)

    def find(self, path: Path) -> Path:
        """Return an earlier stage's table, of this run or of the reference run (see `inputs`), and print which.

        Raises StoreError if there is none.
        """
        reference = self.reference.root / path.relative_to(self.files.root)
        order = {"run": [path], "reference": [reference], "auto": [path, reference]}[self.coordinates.inputs]
        for candidate in order:
            if candidate.exists():
                print(f"reading {candidate.relative_to(store.ROOT)}")
                return candidate
        missing = " nor ".join(str(candidate.relative_to(store.ROOT)) for candidate in order)
        advice = "run the notebook that makes it first (the README's table says which)"
        raise store.StoreError(f"there is no {missing}: {advice}, or `agentark run` for the whole study")

    def table(self, artifact: Artifact, cell: Cell) -> tuple[pd.DataFrame, str]:
        """Return an earlier stage's rows of the problems of this run's slice, and the table's identity in manifests."""
        import pandas as pd

        path = self.find(self.files.path(artifact, cell))
        return self._sliced(pd.read_parquet(path), cell), store.identity(path)

    def log(self, cell: Cell) -> tuple[pd.DataFrame, str]:
        """Return the graded log of a cell for the problems of this run's slice, and its identity in manifests."""
        from .grade import grading
        from .mas.jobs import DEBATES

        path = self.find(self.files.path(DEBATES, cell))
        rows = grading.read(path) if path.is_relative_to(self.reference.root) else grading.run(path)
        return self._sliced(rows, cell), grading.identity(path)

    def _sliced(self, rows: pd.DataFrame, cell: Cell) -> pd.DataFrame:
        if not self.coordinates.limit:
            return rows
        ids = [p.id for p in tasks.problems(cell.task, cell.split, self.coordinates.limit)]
        return rows[rows.problem.isin(ids)].reset_index(drop=True)


def begin(namespace: dict[str, Any]) -> Run:
    """Check a notebook's parameters, and prepare what it prints (see `quiet`).  namespace: the notebook's globals().

    Raises ParamsError for a parameter that the notebook does not declare, or whose value is not possible.
    """
    where = "this notebook's parameters"
    sources = [source for source in namespace.get("In", []) if isinstance(source, str)]
    injected = [source for source in sources if source.startswith("# Parameters\n")]
    declared = {name for source in sources if source not in injected for name in assigned(source)}
    refuse_undeclared({name for source in injected for name in assigned(source)}, declared, where)
    names = (*params.SECTIONS, *params.COORDINATES)
    run = check({name: namespace[name] for name in names if name in namespace and not callable(namespace[name])}, where)
    quiet(trains=bool({"student", "students"} & set(namespace)), headless=bool(injected))
    print(f"study {run.base.study.name}: writes to results/{run.name}")
    return run


def quiet(trains: bool, headless: bool) -> None:
    """Show errors of libraries only, and tables whole.

    trains: a network is trained, so that the trainer's dictionary per step has to be silenced.  headless: papermill
    executes the notebook; its log keeps one line per finished chunk, which a page shows as one line that is updated.
    """
    import pandas as pd

    for name in ("transformers", "trl", "accelerate", "datasets", "peft", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(?!agentark)")
    for option in ("display.max_rows", "display.max_columns", "display.max_colwidth", "display.width"):
        pd.set_option(option, None)
    printing = [progress]
    if trains:  # takes seconds to import, which a notebook that only reads tables does not need
        from transformers.trainer_callback import PrinterCallback

        from .distill import rl_log

        PrinterCallback.on_log = lambda *_, **__: None
        printing.append(rl_log)
    if not headless:
        for module in printing:  # not a parameter of their functions: the code of these is part of the hash of a stage
            vars(module)["print"] = update_line


_lines: dict[int, Any] = {}  # for each executed cell, the handle of its line


def update_line(text: str, **_: Any) -> None:
    """Show `text` in place of the last line of the same cell."""
    from IPython import display, get_ipython

    shell = get_ipython()
    if shell is None:
        print(text)
        return
    content = {"text/plain": text}
    if handle := _lines.get(shell.execution_count):
        handle.update(content, raw=True)
    else:
        _lines[shell.execution_count] = display.display(content, raw=True, display_id=True)


def check(given: dict[str, Any], where: str) -> Run:
    """Return the Run of some parameters; missing keys are as in params/mini.yaml.  Raises ParamsError."""
    defaults = yaml_file.read(DEFAULT)[0]
    sections = {}
    for name in params.SECTIONS:
        section = given.get(name, {})
        if name == "engine" and isinstance(section, dict):  # the keys of another engine are no defaults of this one
            known = params.keys_of(section.get("name", defaults[name]["name"]))
            defaults[name] = {key: value for key, value in defaults[name].items() if key in known}
        sections[name] = {**defaults[name], **section} if isinstance(section, dict) else section
    config, coordinates = params.check({**given, **sections}, where)
    check_names(config, coordinates)
    return Run(config, coordinates)


def check_names(config: params.Params, coordinates: params.Coordinates) -> None:
    """Check the benchmarks, methods, protocols and networks of a study and of coordinates, without heavy imports.

    Raises ParamsError if one does not exist, or if those of the study do not fit together.
    """
    study = config.study
    trained = {name: method for name, method in methods().items() if method.trained}
    for name in study.methods:
        if name in methods() and name not in trained:
            raise ParamsError(f"study.methods: {name} trains nothing and is evaluated in every study anyway: remove it")
        check_name(name, trained, "method")
        partner = trained[name].control_of
        if partner and partner not in study.methods:
            reason = f"study.methods: {name} is a control of {partner}, which the study does not have"
            raise ParamsError(f"{reason}: add {partner}, or remove {name}")
        if (start := trained[name].after) and links(name) and start not in study.methods:
            reason = f"study.methods: {name} starts from the students of {start}, which the study does not have"
            raise ParamsError(f"{reason}: add {start}, or remove {name}")
    check_name(coordinates.method, methods(), "method")
    links(coordinates.method)
    imitating = {name: m for name, m in trained.items() if m.examples or m.optimiser == "select"}
    for name in config.distill.by_method:
        check_name(name, imitating, "imitating method")
    for name in config.rl.by_method:
        check_name(
            name, {name: m for name, m in trained.items() if m.reward}, "method that learns from its own samples"
        )
    for name in (*study.protocols, coordinates.protocol):
        check_name(name, protocols(), "protocol")
    students = {*study.students, *coordinates.students, *({coordinates.student} - {""})}
    teachers = {*study.teachers, *({coordinates.teacher} - {""})}
    students = set() if config.engine.serves else students  # of a server's networks, only the names are known
    teachers = set() if config.teacher_engine.serves else teachers
    try:
        for task in sorted({*study.train_tasks, *study.test_tasks, *({coordinates.task} - {""})}):
            tasks.get(task)
        backbones = {config.prm.backbone, *map(str, study.axes.get("prm.backbone", []))} - {"student"}
        for model in sorted({*teachers, *students, *backbones}):
            load.check_name(model)
        for variant in Study(config).variants(("debate", "distill", "engine", "evaluate", "judges", "prm", "rl")):
            fit.check(variant.params, sorted(teachers), sorted(students))
            fit.check_sight(variant.params)
    except (ValueError, load.ModelError) as error:
        raise ParamsError(str(error)) from None
    _check_base_names("train_tasks and test_tasks", [*study.train_tasks, *study.test_tasks])
    _check_base_names("teachers", study.teachers)
    _check_base_names("students", study.students)
    for train in study.train_tasks:
        for test in study.test_tasks:
            if why := tasks.shared_problems(train, test):
                advice = f"test on {train}, or train on another set"
                raise ParamsError(f"study: what is learned from {train} cannot be tested on {test} ({why}): {advice}")
    rewarded = [name for name in study.methods if trained[name].reward]
    for name in rewarded:
        rl = config.rl.of(name)
        critic = rl.critic_warmup if trained[name].optimiser == "ppo" and rl.critic else 0
        for key, steps in (("critic_warmup", critic), ("warmup_steps", rl.warmup_steps)):
            if steps >= rl.steps:
                raise ParamsError(f"rl.{key} = {steps} leaves {name} no step of rl.steps = {rl.steps}: lower it")
    if config.rl.init == "rsft" and rewarded and "rsft" not in study.methods:
        reason = "rl.init = rsft starts from the study's R-SFT checkpoints, and study.methods has no rsft"
        raise ParamsError(f"{reason}: add it, or use init: base")


def _check_base_names(key: str, names: list[str]) -> None:
    """Raise ParamsError if two task files or networks have one base name, which is their name in results."""
    by_slug: dict[str, str] = {}
    for name in names:
        other = by_slug.setdefault(slug(name), name)
        if other != name:
            reason = f"{other} and {name} have the same base name, by which results are named"
            raise ParamsError(f"study.{key}: {reason}: rename one of them")


def assigned(source: str) -> set[str]:
    """Return the names that a cell assigns at its top level; none if it is not plain Python (magics)."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return set()
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def declared(cells: list) -> set[str]:
    """Return the parameters that a notebook declares in its cells tagged "sections" and "parameters"."""
    tagged = [cell for cell in cells if {"sections", "parameters"} & set(cell["metadata"].get("tags", []))]
    return {name for cell in tagged for name in assigned("".join(cell["source"]))}


def refuse_undeclared(given: set[str], declared: set[str], where: str) -> None:
    """Raise ParamsError if a parameter was given that the notebook does not declare."""
    for name in sorted(given - declared):
        raise ParamsError(f"{where}: {params.unknown(name, tuple(sorted(declared)))}")


def provenance() -> str:
    """Return the packages and the machine of this run, for a cell whose output is not compared."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    return f"Python {platform.python_version()}, {packages}\n{store.machine()}"
