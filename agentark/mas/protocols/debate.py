"""The symmetric debate of Du et al. (2023): the paper's protocol (3.2, A.2).

Round 1 is independent; then each agent sees the last traces of all agents and answers again, until the agents agree or
K rounds are over; an extra agent, number 0, sums up.  Deviations from the paper: DECISIONS 1-5.
"""

from __future__ import annotations

from collections.abc import Callable

from agentark.engines import Chat, Completion
from agentark.mas import prompts, votes
from agentark.mas.log import Logger, Prompts
from agentark.mas.protocol import Protocol
from agentark.tasks import Problem

Traces = dict[str, list[str]]  # of each problem, the texts of its agents in the last round


def of_peers(log: Logger, p: Problem, traces: list[str], agent: int) -> Chat:
    """The prompt of an agent that is shown the traces of all agents."""
    config = log.config
    wording = prompts.WORDINGS[config.wording]
    return prompts.revise(log.task.prompt(p), traces, agent, config.layout, wording, p.image)


def debate(
    problems: list[Problem],
    log: Logger,
    shown: Callable[[Traces], Traces] = lambda traces: traces,
    prompt: Callable[[Logger, Problem, list[str], int], Chat] = of_peers,
) -> list[dict]:
    """Return the log of n agents in up to K rounds, with the aggregator's row one round after a problem's last.

    `shown` maps the last round's traces to those that the agents of each problem are shown, and `prompt` makes an
    agent's prompt of them.
    """
    config, wording = log.config, prompts.WORDINGS[log.config.wording]
    rows, active = log.independent(problems, config.agents), problems
    last = _by_problem(rows)
    for number in range(2, config.rounds + 1):
        active = [p for p in active if not votes.consensus(_answers(last[p.id]), log.task.equal, config.consensus)]
        traces = shown({p.id: [row["text"] for row in last[p.id]] for p in active})

        def revise(p: Problem, traces: Traces = traces) -> Prompts:
            return [(k, prompt(log, p, traces[p.id], k)) for k in range(1, config.agents + 1)]

        revised = log.round(number, f"round {number}", active, revise)
        rows += revised
        last |= _by_problem(revised)
    return rows + _aggregate(problems, last, log, wording)


def _aggregate(
    problems: list[Problem], last: dict[str, list[dict]], log: Logger, wording: prompts.Wording
) -> list[dict]:
    """Return the final answers (A.2, DECISIONS 4): of an extra agent, or the first trace with the majority's answer."""

    def summary(p: Problem) -> Prompts:
        return [(0, prompts.aggregate(log.task.prompt(p), [row["text"] for row in last[p.id]], wording, p.image))]

    if log.config.aggregator == "llm":
        rows = log.round(0, "aggregator", problems, summary)
    else:
        rows = []
        for p in problems:
            answers = _answers(last[p.id])
            winner = votes.majority(answers, log.task.equal)
            agree = [a is not None and winner is not None and log.task.equal(winner, a) for a in answers]
            text = last[p.id][agree.index(True)]["text"] if True in agree else ""
            rows.append(log.row(p, 0, 0, Completion(text, (), "stop", 0, 0, 0)))
    return [{**row, "round": last[row["problem"]][0]["round"] + 1} for row in rows]


def _answers(rows: list[dict]) -> list[str | None]:
    return [row["answer"] for row in rows]


def _by_problem(rows: list[dict]) -> dict[str, list[dict]]:
    """Rows grouped by problem, agents in order."""
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["problem"], []).append(row)
    return {problem: sorted(group, key=lambda row: row["agent"]) for problem, group in groups.items()}


CONTROLS = {"dev": ("self_consistency", "shuffled"), "test": ("self_consistency",)}
PROTOCOL = Protocol(
    "debate", "debate", "#0072B2", debate, lambda config: config.agents, order=2, rounds=True,
    method="teacher_debate", answers="aggregator", controls=CONTROLS,
)  # fmt: skip
