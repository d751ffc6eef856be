"""The declarations of the stages: the study to which they belong, and one `Job` per notebook run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, cast

from agentark import params, store
from agentark.cells import Artifact, Cell, Files, slug
from agentark.cells.cell import NONE
from agentark.cells.files import DEFAULT_PROTOCOL, touches

Work = dict[tuple[str, str], float]  # (kind of token, network) -> how many; the kinds are plan.KINDS


def output_name(name: str, limit: int) -> str:
    """The folder of a run below results/ and figures/: the study's name, and for a slice its size."""
    return f"{name}-first{limit}" if limit else name


@dataclass(frozen=True)
class Sizes:
    """The number of problems that a run uses: of the training set, of dev, and of each test set by its name."""

    train: int
    dev: int
    tests: dict[str, int]


@dataclass(frozen=True)
class Study:
    """A params file as the stages' `jobs` functions see it.

    base: the params as they stand in the file.  limit: the number of problems of a slice (0: all).  axes: of a variant
    (see `variants`), the values that it has of the study's axes.
    """

    base: params.Params
    limit: int = 0
    axes: tuple[tuple[str, Any], ...] = ()

    @cached_property
    def params(self) -> params.Params:
        """The params of this variant."""
        return self.base.with_axes(dict(self.axes)) if self.axes else self.base

    @cached_property
    def files(self) -> Files:
        """The files of the study."""
        defaults = {path: self.base.value(path) for path in self.base.study.axes}
        return Files(store.ROOT / "results" / output_name(self.base.study.name, self.limit), defaults)

    def values(self, taught: bool = False) -> dict[str, list[Any]]:
        """The values of the study's axes; taught: only those from which students learn (`study.taught`)."""
        return self.base.study.axes | (self.base.study.taught if taught else {})

    def variants(self, sections: tuple[str, ...], taught: bool = False) -> Iterator[Study]:
        """The study with each combination of the axis `values` that touch one of `sections`."""
        axes = self.values(taught)
        paths = [path for path in axes if touches(path, sections)]
        for values in product(*(axes[path] for path in paths)):
            yield Study(self.base, self.limit, tuple(zip(paths, values, strict=True)))

    def cell(self, **coordinates: Any) -> Cell:
        """A cell of this variant."""
        return Cell(axes=self.axes, **coordinates)

    def path(self, artifact: Artifact, cell: Cell) -> Path:
        return self.files.path(artifact, cell)

    def groups(self) -> list[list[str]]:
        """The students that are trained in one notebook run (`study.grain`)."""
        students = self.base.study.students
        return [students] if self.base.study.grain == "students" else [[student] for student in students]

    def size(self, split: str, task: str) -> int:
        """The number of problems of a task's "train", "dev", "test" or "debate_test" that a run uses."""
        n = self.params.sizes.count(cast(Any, split), task)
        return min(n, self.limit) if self.limit else n

    def sizes(self, task: str) -> Sizes:
        """The sizes of a run on a training set ("": none)."""
        tests = {test: self.size("test", test) for test in self.base.study.test_tasks}
        return Sizes(self.size("train", task), self.size("dev", task), tests)

    def generated(self, split: str, task: str) -> int:
        """The number of problems of a split that a protocol answers."""
        return self.size("debate_test" if split == "test" else split, task)


@dataclass(frozen=True)
class Job:
    """One run of a notebook.

    notebook: its name.  coordinates: its flat parameters.  inputs, outputs: files that it reads and writes.  sections:
    the sections (or dotted keys) of the params that its results depend on.  source: "module" or "module:name" roots of
    the code that they depend on.  models: the networks that it loads.  parts: what tells it from the notebook's other
    runs.  tokens: its expected work, given the tier's rates (`plan.Rates`).
    """

    notebook: str
    coordinates: dict[str, Any] = field(hash=False)
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    sections: tuple[str, ...]
    source: tuple[str, ...]
    models: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    tokens: Callable[[Any], Work] = field(default=lambda rates: {}, compare=False)
    params: params.Params | None = field(default=None, compare=False)  # of the variant that it belongs to

    @property
    def name(self) -> str:
        return "-".join([self.notebook, *self.parts])


def report_job(study: Study, notebook: str, source: Iterable[str], graders: Iterable[str] = (), **about: Any) -> Job:
    """A job that reports on a whole study by modules of `report`; `about` has its inputs, outputs and sections."""
    code = (*(f"agentark.report.{module}" for module in source), *graders)
    fields: dict[str, Any] = {key: tuple(value) for key, value in about.items()}
    return Job(notebook, {}, source=code, params=study.params, **fields)


def job(study: Study, notebook: str, cell: Cell, coordinates: dict[str, Any], parts: list[str], **about: Any) -> Job:
    """Return a job of a variant of a study; `about` are the other fields of `Job`, lists or tuples.

    The cell's axis values, and a protocol other than the default, are added to the flat parameters and to the name.
    """
    if cell.axes:
        coordinates = {**coordinates, "axes": dict(cell.axes)}
    if cell.protocol not in (NONE, DEFAULT_PROTOCOL) and "protocol" not in coordinates:
        coordinates, parts = {**coordinates, "protocol": cell.protocol}, [*parts, cell.protocol]
    varied = [f"{path}={slug(value)}" for path, value in cell.axes if study.files.defaults[path] != value]
    about = {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
    return Job(notebook, coordinates, parts=tuple(map(slug, [*parts, *varied])), params=study.params, **about)
