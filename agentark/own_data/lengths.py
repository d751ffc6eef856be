"""Finds the questions of your own files that are too long for the networks, before the debate.

A prompt of the debate grows from round to round.  A question is too long for the teacher if its prompt, with as many
replies of `debate.max_new_tokens` as there are agents and one more, has more tokens than the context of the teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

from agentark import params, tasks
from agentark.distill.method import methods
from agentark.graph.job import Study
from agentark.mas import prompts
from agentark.models import load
from agentark.tasks import Problem, Task, jsonl, question_files

Lengths = Callable[[str, list[Problem]], list[str]]


def too_long(
    task: Task,
    teacher: str | None,
    student: str,
    config: params.Params,
    trains_by_rewards: bool,
    debated: Sequence[str] = ("train",),
) -> Lengths:
    """Return a function of a split and its problems: why each is too long, "" if it is not (`data.leave_out`).

    teacher: None for a method without a debate, or if it is on a server.  debated: the splits that it debates.  Raises
    ModelError for a network that is not available.
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
        checks = [in_debate] if teacher and split in debated else []
        checks.append(in_training if split == "train" else in_test)
        return [next((reason for check in checks if (reason := check(p))), "") for p in problems]

    return reasons


def check_study(config: params.Params, limit: int) -> None:
    """Check the files of questions that a study uses, before it generates anything.

    Raises ParamsError, which lists the rows by line and id, if a question of its splits is too long for a network.
    """
    study = config.study
    rewarded = any(methods()[name].reward for name in study.methods)
    for name in filter(tasks.is_file, dict.fromkeys((*study.train_tasks, *study.test_tasks))):
        good = question_files.read(name, jsonl.parse, jsonl.equal).good
        bad: dict[str, question_files.Bad] = {}
        for variant in Study(config, limit).variants(("debate", "distill", "engine", "evaluate", "rl")):
            served = variant.params.teacher_engine.serves
            for teacher, student in product([None] if served else study.teachers, study.students):
                reasons = too_long(tasks.get(name), teacher, student, variant.params, rewarded, tasks.SPLITS)
                for split in tasks.SPLITS:
                    used = [row for row in good if row.split == split][: variant.size(split, name)]
                    for row, reason in zip(used, reasons(split, [row.problem for row in used]), strict=True):
                        if reason:
                            bad.setdefault(row.place, question_files.Bad(row.place, "too long", f"has {reason}"))
        if bad:
            raise params.ParamsError(str(question_files.refusal(name, list(bad.values()))))


def _tokens(tokenizer, chat: prompts.Chat) -> int:
    is_open = chat[-1]["role"] == "user"
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=is_open, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)  # it would warn of long ones


def _beyond(stage: str, tokens: int, what: str, limit: int) -> str:
    return f"{tokens:,} tokens in {stage}, more than {what}" if tokens > limit else ""
