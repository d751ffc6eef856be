"""Reading a params file: its sections, and the coordinates of a notebook run."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from . import limits, yaml_file
from .base import ParamsError, Section
from .messages import located, shortened, shown, unknown
from .sections import Params, _axis_keys


class Coordinates(Section):
    """The flat values of a params file: the part of the study that a notebook run is about.

    `limit` is the number of problems of each set (0 for all). `axes` maps the dotted path of each axis of the study to
    the value of this run.
    """

    limit: Annotated[int, Field(ge=0, le=limits.WHOLE[1])] = 0
    inputs: Literal["run", "reference", "auto"] = "auto"
    teacher: str = ""
    student: str = ""
    students: list[str] = Field(default_factory=list)
    task: str = ""
    method: str = "base"
    split: Literal["train", "dev", "test"] = "train"
    protocol: str = "debate"
    seed: Annotated[int, Field(ge=0, lt=limits.SEEDS)] = 0
    axes: dict[str, Any] = Field(default_factory=dict)


SHOWN = 20  # mistakes in one message
SECTIONS = tuple(Params.model_fields)
COORDINATES = tuple(Coordinates.model_fields)


def load(path: str | Path) -> tuple[Params, Coordinates]:
    """Read and check a params file. Return its sections and its coordinates.

    Raises ParamsError if the file is missing, is not a YAML mapping, or has an invalid key or value.
    """
    path = Path(path)
    if not path.exists():
        files = sorted(str(file) for file in Path("params").glob("*.yaml"))
        raise ParamsError(f"no params file {path}; there are {', '.join(files) or 'none under params/'}")
    config, lines = yaml_file.read(path)
    if not isinstance(config, dict):
        raise ParamsError(f"{path} must be a mapping of sections ({', '.join(SECTIONS)}), not {type(config).__name__}")
    return check(config, str(path), lines)


def check(config: dict[str, Any], source: str, lines: yaml_file.Lines | None = None) -> tuple[Params, Coordinates]:
    """Check the configuration of a run, sections and coordinates in one mapping, and return them.

    Raises ParamsError, whose message has one line for each mistake and names `source`: the file, or another origin.
    `lines` has the line of each value of a file, by the keys that lead to it.
    """
    lines, names = lines or {}, SECTIONS + COORDINATES
    mistakes: list[yaml_file.Mistake]
    if mistakes := [((key,), unknown(shown(key), names)) for key in config if key not in names]:
        raise _error(mistakes, source, lines)
    given = {key: value for key, value in config.items() if key in SECTIONS}
    study = given.get("study")
    axes = study.get("axes") if isinstance(study, dict) else None
    plain = given
    if isinstance(study, dict) and isinstance(axes, dict):
        plain = {**given, "study": {key: value for key, value in study.items() if key not in ("axes", "taught")}}
    try:  # each axis value by itself, below, so that its message is short and has a line
        base = Params.model_validate(plain)
        coordinates = Coordinates.model_validate({key: value for key, value in config.items() if key in COORDINATES})
    except ValidationError as error:
        model = Params if error.title == Params.__name__ else Coordinates
        raise _error(located(error, model), source, lines) from None
    except UnicodeEncodeError:  # in a message of a validator
        raise _error([((), "a text has half a character (a surrogate): replace it")], source, lines) from None
    place = coordinates.model_dump(exclude={"axes"}, exclude_defaults=True)
    mistakes = [*limits.impossible(base), *limits.unusable(place)]
    for path, values in (axes or {}).items():
        for index, value in enumerate(values if isinstance(values, list) else ()):
            mistakes += _varied(base, {path: value}, ("study", "axes", path, index))
    mistakes += _varied(base, coordinates.axes, ("axes",))
    if mistakes:
        raise _error(mistakes, source, lines)
    try:
        sections = Params.model_validate(given)
        sections.with_axes(coordinates.axes)
    except ValidationError as error:
        raise _error(located(error, Params), source, lines) from None
    except ParamsError as error:
        raise _error([((), shortened(str(error)))], source, lines) from None
    return sections, coordinates


def _varied(base: Params, values: dict[str, Any], place: yaml_file.Place) -> list[yaml_file.Mistake]:
    """Return what is wrong with the params that have these values of axes.

    A path that cannot be an axis is not reported here; `Params` reports it.
    """
    if not values:
        return []
    config = base.model_dump()
    try:
        keys = _axis_keys(values, config)
    except (ParamsError, AttributeError):  # AttributeError: a path that is not a text
        return []
    for path, value in values.items():
        reduce(getitem, keys[path][:-1], config)[keys[path][-1]] = value
    try:
        mistakes = list(limits.impossible(Params.model_validate(config)))
    except ValidationError as error:
        mistakes = list(located(error, Params))
    section = "study.axes" if place[0] == "study" else "axes"
    where = ", ".join(f"{section}.{path} = {shown(value, path)!r}" for path, value in values.items())
    return [(place, shortened(f"{where}: {sentence}")) for _, sentence in mistakes]


def _error(mistakes: Iterable[yaml_file.Mistake], source: str, lines: yaml_file.Lines) -> ParamsError:
    """Return the error for some mistakes: a line of text for each, with the line of the file, that of its key."""
    texts = []
    for place, sentence in mistakes:
        line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), None)
        texts.append(f"{source}, line {line}: {sentence}" if line else f"{source}: {sentence}")
    if len(texts) > SHOWN:
        texts[SHOWN:] = [f"{source}: {len(texts) - SHOWN} more mistakes are not shown: correct these first"]
    return ParamsError("\n".join(texts))
