"""What all sections of a params file have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class ParamsError(ValueError):
    """The configuration of a run is not valid; the message names the place, the problem and what is allowed."""


class Section(BaseModel):
    """A mapping of a params file: strict types, no unknown keys, no changes after it was read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
