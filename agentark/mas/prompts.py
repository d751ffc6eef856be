"""The prompts of the protocols: of a debate's later rounds and its aggregator (3.2, A.2), and of their relatives.

There are two layouts with the same content (DECISIONS 2):

- `shared`: the problem, the last traces of *all* agents in a fixed order, and who the reader is.  The prompts of a
  problem differ in the last line only, so that an engine with prefix reuse computes the rest once.
- `own_history`: as in Du et al., the problem, the agent's own last trace as its own turn, then the peers' traces.

The wording `full` is for instructed LLMs, after A.2 ("identifying potential errors, alternative solution paths, or
overlooked details"); `terse` for the mini zoo, whose networks pay for every token.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from string import ascii_lowercase, ascii_uppercase

Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Wording:
    """Phrases; {k} is an agent's number from 1.

    `critique` opens each line of a reply that addresses the peers, if there are such lines; a solution is without them.
    `letters`: whether each listed line begins with a letter of its own (see `lettered`).
    """

    heading: str
    agent: str
    revise_as: str
    revise: str
    aggregate: str
    correct: str
    oppose: str
    judge: str
    critique: str
    letters: bool = False


CHECK = "Check"  # opens the lines in which a network of the zoo checks its peers
WORDINGS = {
    "terse": Wording(
        heading="Solutions:",
        agent="Agent {k}:",
        revise_as="You are agent {k}. Find mistakes and solve it again.",
        revise="Find mistakes and solve it again.",
        aggregate="Sum up and give the final solution.",
        correct="Check your solution and solve it again.",
        oppose="Oppose agent {k}: say what is wrong and solve it again.",
        judge="You are the judge. Say who is right and give the final solution.",
        critique=CHECK,
        letters=True,
    ),
    "full": Wording(
        heading="These are the solutions that several agents gave in the last round:",
        agent="Agent {k}:",
        revise_as=(
            "You are agent {k}. Examine all solutions above, your own included. Point out errors, other solution paths "
            "and overlooked details, say whom you agree with and why, then give your own revised solution, step by "
            "step, ending with the answer in the form asked for."
        ),
        revise=(
            "Examine these solutions and your own. Point out errors, other solution paths and overlooked details, say "
            "whom you agree with and why, then give your own revised solution, step by step, ending with the answer in "
            "the form asked for."
        ),
        aggregate=(
            "Weigh these solutions against each other and write the final solution: the correct reasoning, step by "
            "step, ending with the answer in the form asked for."
        ),
        correct=(
            "Review your solution. Look for errors in each step, then give your solution again, corrected where it is "
            "wrong, step by step, ending with the answer in the form asked for."
        ),
        oppose=(
            "You disagree with agent {k}. Say which of its steps are wrong and why, then give your own solution, step "
            "by step, ending with the answer in the form asked for."
        ),
        judge=(
            "You are the moderator of this debate. Evaluate the solutions of both sides, say which one is right and "
            "why, then give the final solution, step by step, ending with the answer in the form asked for."
        ),
        critique="",
    ),
}
LAYOUTS = ("shared", "own_history")
LETTERS = ascii_uppercase + ascii_lowercase.replace("x", "")  # x is an unknown


def user_turn(text: str, image: str = "") -> Chat:
    """Return a chat of one user turn: in round 1 the question alone, with the key of its picture if it has one."""
    return [{"role": "user", "content": text, **({"image": image} if image else {})}]


def without_critique(trace: str, wording: Wording) -> str:
    """Return a trace without the lines that address the peers: a solution that stands alone."""
    if not wording.critique:
        return trace
    return "\n".join(line for line in trace.splitlines() if not line.startswith(wording.critique))


def lettered(traces: dict[int, str]) -> dict[int, list[str]]:
    """Return the lines of each trace, with a letter before each: " A each 3*4=12".

    The letters go on from trace to trace.  Traces of one problem share most of their lines: a small network that quotes
    a line finds the right one by its letter.  Empty lines are left out.
    """
    letters = cycle(LETTERS)
    return {k: [f" {next(letters)} {line.strip()}" for line in trace.splitlines() if line.strip()]
            for k, trace in traces.items()}  # fmt: skip


def listed(traces: dict[int, str], wording: Wording) -> str:
    """Return the traces of agents, by their numbers, as prompts list them."""
    alone = {k: without_critique(trace, wording).strip() for k, trace in traces.items()}
    if wording.letters:
        alone = {k: "\n".join(lines) for k, lines in lettered(alone).items()}
    entries = (f"{wording.agent.format(k=k)}\n{trace}" for k, trace in alone.items())
    return "\n".join([wording.heading, *entries])


def revise(question: str, traces: list[str], agent: int, layout: str, wording: Wording, image: str = "") -> Chat:
    """Return the prompt of agent number `agent` (from 1) in a later round.

    `traces` are the last round's, of all agents in order: {τ_{j,k−1}} of 3.2 and, unlike there, the agent's own.  The
    question's picture, `image`, is in the first turn, here and in the functions below.
    """
    if layout == "shared":
        text = listed(dict(enumerate(traces, 1)), wording)
        return user_turn(f"{question}\n\n{text}\n\n{wording.revise_as.format(k=agent)}", image)
    if layout == "own_history":
        peers = {k: trace for k, trace in enumerate(traces, 1) if k != agent}
        own = {"role": "assistant", "content": without_critique(traces[agent - 1], wording)}
        return [*user_turn(question, image), own, *user_turn(f"{listed(peers, wording)}\n\n{wording.revise}")]
    raise ValueError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")


def aggregate(question: str, traces: list[str], wording: Wording, image: str = "") -> Chat:
    """Return the prompt of the extra agent that sums up at the end (A.2)."""
    return user_turn(f"{question}\n\n{listed(dict(enumerate(traces, 1)), wording)}\n\n{wording.aggregate}", image)


def correct(question: str, trace: str, wording: Wording, image: str = "") -> Chat:
    """Return the prompt of an agent that revises its own trace and sees no other (self-correction)."""
    own = {"role": "assistant", "content": without_critique(trace, wording)}
    return [*user_turn(question, image), own, *user_turn(wording.correct)]


def oppose(question: str, traces: list[str], agent: int, wording: Wording, image: str = "") -> Chat:
    """Return the prompt of the side that opposes agent number `agent` (from 1) of `traces` (Liang et al., 2023)."""
    text = listed(dict(enumerate(traces, 1)), wording)
    return user_turn(f"{question}\n\n{text}\n\n{wording.oppose.format(k=agent)}", image)


def judge(question: str, traces: list[str], wording: Wording, image: str = "") -> Chat:
    """Return the prompt of the judge of both sides' traces (Liang et al., 2023)."""
    return user_turn(f"{question}\n\n{listed(dict(enumerate(traces, 1)), wording)}\n\n{wording.judge}", image)
