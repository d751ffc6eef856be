"""All sections of a params file together, and access to their keys by dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from pydantic import ValidationError, model_validator

from .base import ParamsError, Section
from .debate import Debate
from .engine import Engine
from .evaluate import Evaluate, Stats
from .extract import Extract, Judges
from .messages import sentences, unknown
from .study import Sizes, Study
from .training import Distill, Dpo, Prm, Rl

# The sections that axes cannot vary, and why.
NO_AXES = {"study": "the lists of the study are axes already",
           "stats": "the intervals are computed in the same way throughout a study"}  # fmt: skip


class Params(Section):
    """A params file without its coordinates."""

    study: Study
    sizes: Sizes
    engine: Engine
    debate: Debate
    extract: Extract
    judges: Judges
    distill: Distill
    dpo: Dpo
    prm: Prm
    rl: Rl
    evaluate: Evaluate
    stats: Stats

    @property
    def teacher_engine(self) -> Engine:
        """The engine of the teacher in a debate: its own or that of the study."""
        return self.debate.engine or self.engine

    def served(self) -> list[tuple[str, Engine]]:
        """Return the models that servers have to have, with their engines: teachers, students under test, judges."""
        judges = [*self.judges.named(), *([self.judges.quality] if self.judges.quality else [])]
        used = [(teacher, self.teacher_engine) for teacher in self.study.teachers]
        used += [(student, self.engine) for student in self.study.students]
        used += [(judge.model, judge.engine or self.engine) for judge in judges]
        return [(model, engine) for model, engine in used if engine.serves]

    def value(self, path: str) -> Any:
        """Return the value at a dotted path: a section as a dict ("debate"), or a key below one ("debate.wording").

        Raises ParamsError if there is nothing at this path.
        """
        config = self.model_dump()
        paths = _paths(config)
        if path not in paths:
            raise ParamsError(_unknown_path(path, paths))
        return reduce(getitem, paths[path], config)

    def with_axes(self, values: Mapping[str, Any]) -> Params:
        """Return a copy in which the keys at some dotted paths have other values, such as `{"debate.agents": 7}`.

        Raises ParamsError if a path or a value is not valid, or if the copy is not valid with all of them.
        """
        config = self.model_dump()
        config["study"] |= {"axes": {}, "taught": {}}  # which may not fit these values
        for path, keys in _axis_keys(values, config).items():
            reduce(getitem, keys[:-1], config)[keys[-1]] = values[path]
        try:
            changed = Params.model_validate(config)
        except ValidationError as error:
            axes = ", ".join(f"axes.{path} = {value!r}" for path, value in values.items())
            raise ParamsError(f"{axes}: {'; '.join(sentences(error, Params))}") from None
        return changed.model_copy(update={"study": self.study})

    @model_validator(mode="after")
    def _sizes_name_tasks_of_the_study(self):
        tasks = (*self.study.train_tasks, *self.study.test_tasks)
        for task in self.sizes.tasks:
            if task not in tasks:
                raise ValueError(f"sizes.tasks: {unknown(task, tasks, 'task')}")
        return self

    @model_validator(mode="after")
    def _diversity_has_its_judges(self):
        required = {"structural": (), "judge": ("diversity",), "extract": ("diversity", "distiller")}
        diversity = self.extract.diversity
        if missing := [f"judges.{name}" for name in required[diversity] if getattr(self.judges, name) is None]:
            raise ValueError(f"extract.diversity = {diversity} needs {' and '.join(missing)}: name models, or choose "
                             "structural")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _axes_are_valid(self):
        try:
            _axis_keys(self.study.axes, self.model_dump())
            for path, values in self.study.axes.items():
                for value in values:
                    self.with_axes({path: value})
        except ParamsError as error:
            raise ValueError(f"study.{error}") from None
        for path, values in self.study.taught.items():
            known = self.study.axes.get(path, [])
            if others := [value for value in values if value not in known]:
                lacking = f"study.axes.{path} has {known}" if known else f"{path} is no axis of the study"
                raise ValueError(f"study.taught.{path}: no student can learn with {others[0]!r}: {lacking}")
        return self


def _paths(values: Mapping[str, Any], parents: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """Return the dotted path of every key of nested mappings, with the keys along it (which may contain dots)."""
    paths = {}
    for key, value in values.items():
        paths[".".join((*parents, key))] = (*parents, key)
        if isinstance(value, Mapping):
            paths |= _paths(value, (*parents, key))
    return paths


def _unknown_path(path: str, paths: Mapping[str, Any]) -> str:
    """Return the sentence for an unknown path, with the nearest one, and the keys of its section or all sections."""
    section = path.partition(".")[0]
    in_section = [other for other in paths if other.startswith(f"{section}.")]
    listed = in_section or dict.fromkeys(other.partition(".")[0] for other in paths)
    sentence = unknown(path, paths)
    keys = (
        f" ({section} has {', '.join(other.removeprefix(f'{section}.') for other in in_section)})" if in_section else ""
    )
    return sentence + keys if "did you mean" in sentence else unknown(path, listed)


def _axis_keys(axes: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the keys along the path of each axis. Raises ParamsError for a path that cannot be an axis."""
    paths = {path: keys for path, keys in _paths(config).items() if len(keys) > 1 and keys[0] not in NO_AXES}
    for path in axes:
        section = path.partition(".")[0]
        if section in NO_AXES:
            raise ParamsError(f"axes.{path}: no key of {section} can be an axis, because {NO_AXES[section]}")
        if path in config:
            raise ParamsError(f"axes.{path}: a section cannot be an axis; name a key below it, such as {path}.KEY")
        if path not in paths:
            raise ParamsError(f"axes.{path}: {_unknown_path(path, paths)}")
        if above := [other for other in axes if path.startswith(f"{other}.")]:
            raise ParamsError(f"axes.{path} lies within {above[0]}, which is an axis as well: keep one of the two")
    return {path: paths[path] for path in axes}
