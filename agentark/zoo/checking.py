"""How a network of the zoo is taught to check the traces of its peers: step by step, then copy or repair.

A reply to the peers begins with checks, in the form that `agentark.mas.checks` reads.  Each step of a trace is copied
and its result computed again beside it, up to the first that comes out otherwise; so a network has to copy, to compute
and to compare two neighbours.  Then it says what follows, and writes the solution.  How well it is learnt is on the
cards: so far hardly (docs/log.md).

    Check 2: each 3*4=12 again 12 ok, gets 45+12=67 again 57 no
    Check 1: each 3*4=12 again 12 ok, gets 45+12=57 again 57 ok
    Check: keep 1
    each 3*4=12
    gets 45+12=57
    Answer: 57
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentark.mas import checks, prompts
from agentark.tasks import mini_med

from .exercises import Exercise

MOST = 5  # traces that a reply checks, its own first
NOTHING = "nothing"  # stands for the next step of a trace that ends too early
_RESULT = re.compile(rf"^(.*=|Answer:|.* (?:{'|'.join(mini_med.FACTS.relation)}))\s*(.*)$")


@dataclass(frozen=True)
class Check:
    """A checked trace: its steps with their results computed again, and the solution that it leads to.

    `solution` is the right solution that begins with the most steps of the trace; `steps` are those steps and, if the
    trace then differs, its next one, which is wrong.
    """

    agent: int
    steps: tuple[checks.Step, ...]
    solution: str

    @property
    def wrong(self) -> bool:
        return any(not step.right for step in self.steps)

    @property
    def right_steps(self) -> int:
        return sum(step.right for step in self.steps)

    def line(self) -> str:
        return f"{prompts.CHECK} {self.agent}: {', '.join(map(str, self.steps))}"


def steps_of(trace: str) -> list[str]:
    """The steps of a trace that can be wrong, its answer line last; a line that repeats what is asked is none."""
    lines = (line.strip().removesuffix(".") for line in trace.splitlines())
    return [line for line in lines if line and "asked:" not in line]


def parts(step: str) -> tuple[str, str]:
    """What a step computes or recalls, and its result: ("gets 45+12=", "57"), ("dalexin treats", "gremsis")."""
    match = _RESULT.match(step)
    return (match[1], match[2]) if match else (step, "")


def check(agent: int, trace: str, exercise: Exercise) -> Check:
    """Check a trace against the right solution that it follows for longest; a right answer line is not said.

    The result of a step that computes something else than the solution does is that whole step of the solution.
    """
    steps = steps_of(trace)

    def agreed(solution: str) -> tuple[int, bool]:
        """The number of steps until the trace differs, and whether it computes the same there, with another result."""
        pairs = list(zip(steps, steps_of(solution), strict=False))
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
        return same, same < len(pairs) and parts(pairs[same][0])[0] == parts(pairs[same][1])[0]

    solution = max(exercise.solutions, key=agreed)
    right, (same, _) = steps_of(solution), agreed(solution)
    last = min(same, len(right) - 1)  # a trace that goes on after its answer differs in its answer
    said = [checks.Step(step, parts(step)[1], True) for step in right[:last]]
    if not same == len(right) == len(steps):
        step = steps[last] if last < len(steps) else NOTHING
        again = parts(right[last])[1] if parts(step)[0] == parts(right[last])[0] else right[last]
        said.append(checks.Step(step, again, False))
    return Check(agent, tuple(said), solution)


def reply(traces: list[str], order: list[int], exercise: Exercise) -> str:
    """The reply to numbered traces (from 1): the checks of those in `order`, what follows, and a right solution.

    The first trace without a wrong step is kept; otherwise the one with the most right steps is repaired; if there is
    no right step, a solution is written anew.
    """
    checked = [check(agent, traces[agent - 1], exercise) for agent in order[:MOST]]
    kept = next((c for c in checked if not c.wrong), None)
    best = max(checked, key=lambda c: c.right_steps)
    if kept:
        verdict, solution = f"keep {kept.agent}", tidy(traces[kept.agent - 1])
    elif best.right_steps:
        verdict, solution = f"repair {best.agent}", best.solution
    else:
        verdict, solution = "none is right", exercise.solutions[0]
    return "\n".join([*(c.line() for c in checked), f"{prompts.CHECK}: {verdict}", solution])


def tidy(trace: str) -> str:
    """A network's sample as a trace: its lines stripped, without empty lines and without checks."""
    text = prompts.without_critique(trace, prompts.WORDINGS["terse"])
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
