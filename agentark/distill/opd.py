"""On-policy distillation: a student's own samples under its teacher's distribution, on TRL's DistillationTrainer.

    L = E[ 1/T sum_t D_KL( π_θ(· | x, o_<t) || π_teacher(· | x, o_<t) ) ],   o from π_θ

The reverse divergence is taken over the whole vocabulary at each token of the student's completion, at the sampling
temperature.  It is no method of the paper, but the comparison that a practitioner would ask for: as PAD, it trains on
the student's own completions, and its signal is dense.  So it is also the positive control of on-policy training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from trl import DistillationConfig, DistillationTrainer

from agentark import params
from agentark.graph.source import source_hash
from agentark.models.load import load, load_tokenizer, revision

from . import on_policy
from .data import DistillError
from .step_ends import fingerprint

REVERSE = 1.0  # TRL's `beta` for the reverse divergence


def run(
    folder: Path,
    *,
    policy: str,
    teacher: str,
    prompts: dict[str, str],
    evaluate_dev: Callable[[Any, Any], float] | None = None,
    config: params.Rl,
    seed: int,
    about: dict | None = None,
    callbacks: tuple[TrainerCallback, ...] = (),
) -> dict:
    """Train `policy` towards `teacher` on its own completions and save it to `folder`; an existing result is read.

    The other arguments and the result are those of `grpo.run`.  Raises DistillError if the two have different tokens.
    """
    if fingerprint(load_tokenizer(policy)) != fingerprint(load_tokenizer(teacher)):
        differ = f"{policy} and its teacher {teacher} have different tokens, so that distributions cannot be compared"
        raise DistillError(f"{differ}: take a teacher of the student's family for the method opd")

    def make_trainer(work: Path, **given) -> DistillationTrainer:
        batch = config.prompts_per_step * config.generations
        args = DistillationConfig(**on_policy.settings(config, work, seed, batch), beta=REVERSE)
        return DistillationTrainer(teacher_model=load(teacher)[0], args=args, **given)

    return on_policy.run(
        folder,
        {"source": source_hash(__name__), "teacher": revision(teacher), **(about or {})},
        policy=policy,
        prompts=prompts,
        copies=config.generations,
        config=config,
        seed=seed,
        make_trainer=make_trainer,
        evaluate_dev=evaluate_dev,
        callbacks=callbacks,
    )
