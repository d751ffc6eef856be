"""Whether networks fit the settings of a study, known from their configs before anything is generated."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from agentark import params, tasks

from . import registry, smollm2
from .modules import check_targets
from .names import ModelError, check_name, on_hub, resolve

SEEING = ("qwen2_5_vl",)  # kinds of networks whose vision tower is used: engines.images.KINDS, which imports torch


def check(config: params.Params, teachers: Iterable[str], students: Iterable[str]) -> None:
    """Raises ModelError, which says what to change, for a network that cannot do its part of a study.

    That is a folder without a network, a judge that does not exist, a context that is shorter than a reply, or a target
    of adapters that a student does not have.  Networks behind a server are not known here.
    """
    replies = {"debate.max_new_tokens": config.debate.max_new_tokens}
    for teacher in teachers:
        _check_context(teacher, config.teacher_engine, replies)
    replies = {"evaluate.max_new_tokens": config.evaluate.max_new_tokens, "rl.max_new_tokens": config.rl.max_new_tokens}
    for student in students:
        _check_context(student, config.engine, replies)
        if config.distill.lora:
            try:
                check_targets(student, config.distill.lora.target_modules)
            except ModelError as error:
                raise ModelError(f"distill.lora: {error}") from None
    if config.prm.backbone != "student":
        context_of(config.prm.backbone)
    for name, judge in config.judges:
        engine = (judge.engine or config.engine) if judge else None
        if engine and not engine.serves:
            try:
                check_name(judge.model)
                _check_context(judge.model, engine, {f"judges.{name}.max_new_tokens": judge.max_new_tokens})
            except ModelError as error:
                raise ModelError(f"judges.{name}.model: {error}") from None


def _check_context(name: str, engine: params.Engine, replies: dict[str, int]) -> None:
    """Raise ModelError if a network's context is shorter than the engine's, or has no room beside a reply."""
    context = context_of(name)
    if engine.serves or context is None:
        return
    if engine.max_model_len is not None and engine.max_model_len > context:
        much = f"engine.max_model_len = {engine.max_model_len} is more than the context of {name} ({context})"
        raise ModelError(f"{much}: lower it, or remove it")
    for key, tokens in replies.items():
        if tokens >= context:
            much = f"{key} = {tokens} leaves no room for a prompt in the context of {name} ({context})"
            raise ModelError(f"{much}: lower it")


def context_of(name: str) -> int | None:
    """Return how many tokens a network has room for; None if that is not known without a connection.

    Raises ModelError for a folder that has no network.
    """
    if record := registry.find(name):
        return record.context
    config = _config(name)
    return config.get("text_config", config).get("max_position_embeddings") if config else None


def sees(name: str, engine: params.Engine) -> bool:
    """Whether a network can be asked about pictures through an engine.

    A server's network, and one whose config is not known without a connection, are taken to see: what is sent to them
    is not known here.  The engine vllm of this package sends texts only.
    """
    if engine.serves or engine.name == "vllm":
        return engine.serves
    record = registry.find(name)
    config = {"model_type": record.architecture} if record else _config(name)
    return config is None or config.get("model_type") in SEEING


def tests_of(name: str, tests: Iterable[str], engine: params.Engine) -> list[str]:
    """Those of some test sets that a network can take: without those about pictures if it does not see."""
    return [test for test in tests if not tasks.has_pictures(test) or sees(name, engine)]


def check_sight(config: params.Params) -> None:
    """Raises ModelError if a study trains on pictures that a network cannot see, or tests on some that no student can.

    A network that cannot see the pictures of a test is no mistake: it does not take that test (`left_out`).
    """
    study = config.study
    networks = dict.fromkeys(study.students, config.engine) | dict.fromkeys(study.teachers, config.teacher_engine)
    for task in filter(tasks.has_pictures, study.train_tasks):
        for name in (name for name, engine in networks.items() if not sees(name, engine)):
            raise ModelError(f"study.train_tasks: {task} has pictures, which {name} cannot see: take another network, "
                             "or a task without pictures")  # fmt: skip
    for test in filter(tasks.has_pictures, study.test_tasks):
        if not any(sees(student, config.engine) for student in study.students):
            raise ModelError(f"study.test_tasks: {test} has pictures, which no student of the study can see: remove "
                             "it, or add a student with a vision tower")  # fmt: skip


def left_out(config: params.Params) -> Iterator[str]:
    """Yield a sentence for each network of a study that does not take all of its tests."""
    study, names = config.study, []
    for part, engine in ((study.students, config.engine), (study.teachers, config.teacher_engine)):
        names += [(name, engine) for name in part]
    for name, engine in dict(names).items():
        taken = tests_of(name, study.test_tasks, engine)
        if lacking := [test for test in study.test_tasks if test not in taken]:
            yield f"{name} cannot see pictures: it is left out of {' and '.join(lacking)}"


def _config(name: str) -> dict[str, Any] | None:
    """The config of a network, of an adapter that of its base; None if it is not known without a connection.

    Raises ModelError for a folder that has no network.
    """
    if name == smollm2.NAME or on_hub(name):
        return None
    folder = Path(resolve(name))
    adapter, file = folder / "adapter_config.json", folder / "config.json"
    if adapter.exists():
        base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
        if record := registry.find(base):
            return {"model_type": record.architecture, "max_position_embeddings": record.context}
        return _config(base)
    if not file.exists():
        raise ModelError(f"there is no network in {folder}: it has neither config.json nor adapter_config.json")
    return json.loads(file.read_text(encoding="utf-8"))
