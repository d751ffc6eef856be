"""How a network of the zoo is taught to check the traces of its peers: step by step, then copy or repair.

A reply to the peers begins with checks, in the form that `agentark.mas.checks` reads: of each trace, its steps computed
again, up to the first that comes out otherwise; then what follows from them; then the solution.

    Check 2: each 3*4=12 ok, gets 45+12=57 no
    Check 1: each 3*4=12 ok, gets 45+12=57 ok
    Check: keep 1
    each 3*4=12
    gets 45+12=57
    Answer: 57
"""

from __future__ import annotations

from dataclasses import dataclass

from agentark.mas import checks, prompts

from .exercises import Exercise

MOST = 5  # traces that a reply checks, its own first


@dataclass(frozen=True)
class Check:
    """A checked trace: the steps computed again, whether the last of them differs, and the solution that it leads to.

    `solution` is the right solution that begins with the most steps of the trace; `steps` has those steps and, if the
    trace then differs, the next step of the solution.
    """

    agent: int
    steps: tuple[str, ...]
    wrong: bool
    solution: str

    @property
    def right_steps(self) -> int:
        return len(self.steps) - self.wrong

    def line(self) -> str:
        said = [f"{step} {checks.RIGHT}" for step in self.steps[: self.right_steps]]
        said += [f"{step} {checks.WRONG}" for step in self.steps[self.right_steps :]]
        return f"{prompts.CHECK} {self.agent}: {', '.join(said)}"


def steps_of(trace: str) -> list[str]:
    """The steps of a trace that can be wrong, its answer line last; a line that repeats what is asked is none."""
    lines = (line.strip().removesuffix(".") for line in trace.splitlines())
    return [line for line in lines if line and "asked:" not in line]


def check(agent: int, trace: str, exercise: Exercise) -> Check:
    """Check a trace against the right solution that it follows for longest; a right answer line is not said."""
    steps = steps_of(trace)

    def agreed(solution: str) -> tuple[int, bool]:
        """The number of steps until the trace differs, and whether it computes the same there, with another result."""
        pairs = list(zip(steps, steps_of(solution), strict=False))
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), len(pairs))
        return same, same < len(pairs) and pairs[same][0].partition("=")[0] == pairs[same][1].partition("=")[0]

    solution = max(exercise.solutions, key=agreed)
    right, (same, _) = steps_of(solution), agreed(solution)
    if same == len(right) == len(steps):
        return Check(agent, tuple(right[:-1]), False, solution)
    same = min(same, len(right) - 1)  # a trace that goes on after its answer differs in its answer
    return Check(agent, tuple(right[: same + 1]), True, solution)


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
