"""All methods that tables and figures show: the students' and, for each protocol, the teacher's own answers."""

from __future__ import annotations

from functools import cache

from agentark.distill.method import Method, methods
from agentark.mas.protocol import protocols

TEACHER = "01_debate_generation"  # the notebook in which the teachers answer


@cache
def shown() -> dict[str, Method]:
    """Every method by its name, in reading order: untrained students, trained ones, teachers."""
    answering = [protocol for protocol in protocols().values() if protocol.method]
    alone = tuple(p.method for p in answering if not p.rounds)[::-1]
    teachers = {}
    for p in answering:
        figure = (f"teacher, {p.label}", p.colour, "*")
        teachers[p.method] = Method(p.method, *figure, 1000 + p.order, TEACHER, alone if p.rounds else ())
    return methods() | teachers


def trained(name: str) -> bool:
    """Whether the rows of a method are those of a trained student; a method that no file declares is one."""
    return name not in shown() or shown()[name].trained


def one_sample(name: str) -> bool:
    """Whether a method answers once, as sample 0, and never greedily: votes and teachers."""
    return name in shown() and not trained(name) and name != "base"


def debates() -> list[str]:
    """The names of the teachers' answers by protocols in which agents read each other."""
    return [p.method for p in protocols().values() if p.rounds and p.method]
