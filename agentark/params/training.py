"""The sections `distill`, `dpo`, `prm` and `rl`: how students and process reward models are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .base import Positive, Section, Share


def _name_or_names(value: Any) -> Any:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        raise ValueError(f"must be a name or a list of names, not {value!r}")
    return value


class Lora(Section):
    """Low-rank adapters, instead of training all weights."""

    r: Positive
    alpha: Positive
    dropout: Share
    target_modules: Annotated[str | list[str], BeforeValidator(_name_or_names)]  # one error, not one for each type


class MethodTraining(Section):
    """What one method has instead of the values of all methods; null: the same."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    epochs: Positive | None = None


class Distill(Section):
    """How students are fine-tuned on traces (Sections 3.3.1 and 3.3.2).

    `answer_weight` is the weight λ of the answer term (Eq. 1). Examples of more than `max_length` tokens are dropped; a
    larger share of them than `max_dropped_share` is an error. All weights are trained if `lora` is null. `by_method`
    has the learning rate or the epochs of a method that needs others, by its name.
    """

    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Positive
    batch: Positive
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    max_length: Positive
    max_dropped_share: Share
    answer_weight: Annotated[float, Field(ge=0)]
    save_steps: Positive
    lora: Lora | None
    by_method: dict[str, MethodTraining] = {}

    def of(self, method: str) -> Distill:
        """Return the section as one method has it."""
        own = self.by_method.get(method, MethodTraining()).model_dump(exclude_none=True)
        return self.model_copy(update={**own, "by_method": {}})


class Dpo(Section):
    """How students are trained on pairs of a right and a wrong trace (not in the paper; `agentark/distill/dpo.py`).

    `beta` is the strength of the tie to the student as it was before; `pairs` is the largest number of pairs of one
    problem, and `batch` the pairs of a step. A pair with a trace of more than `max_length` tokens, with its question,
    is dropped; a larger share of them than `max_dropped_share` is an error. Adapters are those of `distill.lora`.
    """

    beta: Annotated[float, Field(gt=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Positive
    batch: Positive
    pairs: Positive
    warmup_share: Share
    max_length: Positive
    max_dropped_share: Share
    save_steps: Positive


class Prm(Section):
    """How process reward models are trained (Sections 3.3.3 and B.1).

    `backbone` is "student" or the name of a network (Table 4). `features` is what the score of a step is computed from:
    the hidden state at its end (the paper's), and the log-probabilities of its tokens. With the labeller "rollout", the
    student completes each step `rollouts` times.
    """

    backbone: str
    features: Literal["hidden", "hidden+logprob"]
    loss: Literal["contrastive", "ce", "ce+contrastive"]
    score: Literal["sigmoid", "logit"]
    tau: Annotated[float, Field(gt=0)]
    negatives: Annotated[int, Field(ge=1, le=4)]
    labeller: Literal["outcome", "arithmetic", "rollout"]
    rollouts: Positive
    stage1_epochs: Annotated[int, Field(ge=0)]
    stage1_learning_rate: Annotated[float, Field(gt=0)]
    stage2_epochs: Annotated[int, Field(ge=0)]
    stage2_learning_rate: Annotated[float, Field(gt=0)]
    batch: Positive
    max_length: Positive
    shuffled_labels: bool

    @model_validator(mode="after")
    def _trains_at_least_one_epoch(self):
        if not self.stage1_epochs + self.stage2_epochs:
            raise ValueError("stage1_epochs and stage2_epochs are both 0, so nothing would be trained")
        return self


class MethodRl(Section):
    """What one method has instead of the values of all methods; null: the same."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["constant", "linear"] | None = None
    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    steps: Positive | None = None
    prompts_per_step: Positive | None = None
    generations: Annotated[int, Field(ge=2)] | None = None


class Rl(Section):
    """How students are trained on their own samples (Sections 3.3.3 and B.2).

    `generations` is G, the number of completions per prompt. `init` is the initial policy: the student, or its R-SFT
    checkpoint of the same cell (DECISIONS 22). `ratio` belongs to GRPO (Eq. 4 has one ratio per sequence), and so does
    `credit` (Eq. 5 has one advantage per output; "step", DECISIONS 23a, needs the ratio per token). `critic`, `gamma`,
    `lam`, `value_coefficient`, `critic_warmup` (steps in which only the critic learns) and `reward_at` belong to PPO,
    whose ratio is per token with a critic and per sequence without (Eq. 8-9). Every `dev_every` steps, the true
    accuracy is measured on `dev_problems` problems of the split dev. `admission` decides whether a reward model is used
    that fails its examination ("passed": it is not).
    A training whose completions become more than `max_growth` times as long as in its first steps is stopped.
    `by_method` has the values of a method that needs others, by its name.
    """

    init: Literal["base", "rsft"]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "linear"]
    warmup_steps: Annotated[int, Field(ge=0)]
    steps: Positive
    prompts_per_step: Positive
    generations: Annotated[int, Field(ge=2)]
    beta: Annotated[float, Field(ge=0)]
    epsilon: Annotated[float, Field(gt=0, lt=1)]
    advantage_epsilon: Annotated[float, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    max_new_tokens: Positive
    aggregation: Literal["min", "mean", "softmin", "last", "product"]
    verifiable_weight: Annotated[float, Field(ge=0)]
    ratio: Literal["token", "sequence"]
    credit: Literal["output", "step"]
    critic: bool
    gamma: Share
    lam: Share
    value_coefficient: Annotated[float, Field(ge=0)]
    critic_warmup: Annotated[int, Field(ge=0)]
    reward_at: Literal["steps", "end"]
    admission: Literal["passed", "any"]
    max_growth: Annotated[float, Field(gt=1)]
    dev_problems: Positive
    dev_every: Positive
    save_steps: Positive
    by_method: dict[str, MethodRl] = {}

    @model_validator(mode="after")
    def _credits_tokens(self):
        if self.credit == "step" and self.ratio == "sequence":
            raise ValueError("rl.credit = step gives tokens different advantages, which rl.ratio = sequence cannot use")
        return self

    @model_validator(mode="after")
    def _warms_up_to_a_schedule(self):
        for where, config in (("rl", self), *((f"rl.by_method.{name}", self.of(name)) for name in self.by_method)):
            if config.warmup_steps and config.schedule == "constant":
                raise ValueError(f"{where} has warmup_steps, which a constant schedule ignores: take schedule: linear")
        return self

    def of(self, method: str) -> Rl:
        """Return the section as one method has it."""
        own = self.by_method.get(method, MethodRl()).model_dump(exclude_none=True)
        return self.model_copy(update={**own, "by_method": {}})
