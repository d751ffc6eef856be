"""Methods: how a student learns.  Each file of agentark/distill/methods/ declares one as `METHOD`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from agentark.discovery import by_name, check_name, discover
from agentark.params import ParamsError

if TYPE_CHECKING:
    from agentark import params


@dataclass(frozen=True)
class Method:
    """A method, as tables, figures, the graph and the plan need it.

    name: in params files, file names and tables.  label, colour, marker: in figures.  order: its place in tables and
    legends.  notebook: the one that trains and shows it.  controls: the methods that it is compared with, besides the
    untrained student and the teacher's debate.  control_of: the method of which it is a control and nothing else.
    after: in a chain, the method whose student of the same cell is trained further; "" for the untrained student.
    examples: if it imitates, a function of (task, problems, traces, tokenizer, seed) to a list of `data.Example`.
    pairs: if it learns from preferences, a function of (task, problems, traces, most, seed) to a list of `data.Pair`,
    of which no problem has more than `most`.
    reward: if it learns from its own samples, what judges them: "prm" (the process reward model), "shuffled" (one
    trained on shuffled labels), "likelihood" (of the reward model's backbone, without training), "answer" (whether the
    answer is right), "chance", or "teacher" (the teacher's distribution); with its optimiser.  copies, completion: for
    the plan, its examples per problem (given the params) and their tokens (given those of a reply).
    """

    name: str
    label: str
    colour: str
    marker: str
    order: int
    notebook: str
    controls: tuple[str, ...] = ()
    control_of: str = ""
    after: str = ""
    examples: Callable[..., list[Any]] | None = None
    pairs: Callable[..., list[Any]] | None = None
    reward: Literal["", "prm", "shuffled", "likelihood", "answer", "chance", "teacher"] = ""
    optimiser: Literal["", "grpo", "ppo", "select", "opd"] = ""
    copies: Callable[[params.Params], float] = lambda config: 1
    completion: Callable[[float], float] = lambda reply: reply

    @property
    def trained(self) -> bool:
        """Whether a student learns anything by it."""
        return bool(self.examples or self.pairs or self.reward)

    @property
    def sources(self) -> list[str]:
        """The code that makes the examples or the pairs of a method, as a root for `source_hash`."""
        return [f"{made.__module__}:{made.__qualname__}"] if (made := self.examples or self.pairs) else []


@cache
def methods() -> dict[str, Method]:
    """Return every method by its name, in reading order."""
    declared = by_name(discover("agentark.distill.methods", "METHOD"), "method")
    return dict(sorted(declared.items(), key=lambda item: item[1].order))


def links(name: str) -> list[str]:
    """Return the methods by which a student of the method `name` is trained, one after the other, `name` last.

    Raises ParamsError for a chain that comes back to one of its methods, or that names one which trains nothing.
    """
    known, chain = methods(), [name]
    while after := known[chain[0]].after:
        check_name(after, {other: method for other, method in known.items() if method.trained}, "method")
        if after in chain:
            circle = " -> ".join([after, *chain[: chain.index(after) + 1]])
            raise ParamsError(f"the method {name} starts from itself ({circle}): correct `after` in one of their files")
        chain.insert(0, after)
    return chain
