"""Traces of which it is known what is wrong: an error put into a right trace, and texts about something else."""

from __future__ import annotations

from random import Random

from agentark.extract import steps
from agentark.tasks import mini_med

OFF_TOPIC = (
    "The weather was mild that week.\nPeople walked along the river.\nIn the evening it rained.",
    "Thank you for asking.\nI am happy to help you.",
    "Once there was a king.\nHe had three daughters.\nThey lived in a castle by the sea.\nThe end.",
    "I do not know.",
)


def inject(task: str, trace: str, rng: Random) -> tuple[str, int] | None:
    """Make one step of a trace wrong: change the result of an equation or, in mini_med, the value of a fact.

    Returns the new trace and the index of the step, or None if there is no true equation or fact.
    """
    lines = steps.split(trace)
    wrong_steps: dict[int, str] = {}
    for n, line in enumerate(lines):
        if steps.is_answer(line):
            continue
        true_equations = [equation for equation in steps.equations(line) if steps.holds(*equation)]
        results = [right for _, right in true_equations if right.lstrip("-").isdigit()]
        if results:
            wrong = rng.choice([v for v in (int(results[-1]) + off for off in (-10, -2, -1, 1, 2, 10)) if v >= 0])
            head, _, tail = line.rpartition("=")
            changed = head + "=" + tail.replace(results[-1], str(wrong), 1)
            if not all(steps.holds(*equation) for equation in steps.equations(changed)):
                wrong_steps[n] = changed
        elif task == "mini_med" and steps.facts(line):
            _, relation, value = steps.facts(line)[-1]
            others = sorted(set(mini_med.FACTS.relation[relation].values()) - {value})
            wrong_steps[n] = rng.choice(others).join(line.rsplit(value, 1))
    if not wrong_steps:
        return None
    index = rng.choice(sorted(wrong_steps))
    return "\n".join([*lines[:index], wrong_steps[index], *lines[index + 1 :]]), index
