"""What an agent is told in a debate: prompts of the later rounds and of the aggregator (3.2, A.2).

Two layouts hold the same facts (DECISIONS 2):

- `shared`: the problem, then the last traces of *all* agents in a fixed order, then who the reader is.  All agents of a
  problem share everything but the last line, so that an engine with prefix reuse computes it once.
- `own_history`: Du et al.'s: the problem, the agent's own last trace as its own turn, then the peers' traces.

Two wordings: `full` for instructed LLMs, after A.2 ("identifying potential errors, alternative solution paths, or overlooked
details"); `terse` for the mini zoo, whose networks pay for every token.
"""

from __future__ import annotations

from dataclasses import dataclass

Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Wording:
    """Phrases; {k} is an agent's number, counted from 1.  `critique` opens the line that a reply addresses to its peers, if it has one."""

    heading: str
    agent: str
    revise_as: str
    revise: str
    aggregate: str
    critique: str


WORDINGS = {
    "terse": Wording(
        heading="Solutions:",
        agent="Agent {k}:",
        revise_as="You are agent {k}. Find mistakes and solve it again.",
        revise="Find mistakes and solve it again.",
        aggregate="Sum up and give the final solution.",
        critique="Check:",
    ),
    "full": Wording(
        heading="These are the solutions that several agents gave in the last round:",
        agent="Agent {k}:",
        revise_as=(
            "You are agent {k}. Examine all solutions above, your own included. Point out errors, other solution paths and "
            "overlooked details, say whom you agree with and why, then give your own revised solution, step by step, ending "
            "with the answer in the form asked for."
        ),
        revise=(
            "Examine these solutions and your own. Point out errors, other solution paths and overlooked details, say whom you "
            "agree with and why, then give your own revised solution, step by step, ending with the answer in the form asked for."
        ),
        aggregate=(
            "Weigh these solutions against each other and write the final solution: the correct reasoning, step by step, ending "
            "with the answer in the form asked for."
        ),
        critique="",
    ),
}
LAYOUTS = ("shared", "own_history")


def ask(question: str) -> Chat:
    """The prompt of round 1: the question alone."""
    return [{"role": "user", "content": question}]


def without_critique(trace: str, wording: Wording) -> str:
    """A trace without the line that it addresses to its peers: what is left is a solution that stands alone."""
    if not wording.critique:
        return trace
    return "\n".join(line for line in trace.splitlines() if not line.startswith(wording.critique))


def _listed(traces: dict[int, str], wording: Wording) -> str:
    return "\n".join(
        [wording.heading, *(f"{wording.agent.format(k=k)}\n{trace.strip()}" for k, trace in traces.items())]
    )


def revise(question: str, traces: list[str], agent: int, layout: str, wording: Wording) -> Chat:
    """The prompt of agent number `agent` (from 1) in a later round.

    `traces` are the last round's, of all agents in order: {τ_{j,k−1}} of 3.2 and, unlike there, the agent's own.
    """
    if layout == "shared":
        listed = _listed(dict(enumerate(traces, 1)), wording)
        return ask(f"{question}\n\n{listed}\n\n{wording.revise_as.format(k=agent)}")
    if layout == "own_history":
        peers = {k: trace for k, trace in enumerate(traces, 1) if k != agent}
        return [
            *ask(question),
            {"role": "assistant", "content": traces[agent - 1]},
            {"role": "user", "content": f"{_listed(peers, wording)}\n\n{wording.revise}"},
        ]
    raise ValueError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")


def aggregate(question: str, traces: list[str], wording: Wording) -> Chat:
    """The prompt of the extra agent that sums up at the end (A.2)."""
    return ask(f"{question}\n\n{_listed(dict(enumerate(traces, 1)), wording)}\n\n{wording.aggregate}")
