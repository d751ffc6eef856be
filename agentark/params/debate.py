"""The section `debate`: how the agents debate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Positive, Section


class Debate(Section):
    """How the agents debate (3.2, A.2); `chunk` is the number of problems that are written to the journal together."""

    agents: Annotated[int, Field(ge=2, le=20)]
    rounds: Positive
    layout: Literal["shared", "own_history"]
    wording: Literal["terse", "full"]
    consensus: Literal["unanimous", "majority", "off"]
    aggregator: Literal["llm", "majority"]
    temperature: Annotated[float, Field(gt=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Positive
    chunk: Positive
