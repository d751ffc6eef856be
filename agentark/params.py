"""What a run may be told: strict, typed sections of a YAML file.

An unknown key, a value of another type (YAML reads `1e-5` as text; write `1.0e-5`) or an impossible combination is a
`ParamsError` that names the key, what is allowed and the nearest match.  Nothing heavy is imported here, so that a bad
file fails before any model loads.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Method = Literal["sft", "rsft", "da", "rsft_single", "continued", "pad", "ppo", "pad_shuffled", "rlvr"]
METHODS = get_args(Method)
RL_METHODS = ("pad", "ppo", "pad_shuffled", "rlvr")  # taught by rewards: PAD by GRPO, by PPO, and their controls
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

# (training set, test set) that share problems, and how.  A test checks it on the questions of all sets that can be had offline.
SHARED = {("medmcqa_embedded", "medmcqa"): "one is a part of the other: MedMCQA's validation set"}


class ParamsError(ValueError):
    """What a run was told cannot be: the message says where, what and what would be right."""


class Section(BaseModel):
    """A mapping of the params file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Study(Section):
    """Which cells there are: teachers × students × training sets × methods × test sets × seeds."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    teachers: Annotated[list[str], Field(min_length=1)]
    students: Annotated[list[str], Field(min_length=1)]
    train_tasks: Annotated[list[str], Field(min_length=1)]
    test_tasks: Annotated[list[str], Field(min_length=1)]
    methods: list[Method]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    grain: Literal["cell", "students"]

    @model_validator(mode="after")
    def _no_repeats(self):
        for key in ("teachers", "students", "train_tasks", "test_tasks", "methods", "seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key} names something twice: {values}")
        return self

    @model_validator(mode="after")
    def _no_shared_problems(self):
        for train in self.train_tasks:
            for test in self.test_tasks:
                if why := SHARED.get((train, test)):
                    raise ValueError(
                        f"what is learnt from {train} cannot be tested on {test} ({why}): test on {train}, or train on another set"
                    )
        return self


Size = Literal["train", "dev", "test", "debate_test"]


class Sizes(Section):
    """How many problems of each split are used; `tasks` says where it is fewer of some task: {math: {train: 500}}."""

    train: Positive
    dev: Positive
    test: Positive
    debate_test: Positive
    tasks: dict[str, dict[Size, Positive]] = {}

    def of(self, what: Size, task: str) -> int:
        """How many problems of "train", "dev", "test" or "debate_test" of a task."""
        own = self.tasks.get(task, {})
        n = own.get(what, getattr(self, what))
        return min(n, self.of("test", task)) if what == "debate_test" else n

    @model_validator(mode="after")
    def _within(self):
        if self.debate_test > self.test:
            raise ValueError(
                f"debate_test ({self.debate_test}) is more than test ({self.test}): both are the first problems of one set"
            )
        for task, own in self.tasks.items():
            for what, n in own.items():
                if n > getattr(self, what):
                    raise ValueError(
                        f"tasks.{task}.{what} ({n}) is more than {what} ({getattr(self, what)}), which is the most of any task"
                    )
        return self


def best_dtype() -> str:
    """What `dtype: auto` means: "bfloat16" where this machine computes with it (a GPU that has it, a CPU with AMX or AVX-512 BF16), else "float32"."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    can = torch.cpu.get_capabilities()
    return "bfloat16" if can.get("amx_bf16") or can.get("avx512_bf16") else "float32"


class Engine(Section):
    """How text is made.  A key that belongs to other engines is None, the default.

    `transformers`: batch (sequences decoded together), dtype, share_prefix (compute a shared prompt prefix once); optional drop_finished (rows
    that have ended leave the batch; the same greedy replies, other samples).
    `vllm`: these (batch is the most sequences at a time) and tensor_parallel, data_parallel; optional gpu_memory_utilization (share of the
    memory, on a CPU too) and max_model_len (tokens of context; the model's own where not told).
    `openai` (any compatible server): base_url (with /v1, never with a key), concurrency (requests at a time), timeout_s (of a request),
    retries (after the first try); optional requests_per_minute and api_key_env, the environment variable that holds the key.
    """

    name: Literal["transformers", "vllm", "openai"]
    batch: Positive | None = None
    dtype: Literal["auto", "float32", "bfloat16"] | None = None
    share_prefix: bool | None = None
    drop_finished: bool | None = None
    tensor_parallel: Positive | None = None
    data_parallel: Positive | None = None
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    max_model_len: Positive | None = None
    base_url: Annotated[str, Field(pattern=r"^https?://[^\s@?]+$")] | None = None
    concurrency: Positive | None = None
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0)] | None = None
    requests_per_minute: Positive | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None

    @model_validator(mode="after")
    def _own_keys(self):
        own = {
            "transformers": (("batch", "dtype", "share_prefix"), ("drop_finished",)),
            "vllm": (
                ("batch", "dtype", "share_prefix", "tensor_parallel", "data_parallel"),
                ("gpu_memory_utilization", "max_model_len"),
            ),
            "openai": (("base_url", "concurrency", "timeout_s", "retries"), ("requests_per_minute", "api_key_env")),
        }
        needed, optional = own[self.name]
        if missing := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(f"the engine {self.name} needs {', '.join(missing)}")
        if strange := [
            key
            for key in type(self).model_fields
            if key not in ("name", *needed, *optional) and getattr(self, key) is not None
        ]:
            raise ValueError(
                f"{', '.join(strange)} belongs to another engine than {self.name}; take it out (or write null)"
            )
        return self

    def about(self) -> dict[str, Any]:
        """What rows depend on, for their manifest: the dtype that `auto` is here, so that no run goes on in another one; not how a server is
        reached, so that one goes on when its server has moved.
        """
        told = self.model_dump(
            exclude_none=True,
            exclude={"base_url", "concurrency", "timeout_s", "retries", "requests_per_minute", "api_key_env"},
        )
        return told | ({"dtype": best_dtype()} if self.dtype == "auto" else {})


