"""The section `debate`: how the agents debate."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Positive, Section
from .engine import Engine


class Debate(Section):
    """How the agents debate (3.2, A.2); `chunk` is the number of problems that are written to the journal together.

    `engine` is the teacher's, if it is not that of the study: a server's, for a student that is trained here.
    """

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
    engine: Engine | None = None

    def identity(self) -> dict[str, Any]:
        """Return the keys that a log depends on, for its manifest, which has the engine's beside them."""
        return self.model_dump(exclude={"engine"})
