"""Whether networks fit the settings of a study, known from their configs before anything is generated."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from agentark import params

from . import registry, smollm2
from .modules import check_targets
from .names import ModelError, check_name, on_hub, resolve


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
    if name == smollm2.NAME or on_hub(name):
        return None
    folder = Path(resolve(name))
    adapter, file = folder / "adapter_config.json", folder / "config.json"
    if adapter.exists():
        return context_of(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path") or "")
    if not file.exists():
        raise ModelError(f"there is no network in {folder}: it has neither config.json nor adapter_config.json")
    config = json.loads(file.read_text(encoding="utf-8"))
    return config.get("text_config", config).get("max_position_embeddings")
