"""What a reply to the peers says of them: which steps it found right and wrong, and which trace it keeps or repairs.

Only the networks of the zoo, which have learnt this form (agentark/zoo/checking.py), say it so that it can be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .prompts import LETTERS

SAID = " said "
WORDS = {True: "ok", False: "no"}
_LINE = re.compile(r"^Check (\d+): *(.*)$", re.MULTILINE)
_STEP = re.compile(rf"^(?:([{LETTERS}]) )?(.+){SAID}(.+) ({'|'.join(WORDS.values())})$")
_CHOICE = re.compile(r"^Check: (keep|repair) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """A step as a reply takes it itself, what it quotes of the trace, and whether it calls that right.

    `said` is the result in the trace, or the whole line if the trace takes another step.  `letter` is that of
    the line in the list of traces (`prompts.lettered`), empty if the reply does not name it.
    """

    own: str
    said: str
    right: bool
    letter: str = ""

    def __str__(self) -> str:
        return f"{self.letter} {self.own}{SAID}{self.said} {WORDS[self.right]}".lstrip()


@dataclass(frozen=True)
class Verdict:
    """What a reply says of one trace."""

    agent: int
    steps: tuple[Step, ...]

    @property
    def wrong(self) -> bool:
        """Whether the trace is said to have a wrong step."""
        return any(not step.right for step in self.steps)


def verdicts(text: str) -> list[Verdict]:
    """The verdicts of a reply, first to last; a line that does not have the form is not one."""
    found = []
    for agent, said in _LINE.findall(text):
        steps = [_STEP.match(part) for part in said.split(", ")]
        if all(steps):
            quoted = (Step(match[2], match[3], match[4] == WORDS[True], match[1] or "") for match in steps if match)
            found.append(Verdict(int(agent), tuple(quoted)))
    return found


def choice(text: str) -> tuple[str, int] | None:
    """What a reply does: ("keep", agent) or ("repair", agent); None if it writes a solution anew or says nothing."""
    match = _CHOICE.search(text)
    return (match[1], int(match[2])) if match else None
