"""What a reply to the peers says of them: which steps it found right and wrong, and which trace it keeps or repairs.

Only the networks of the zoo, which have learnt this form (agentark/zoo/checking.py), say it so that it can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RIGHT, WRONG = "ok", "no"
_LINE = re.compile(r"^Check (\d+): *(.*)$", re.MULTILINE)
_CHOICE = re.compile(r"^Check: (keep|repair) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Verdict:
    """What a reply says of one trace: its steps, computed again, each with whether the trace's is the same."""

    agent: int
    steps: tuple[tuple[str, bool], ...]

    @property
    def wrong(self) -> bool:
        """Whether the trace is said to have a wrong step."""
        return any(not right for _, right in self.steps)


def verdicts(text: str) -> list[Verdict]:
    """The verdicts of a reply, first to last; a line that does not have the form is not one."""
    found = []
    for agent, said in _LINE.findall(text):
        parts = [part.rpartition(" ") for part in said.split(", ")]
        if all(step and word in (RIGHT, WRONG) for step, _, word in parts):
            found.append(Verdict(int(agent), tuple((step, word == RIGHT) for step, _, word in parts)))
    return found


def choice(text: str) -> tuple[str, int] | None:
    """What a reply does: ("keep", agent) or ("repair", agent); None if it writes a solution anew or says nothing."""
    match = _CHOICE.search(text)
    return (match[1], int(match[2])) if match else None
