"""What a vision-language network of the zoo sees: its answers about pictures, and to the same questions about paper."""

from __future__ import annotations

from agentark import engines, pictures, tasks
from agentark.mas import prompts
from agentark.tasks import Problem
from agentark.zoo.measuring import ALONE, Network, Section, chance, points, problems_of, share

TASK = "mini_pictures"
KINDS = ("count", "compare", "read")  # what a question asks for; it may go on with a sum


def measure(network: Network, kind: str, settings: dict) -> dict:
    """Answer the questions of a kind among a network's first dev problems, greedily.

    Returns chance; and as shares seen, the right answers, and blank, the right answers when each picture is replaced by
    blank paper: what is right there was not read off the picture.
    """
    task = tasks.get(TASK)
    problems = [p for p in problems_of(TASK, "dev", settings["problems"]) if kind_of(p) == kind]

    def right(images: list[str]) -> dict:
        chats = [prompts.user_turn(task.prompt(p), image) for p, image in zip(problems, images, strict=True)]
        texts = [c.text for c in network.engine.generate(chats, engines.Sampling(0.0, ALONE), seed=0)]
        return share(points(task, problems, texts))

    seen, blank = right([p.image for p in problems]), right([pictures.BLANK for _ in problems])
    return {"chance": round(chance(task, problems), 4), "seen": seen, "blank": blank}


def kind_of(problem: Problem) -> str:
    """The kind of a question, from its template."""
    return next(kind for kind in KINDS if problem.template.startswith(kind))


def sees(card: dict) -> bool:
    """Whether a network was trained on pictures."""
    return any(phase["shares"].get("picture") for phase in card["phases"])


SECTION = Section(measure, lambda settings: KINDS, ("problems",), sees)
