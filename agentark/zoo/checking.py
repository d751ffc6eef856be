"""How a network of the zoo is taught to check the traces of its peers: step by step, then copy or repair.

A reply to the peers begins with checks, in the form that `agentark.mas.checks` reads.  For each line of a trace, named
by its letter, the network takes the step itself and then quotes what the trace says, up to the first step that differs.
It takes the step first because it can do that already; a result that is computed after the quoted one is a copy of it
(docs/log.md).  Then it says what follows, and writes the solution.  How well it is learnt is on the cards.

    Check 2: D each 3*4=12 said 12 ok, E gets 45+12=57 said 67 no
    Check 1: A each 3*4=12 said 12 ok, B gets 45+12=57 said 57 ok
    Check: keep 1
    each 3*4=12
    gets 45+12=57
    Answer: 57
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentark.mas import checks, prompts
from agentark.tasks import mini_med

from .exercises import Exercise

MOST = 5  # traces that a reply checks, its own first
NOTHING = "nothing"  # stands for the next step of a trace that ends too early
_RESULT = re.compile(rf"^(.*=|Answer:|.* (?:{'|'.join(mini_med.FACTS.relation)}))\s*(.*)$")


@dataclass(frozen=True)
class Check:
    """A checked trace: its steps beside those of the right solution that it leads to.

    `solution` is the right solution that begins with the most steps of the trace; `steps` are those steps and, if the
    trace then differs, the next one, for which the trace says something else.
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
    return [step for _, step in _numbered(trace)]


def _numbered(trace: str) -> list[tuple[int, str]]:
    """The steps of a trace with the numbers (from 0) of their lines."""
    lines = [line.strip().removesuffix(".") for line in trace.splitlines() if line.strip()]
    return [(n, line) for n, line in enumerate(lines) if "asked:" not in line]


def parts(step: str) -> tuple[str, str]:
    """What a step computes or recalls, and its result: ("gets 45+12=", "57"), ("dalexin treats", "gremsis")."""
    match = _RESULT.match(step)
    return (match[1], match[2]) if match else (step, "")


def check(agent: int, trace: str, exercise: Exercise, letters: Sequence[str] = ()) -> Check:
    """Check a trace against the right solution that it follows for longest; a right answer line is not said.

    `letters` are those of the lines of the trace in the list that the network sees; none if it is not in the list.

    Of a step that computes something else than the solution does, the whole line is quoted.
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
    named = [letters[n] for n, _ in _numbered(trace)] if letters else [""] * len(steps)
    said = [checks.Step(step, parts(step)[1], True, named[n]) for n, step in enumerate(right[:last])]
    if not same == len(right) == len(steps):
        step, letter = (steps[last], named[last]) if last < len(steps) else (NOTHING, "")
        quoted = parts(step)[1] if parts(step)[0] == parts(right[last])[0] else step
        said.append(checks.Step(right[last], quoted, False, letter))
    return Check(agent, tuple(said), solution)


def reply(traces: list[str], order: list[int], exercise: Exercise, lines: dict[int, list[str]] | None = None) -> str:
    """The reply to numbered traces (from 1): the checks of those in `order`, what follows, and a right solution.

    The first trace without a wrong step is kept; otherwise the one with the most right steps is repaired; if there is
    no right step, a solution is written anew.  `lines` are those of the listed traces, with letters
    (`prompts.lettered`).
    """
    letters = {k: [line[1] for line in of] for k, of in (lines or {}).items()}
    checked = [check(agent, traces[agent - 1], exercise, letters.get(agent, ())) for agent in order[:MOST]]
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