class Debate(Section):
    """Who talks to whom (3.2, A.2)."""

    agents: Annotated[int, Field(ge=2, le=20)]
    rounds: Positive
    layout: Literal["shared", "own_history"]
    wording: Literal["terse", "full"]
    consensus: Literal["unanimous", "majority", "off"]
    aggregator: Literal["llm", "majority"]
    temperature: Annotated[float, Field(gt=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Positive
    chunk: Positive


class Extract(Section):
    """Which traces are kept (3.2, A.3, A.4).  `diversity`: DA's traces are chosen by the distance of their steps, by a judge (A.4), or by a
    judge and then written anew by a distiller (3.3.2; DECISIONS 10).  Training questions that share `decontaminate_words` words in a row with a test question are
    left out (0: none are).
    """

    corrective_form: Literal["final", "stitched"]
    rsft_traces: Literal["one", "all"]
    max_traces: Annotated[int, Field(ge=1, le=3)]
    diversity: Literal["structural", "judge", "extract"]
    aggregator_traces: bool
    decontaminate_words: Annotated[int, Field(ge=0)]


class Ask(Section):
    """A language model that is asked for one of a few words, or for a text.  `constrained` lets the engine admit the choices only;
    `max_new_tokens` bounds free replies; `chunk` is how many questions are journaled together; `engine` is the study's where null.
    """

    model: str
    constrained: bool
    temperature: Annotated[float, Field(ge=0)]
    max_new_tokens: Positive
    chunk: Positive
    engine: Engine | None = None


class Judge(Ask):
    """A judge of reasoning (4.4): of how many problems (`items`), and how often each solution is scored (`repeats`)."""

    items: Positive
    repeats: Positive


class Judges(Section):
    """Language models that say what is right, different or good (A.3, A.4, 3.3.2, 4.4); null: a program does."""

    verifier: Ask | None
    diversity: Ask | None
    distiller: Ask | None
    quality: Judge | None


class Lora(Section):
    """Low-rank adapters instead of full fine-tuning."""

    r: Positive
    alpha: Positive
    dropout: Share
    target_modules: str | list[str]


class Distill(Section):
    """How a student learns (3.3.1, 3.3.2)."""

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


class Evaluate(Section):
    """How good it is."""

    samples: Annotated[int, Field(ge=0)]
    temperature: Annotated[float, Field(gt=0)]
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Positive
    base_votes: Positive


class Prm(Section):
    """How a process reward model learns (3.3.3, B.1).  `backbone` is "student", or any network's name (Table 4); with the labeller
    `rollout` the student completes each step `rollouts` times.
    """

    backbone: str

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
    def _some_training(self):
        if not self.stage1_epochs + self.stage2_epochs:
            raise ValueError("stage1_epochs and stage2_epochs are both 0: nothing would be trained")
        return self


class Rl(Section):
    """How a student learns from rewards (3.3.3, B.2).  `generations` is G; every `dev_every` steps its true accuracy is measured on
    `dev_problems` problems of dev.

    `init` is the initial policy: the student, or its R-SFT checkpoint of the same cell (DECISIONS 22).  `ratio` is GRPO's (Eq. 4: sequence).  `critic`, `gamma`, `lam`, `value_coefficient` and `reward_at` are PPO's: its ratio is per
    token with a critic and per sequence without (Eq. 8-9).
    """

    init: Literal["base", "rsft"]
    learning_rate: Annotated[float, Field(gt=0)]
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
    critic: bool
    gamma: Share
    lam: Share
    value_coefficient: Annotated[float, Field(ge=0)]
    reward_at: Literal["steps", "end"]
    dev_problems: Positive
    dev_every: Positive
    save_steps: Positive


class Stats(Section):
    """How sure we are."""

    level: Annotated[float, Field(gt=0, lt=1)]
    resamples: Positive


class Params(Section):
    """A whole params file."""

    study: Study
    sizes: Sizes
    engine: Engine
    debate: Debate
    extract: Extract
    judges: Judges
    distill: Distill
    prm: Prm
    rl: Rl
    evaluate: Evaluate
    stats: Stats

    @model_validator(mode="after")
    def _sizes_of_its_tasks(self):
        known = (*self.study.train_tasks, *self.study.test_tasks)
        for task in self.sizes.tasks:
            if task not in known:
                raise ValueError(
                    f"sizes.tasks: the study has no task {unknown(task, known).removeprefix('unknown key ')}"
                )
        return self

    @model_validator(mode="after")
    def _who_chooses(self):
        needed = {"structural": (), "judge": ("diversity",), "extract": ("diversity", "distiller")}[
            self.extract.diversity
        ]
        if missing := [name for name in needed if getattr(self.judges, name) is None]:
            raise ValueError(
                f"extract.diversity = {self.extract.diversity} needs {' and '.join(f'judges.{name}' for name in missing)}: name a model there, or say structural"
            )
        return self

    @model_validator(mode="after")
    def _initial_policies(self):
        if self.rl.init == "rsft" and set(RL_METHODS) & set(self.study.methods) and "rsft" not in self.study.methods:
            raise ValueError(
                "rl.init = rsft starts from the study's R-SFT checkpoints, and study.methods has no rsft: add it, or say init: base"
            )
        return self


class Coordinates(Section):
    """The flat values: which part of the study a notebook run is about."""

    limit: Annotated[int, Field(ge=0)] = 0
    inputs: Literal["run", "reference", "auto"] = "auto"
    teacher: str = ""
    student: str = ""
    students: list[str] = []
    task: str = ""
    method: Literal[Method, "base"] = "base"
    split: Literal["train", "dev", "test"] = "train"
    protocol: Literal["debate", "self_consistency", "single", "shuffled"] = "debate"
    seed: Annotated[int, Field(ge=0)] = 0


SECTIONS = tuple(Params.model_fields)
COORDINATES = tuple(Coordinates.model_fields)


def load(path: str | Path) -> tuple[Params, Coordinates]:
    """Read and check a params file.

    Returns (its sections, its flat coordinates).  Raises ParamsError where the file is missing, is no YAML mapping,
    or says something that cannot be.
    """
    path = Path(path)
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = sorted(str(p) for p in Path("params").glob("*.yaml"))
        raise ParamsError(f"no params file {path}; there are {', '.join(near) or 'none under params/'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"cannot read {path}: {error}") from None
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(told, dict):
        raise ParamsError(f"{path} must be a mapping of sections ({', '.join(SECTIONS)}), not {type(told).__name__}")
    return check(told, str(path))


def check(told: dict[str, Any], where: str) -> tuple[Params, Coordinates]:
    """Check what a run is told: the sections and the flat coordinates together.  Raises ParamsError, naming `where`."""
    strange = [key for key in told if key not in SECTIONS + COORDINATES]
    if strange:
        raise ParamsError("\n".join(f"{where}: {unknown(key, SECTIONS + COORDINATES)}" for key in strange))
    try:
        sections = Params.model_validate({k: v for k, v in told.items() if k in SECTIONS})
        return sections, Coordinates.model_validate({k: v for k, v in told.items() if k in COORDINATES})
    except ValidationError as error:
        raise ParamsError("\n".join(f"{where}: {_sentence(e)}" for e in error.errors())) from None


def unknown(key: str, known: tuple[str, ...]) -> str:
    """The sentence for a key that is not among `known`."""
    near = get_close_matches(str(key), known, n=1)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}")


def _sentence(error: dict) -> str:
    """One pydantic error as a sentence that names the key."""
    loc = [str(part) for part in error["loc"]]
    key = ".".join(loc) or "the file"
    if error["type"] == "extra_forbidden":
        known = {
            "distill.lora": Lora,
            "judges.quality": Judge,
            **dict.fromkeys(("judges.verifier", "judges.diversity", "judges.distiller"), Ask),
        }.get(".".join(loc[:-1])) or Params.model_fields[loc[0]].annotation
        return f"in {'.'.join(loc[:-1])}: {unknown(loc[-1], tuple(known.model_fields))}"
    if error["type"] == "missing":
        return f"{key} is missing"
    said = error["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
    given = error["input"]
    if error["type"] == "value_error":
        return f"{key}: {said}"
    hint = ""
    if isinstance(given, str):
        if error["type"] in ("float_type", "int_type", "bool_type"):
            hint = " (text; YAML reads 1e-5 as text, write 1.0e-5)"
        elif near := get_close_matches(given, error.get("ctx", {}).get("expected", "").replace("'", " ").split(), n=1):
            hint = f"; did you mean {near[0]!r}?"
    return f"{key} {said}, not {given!r}{hint}"
