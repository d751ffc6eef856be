"""The sections `extract` and `judges`: which traces are kept, and the language models that help to choose and judge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Positive, Section
from .engine import Engine


class Extract(Section):
    """Which traces of the debates are kept (Sections 3.2, A.3 and A.4).

    `diversity` says how DA's traces are chosen: by the distance of their steps ("structural"), by a judge ("judge",
    A.4), or by a judge and then rewritten by a distiller ("extract", 3.3.2; DECISIONS 10). Training questions that
    share `decontaminate_words` consecutive words with a test question are left out; 0 keeps them all.
    """

    corrective_form: Literal["final", "stitched"]
    rsft_traces: Literal["one", "all"]
    max_traces: Annotated[int, Field(ge=1, le=3)]
    diversity: Literal["structural", "judge", "extract"]
    aggregator_traces: bool
    decontaminate_words: Annotated[int, Field(ge=0)]


class LanguageModel(Section):
    """A language model that chooses one of a few words, or writes a text.

    With `constrained`, the engine admits nothing but the choices; `max_new_tokens` limits free replies. `chunk` is the
    number of questions that are written to the journal together. The engine is that of the study if `engine` is null.
    """

    model: str
    constrained: bool
    temperature: Annotated[float, Field(ge=0)]
    max_new_tokens: Positive
    chunk: Positive
    engine: Engine | None = None

    def identity(self) -> dict[str, Any]:
        """Return the keys that its replies depend on, for a manifest, which has the engine's beside them."""
        return self.model_dump(exclude={"engine"})


class Judge(LanguageModel):
    """A judge of reasoning (Section 4.4): it scores the solutions of `items` problems, each `repeats` times."""

    items: Positive
    repeats: Positive


class Judges(Section):
    """The language models that verify answers (A.3), choose and rewrite traces (A.4, 3.3.2), and score reasoning (4.4).

    If one is null, a program does its work.
    """

    verifier: LanguageModel | None
    diversity: LanguageModel | None
    distiller: LanguageModel | None
    quality: Judge | None

    def named(self) -> list[LanguageModel]:
        """Return those that take part in extraction: all but the judge of reasoning."""
        return [model for model in (self.verifier, self.diversity, self.distiller) if model]
