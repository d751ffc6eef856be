"""The adversarial debate of Liang et al. (2023), "MAD": two sides that must disagree, and a judge.

In each round the affirmative side (agent 1) speaks, then the negative side (agent 2), which is told to oppose what was
said; in later rounds the affirmative side opposes the negative one as well.  It ends when both sides give one answer,
at the latest after `debate.rounds` rounds, and the judge (agent 0) gives the final solution.

Deviations from Liang et al.: the judge speaks once, at the end, because it ends when the sides' answers agree (their
judge is asked after each round); the affirmative side is not given an answer to defend.  There are always two sides:
`debate.agents` and `debate.aggregator` do not apply.
"""

from __future__ import annotations

from agentark.mas import prompts, votes
from agentark.mas.log import Logger, Prompts
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem

AFFIRMATIVE, NEGATIVE, JUDGE = 1, 2, 0


def run(problems: list[Problem], log: Logger) -> list[dict]:
    """The log of two sides in up to K rounds, with the judge's row one round after a problem's last."""
    wording = prompts.WORDINGS[log.config.wording]
    rows: list[dict] = []
    last: dict[str, dict[int, dict]] = {p.id: {} for p in problems}

    def speak(number: int, side: int, active: list[Problem]) -> None:
        """One side's turn: it opposes what the other side said last, and the first of all turns opposes nothing."""

        def turn(p: Problem) -> Prompts:
            said = [last[p.id][k]["text"] for k in (AFFIRMATIVE, NEGATIVE) if k in last[p.id]]
            if not said:
                return [(side, prompts.user_turn(log.task.prompt(p), p.image))]
            return [(side, prompts.oppose(log.task.prompt(p), said, min(3 - side, len(said)), wording, p.image))]

        spoken = log.round(number, f"round {number}, side {side}", active, turn)
        rows.extend(spoken)
        for row in spoken:
            last[row["problem"]][side] = row

    ends = dict.fromkeys(last, 0)
    active = problems
    for number in range(1, log.config.rounds + 1):
        for side in (AFFIRMATIVE, NEGATIVE):
            speak(number, side, active)
        ends |= {p.id: number for p in active}
        active = [p for p in active if not _agreed(last[p.id], log)]

    def judgement(p: Problem) -> Prompts:
        traces = [last[p.id][side]["text"] for side in (AFFIRMATIVE, NEGATIVE)]
        return [(JUDGE, prompts.judge(log.task.prompt(p), traces, wording, p.image))]

    judged = log.round(0, "judge", problems, judgement)
    return rows + [{**row, "round": ends[row["problem"]] + 1} for row in judged]


def _agreed(sides: dict[int, dict], log: Logger) -> bool:
    return votes.consensus([sides[side]["answer"] for side in (AFFIRMATIVE, NEGATIVE)], log.task.equal, "unanimous")


LOOK = ("adversarial debate", "#E69F00")
PROTOCOL = Protocol(
    "adversarial", *LOOK, run, samples=lambda config: 2, order=5, alone=lambda config: 1, rounds=True,
    method="teacher_adversarial", answers="aggregator",
)  # fmt: skip
