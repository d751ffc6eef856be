"""Finds the questions that are too long for the networks, before the debate.

A prompt of the debate grows from round to round.  A question is too long for the teacher if its prompt, with as many
replies of `debate.max_new_tokens` as there are agents and one more, has more tokens than the context of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable

from agentark import params
from agentark.mas import prompts
from agentark.models import load
from agentark.tasks import Problem, Task

Lengths = Callable[[str, list[Problem]], list[str]]


def too_long(task: Task, teacher: str | None, student: str, config: params.Params, trains_by_rewards: bool) -> Lengths:
    """Return a function of a split and its problems: why each is too long, "" if it is not (`data.leave_out`).

    teacher: None for a method without a debate, or if it is on a server.  Raises ModelError for a
    network that is not available.
    """
    debate = config.debate
    teach = load.load_tokenizer(teacher) if teacher else None
    learn = load.load_tokenizer(student)
    teachers = load.context(teacher) if teacher else 0
    students = load.context(student)
    if config.engine.max_model_len:
        teachers, students = (min(n, config.engine.max_model_len) for n in (teachers, students))
    wording = prompts.WORDINGS[debate.wording]

    def in_debate(p: Problem) -> str:
        replies = (debate.agents + 1) * debate.max_new_tokens
        chat = prompts.revise(task.prompt(p), [""] * debate.agents, debate.agents, debate.layout, wording)
        return _beyond("the debate", _tokens(teach, chat) + replies, f"the teacher's context of {teachers:,}", teachers)

    def in_training(p: Problem) -> str:
        if trains_by_rewards:
            used = _tokens(learn, prompts.user_turn(task.prompt(p))) + config.rl.max_new_tokens
            return _beyond("training", used, f"the student's context of {students:,}", students)
        limit = config.distill.max_length
        answered = [*prompts.user_turn(task.prompt(p)), {"role": "assistant", "content": f"Answer: {p.answer}"}]
        return _beyond("training", _tokens(learn, answered), f"distill.max_length = {limit:,}", limit)

    def in_test(p: Problem) -> str:
        used = _tokens(learn, prompts.user_turn(task.prompt(p))) + config.evaluate.max_new_tokens
        return _beyond("evaluation", used, f"the student's context of {students:,}", students)

    def reasons(split: str, problems: list[Problem]) -> list[str]:
        if split != "train":
            return [in_test(p) for p in problems]
        return [(in_debate(p) if teacher else "") or in_training(p) for p in problems]

    return reasons


def _tokens(tokenizer, chat: prompts.Chat) -> int:
    is_open = chat[-1]["role"] == "user"
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=is_open, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False).input_ids)


def _beyond(stage: str, tokens: int, what: str, limit: int) -> str:
    return f"{tokens:,} tokens in {stage}, more than {what}" if tokens > limit else ""
