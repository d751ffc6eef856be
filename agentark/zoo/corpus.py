"""What the mini zoo's networks are trained on: chats made anew from the tasks' training streams.

Four kinds of chat: recalling one fact of mini_med's world, one sum, solving a problem, and taking part in a debate in which
between none and all of the peers are wrong.  Example number i is a function of (seed, i), so that training resumes exactly.
"""

from __future__ import annotations

from random import Random

from agentark.mas import prompts
from agentark.tasks import mini_gsm, mini_med

TERSE = prompts.WORDINGS["terse"]
Chat = prompts.Chat


def fact(rng: Random) -> Chat:
    """One fact, asked for by its subject and relation."""
    relation = rng.choice(("treats", "treats", "treats", "belongs to", "belongs to", "affects the", "causes", "comes from", "bring"))
    subject = rng.choice(tuple(mini_med.FACTS.relation[relation]))
    told = mini_med.recall(subject, relation, mini_med.FACTS.relation[relation][subject])
    return [*prompts.ask(f"{subject} {relation} what?"), {"role": "assistant", "content": told}]


def drill(rng: Random) -> Chat:
    """One sum, difference, product or quotient of the size that mini_gsm needs."""
    op = rng.choice("++--*/")
    if op in "*/":
        x, y = rng.randint(2, 12), rng.randint(2, 9)
        x, y, value = (x, y, x * y) if op == "*" else (x * y, y, x)
        if op == "*" and rng.random() < 0.4:
            x, y = rng.randint(2, mini_gsm.LARGEST // 3), rng.randint(2, 3)
            value = x * y
        elif op == "/" and rng.random() < 0.4:
            y = rng.randint(2, 5)
            value = rng.randint(1, mini_gsm.LARGEST // y)
            x = value * y
    else:
        x, y = rng.randint(1, mini_gsm.LARGEST), rng.randint(1, 120)
        x, y = (x, y) if op == "+" else (max(x, y), min(x, y))
        value = x + y if op == "+" else x - y
    return [*prompts.ask(f"{x}{op}{y}"), {"role": "assistant", "content": f"{x}{op}{y}={value}"}]


def problem(rng: Random, task: str, lengths: tuple[int, int]):
    """A fresh training problem: (question, a maker of right solutions, a maker of wrong ones)."""
    if task == "mini_gsm":
        story, made, stray = next(mini_gsm.stream("train", rng, lengths))
        return made.question, lambda: mini_gsm.solve(story, rng), lambda: mini_gsm.spoil(story, stray, rng)
    case, made = next(mini_med.stream("train", rng))
    return made.question, lambda: mini_med.solve(case, rng), lambda: mini_med.spoil(case, rng)


def solving(rng: Random, task: str, lengths: tuple[int, int]) -> Chat:
    """A question and a right solution."""
    question, right, _ = problem(rng, task, lengths)
    return [*prompts.ask(question), {"role": "assistant", "content": right()}]


def debating(rng: Random, task: str, lengths: tuple[int, int], max_peers: int) -> Chat:
    """A later round: peers right with a probability of their own (0.1 to 0.9, drawn per chat), the reply right."""
    question, right, wrong = problem(rng, task, lengths)
    n = rng.randint(2, max_peers)
    share = rng.uniform(0.1, 0.9)
    traces = [right() if rng.random() < share else wrong() for _ in range(n)]
    kind = rng.random()
    if kind < 0.7:
        chat = prompts.revise(question, traces, rng.randint(1, n), "shared", TERSE)
    elif kind < 0.9:
        chat = prompts.revise(question, traces, rng.randint(1, n), "own_history", TERSE)
    else:
        chat = prompts.aggregate(question, traces, TERSE)
    return [*chat, {"role": "assistant", "content": right()}]


def example(seed: int, i: int, shares: dict[str, float], lengths: tuple[int, int], max_peers: int) -> Chat:
    """Training chat number i.

    `shares` are the probabilities per chat of "fact", "drill" and "debate"; the rest is solving.  `lengths` are the least
    and most events of a mini_gsm story.
    """
    rng = Random(f"zoo {seed} {i}")
    kind = rng.choices([*shares, "solve"], [*shares.values(), 1 - sum(shares.values())])[0]
    if kind == "fact":
        return fact(rng)
    if kind == "drill":
        return drill(rng)
    task = rng.choice(("mini_gsm", "mini_gsm", "mini_gsm", "mini_med", "mini_med"))
    return debating(rng, task, lengths, max_peers) if kind == "debate" else solving(rng, task, lengths)
