"""What a vision-language network of the zoo sees: its answers about pictures, and to the same questions about paper."""

from __future__ import annotations

from agentark import engines, pictures, tasks
from agentark.mas import prompts
from agentark.tasks import Problem
from agentark.zoo.measuring import ALONE, Network, Section, chance, points, problems_of, sees, share

TASK = "mini_pictures"
KINDS = ("count", "compare", "read")  # what a question asks for; it may go on with a sum


def measure(network: Network, kind: str, settings: dict) -> dict:
    """Answer the questions of a kind among a network's first dev problems, greedily.

    Returns chance (see `guessed`); and as shares seen, the right answers, and blank, those when each picture is
    replaced by blank paper: what is right there was not read off the picture.
    """
    task = tasks.get(TASK)
    problems = [p for p in problems_of(TASK, "dev", settings["problems"]) if kind_of(p) == kind]

    def right(images: list[str]) -> dict:
        chats = [prompts.user_turn(task.prompt(p), image) for p, image in zip(problems, images, strict=True)]
        texts = [c.text for c in network.engine.generate(chats, engines.Sampling(0.0, ALONE), seed=0)]
        return share(points(task, problems, texts))

    seen, blank = right([p.image for p in problems]), right([pictures.BLANK for _ in problems])
    frequent = chance(task, problems)
    guesses = sum(guessed(p, frequent) for p in problems) / len(problems)
    return {"chance": round(guesses, 4), "seen": seen, "blank": blank}


def kind_of(problem: Problem) -> str:
    """The kind of a question, from its template."""
    return next(kind for kind in KINDS if problem.template.startswith(kind))


def guessed(problem: Problem, frequent: float) -> float:
    """How often a guess is right: one of the two kinds that a question names, or else the most frequent answer."""
    return 0.5 if problem.template.startswith("compare") and not problem.answer.isdigit() else frequent


SECTION = Section(measure, lambda settings: KINDS, ("problems",), sees)
