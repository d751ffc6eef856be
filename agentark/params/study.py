"""The cells of a study, and how many problems each of them uses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from .base import Positive, Section


def _without_repeats(values: list) -> list:
    if any(value in values[:index] for index, value in enumerate(values)):
        raise ValueError(f"a value is listed twice: {values}")
    return values


Unique = AfterValidator(_without_repeats)
Names = Annotated[list[str], Field(min_length=1), Unique]
Axes = dict[str, Annotated[list[Any], Field(min_length=1), Unique]]
Seed = Annotated[int, Field(ge=0)]
Size = Literal["train", "dev", "test", "debate_test"]


class Study(Section):
    """The cells: teachers × students × training sets × protocols × methods × test sets × seeds × axes.

    Students learn from the traces of each of the `protocols`. `axes` maps dotted paths of the other sections to values,
    such as `debate.agents: [3, 5, 7]`; `Params` checks them. `taught` lists those values of an axis from which students
    learn, if not from all: with the others the teacher answers test problems only. `grain` says whether one run trains
    one student ("cell") or all students of a teacher, method and training set ("students").
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    teachers: Names
    students: Names
    train_tasks: Names
    test_tasks: Names
    protocols: Names = Field(default_factory=lambda: ["debate"])
    methods: Annotated[list[str], Unique]
    seeds: Annotated[list[Seed], Field(min_length=1), Unique]
    grain: Literal["cell", "students"]
    axes: Axes = Field(default_factory=dict)
    taught: Axes = Field(default_factory=dict)


class Sizes(Section):
    """How many problems of each split are used.

    `tasks` gives smaller sizes for single tasks: `{math: {train: 500}}`.
    """

    train: Positive
    dev: Positive
    test: Positive
    debate_test: Positive
    tasks: dict[str, dict[Size, Positive]] = Field(default_factory=dict)

    def count(self, size: Size, task: str) -> int:
        """Return how many problems of a task are used for "train", "dev", "test" or "debate_test"."""
        problems = self.tasks.get(task, {}).get(size, getattr(self, size))
        return min(problems, self.count("test", task)) if size == "debate_test" else problems

    @model_validator(mode="after")
    def _debate_test_within_test(self):
        if self.debate_test > self.test:
            raise ValueError(f"debate_test ({self.debate_test}) is more than test ({self.test}), but both take the "
                             "first problems of one split")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _tasks_within_general_sizes(self):
        for task, sizes in self.tasks.items():
            for size, problems in sizes.items():
                if problems > getattr(self, size):
                    raise ValueError(f"tasks.{task}.{size} ({problems}) is more than {size} ({getattr(self, size)}), "
                                     "which is the maximum for every task")  # fmt: skip
        return self
