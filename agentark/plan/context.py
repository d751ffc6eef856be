"""Whether the agents of a debate fit into their network's context, as far as it can be known beforehand."""

from __future__ import annotations

from agentark import params
from agentark.graph.job import Study
from agentark.models import fit

from .rates import Rates


def too_many_agents(config: params.Params, r: Rates) -> list[str]:
    """Return a sentence for each teacher and variant of the study whose prompts are expected to exceed the context.

    A prompt of a later round has the question and the last traces of all agents (in either layout), beside which the
    longest reply has to have room; the lengths are those of the tier's rates.  The engine refuses such a prompt when it
    meets it.  A context that is not known without a connection is not checked.
    """
    found: dict[str, None] = {}
    for variant in Study(config).variants(("debate", "engine")):
        debate, engine = variant.params.debate, variant.params.teacher_engine
        if engine.serves or debate.rounds == 1:
            continue
        prompt, reply = r.question + debate.agents * r.reply, debate.max_new_tokens
        for teacher in config.study.teachers:
            known = [n for n in (engine.max_model_len, fit.context_of(teacher)) if n is not None]
            if known and prompt + reply > min(known):
                lengths = f"a later round's prompt has about {prompt:,} tokens, a reply up to {reply:,}"
                refused = f"the context {min(known):,}, so that the engine will refuse it"
                advice = "lower debate.agents or debate.max_new_tokens"
                many = f"debate.agents = {debate.agents} is too many for {teacher}"
                found[f"{many}: {lengths}, {refused}: {advice}"] = None
    return list(found)
