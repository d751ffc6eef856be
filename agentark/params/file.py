"""Reading a params file: its sections, and the coordinates of a notebook run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from .base import ParamsError, Section
from .messages import sentences, unknown
from .sections import Params


class Coordinates(Section):
    """The flat values of a params file: the part of the study that a notebook run is about.

    `limit` is the number of problems of each set (0 for all). `axes` maps the dotted path of each axis of the study to
    the value of this run.
    """

    limit: Annotated[int, Field(ge=0)] = 0
    inputs: Literal["run", "reference", "auto"] = "auto"
    teacher: str = ""
    student: str = ""
    students: list[str] = Field(default_factory=list)
    task: str = ""
    method: str = "base"
    split: Literal["train", "dev", "test"] = "train"
    protocol: str = "debate"
    seed: Annotated[int, Field(ge=0)] = 0
    axes: dict[str, Any] = Field(default_factory=dict)


SECTIONS = tuple(Params.model_fields)
COORDINATES = tuple(Coordinates.model_fields)


def load(path: str | Path) -> tuple[Params, Coordinates]:
    """Read and check a params file. Return its sections and its coordinates.

    Raises ParamsError if the file is missing, is not a YAML mapping, or has an invalid key or value.
    """
    path = Path(path)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        files = sorted(str(file) for file in Path("params").glob("*.yaml"))
        raise ParamsError(f"no params file {path}; there are {', '.join(files) or 'none under params/'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise ParamsError(f"{path} must be a mapping of sections ({', '.join(SECTIONS)}), not {type(config).__name__}")
    return check(config, str(path))


def check(config: dict[str, Any], source: str) -> tuple[Params, Coordinates]:
    """Check the configuration of a run, sections and coordinates in one mapping, and return them.

    Raises ParamsError, whose message has one line for each mistake and names `source`: the file, or another origin.
    """
    names = SECTIONS + COORDINATES
    if mistakes := [unknown(key, names) for key in config if key not in names]:
        raise _error(mistakes, source)
    try:
        sections = Params.model_validate({key: value for key, value in config.items() if key in SECTIONS})
        coordinates = Coordinates.model_validate({key: value for key, value in config.items() if key in COORDINATES})
        sections.with_axes(coordinates.axes)
    except ValidationError as error:
        raise _error(sentences(error, Params), source) from None
    except ParamsError as error:
        raise _error([str(error)], source) from None
    return sections, coordinates


def _error(mistakes: list[str], source: str) -> ParamsError:
    return ParamsError("\n".join(f"{source}: {mistake}" for mistake in mistakes))
