"""The sections `evaluate` and `stats`: how models answer the test problems, and how uncertain the results are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .base import Positive, Section


class Evaluate(Section):
    """How models answer test problems: greedily, and with `samples` sampled answers per problem.

    `base_votes` is the number of samples of the untrained student's majority vote.
    """

    samples: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Positive
    base_votes: Positive


class Stats(Section):
    """The level of the confidence intervals, and the number of bootstrap resamples."""

    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Positive
