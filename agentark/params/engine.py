"""The section `engine`: how texts are generated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Positive, Section
from .messages import unknown

# What the engine openai sends besides model and messages.
PARAMETERS = ("temperature", "top_p", "max_tokens", "seed", "logprobs", "response_format", "structured_outputs",
              "return_token_ids", "chat_template_kwargs")  # fmt: skip
# The required and the optional keys of each engine.
KEYS = {
    "transformers": (("batch", "dtype", "share_prefix"), ()),
    "vllm": (("batch", "dtype", "share_prefix", "tensor_parallel", "data_parallel"),
             ("gpu_memory_utilization", "max_model_len")),
    "openai": (("base_url", "concurrency", "timeout_s", "retries"),
               ("requests_per_minute", "api_key_env", "omit", "rename", "extra")),
}  # fmt: skip


def keys_of(name: Any) -> set[str]:
    """Return the keys that an engine's section may have; those of all engines for an unknown name."""
    engines = [KEYS[name]] if isinstance(name, str) and name in KEYS else KEYS.values()
    return {"name", *(key for required, optional in engines for key in (*required, *optional))}


def best_dtype() -> str:
    """Return "bfloat16" if this machine computes in it (a GPU, or a CPU with AMX or AVX-512 BF16), else "float32"."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if capabilities.get("amx_bf16") or capabilities.get("avx512_bf16") else "float32"


class Engine(Section):
    """How texts are generated. Keys that belong to other engines are None, the default.

    `transformers`: batch (sequences decoded together), dtype, share_prefix (compute a shared prompt prefix once).

    `vllm`: the same three (batch is the maximum number of sequences at a time), tensor_parallel and data_parallel;
    optional: gpu_memory_utilization (share of the memory, on a CPU as well) and max_model_len (tokens of context; the
    model's own by default).

    `openai`, any compatible server: base_url (with /v1, never with a key), concurrency (requests at a time), timeout_s
    (seconds for one request) and retries (after the first attempt); optional: requests_per_minute, api_key_env (the
    environment variable that holds the key), and for servers that refuse what others require: omit (parameters that are
    not sent, such as [seed]), rename (parameters that are sent under another name, such as {max_tokens:
    max_completion_tokens}) and extra (fields that every request has in addition, such as {reasoning_effort: none}). A
    server's refusal of a parameter is learnt without these keys as well.
    """

    name: Literal["transformers", "vllm", "openai"]
    batch: Positive | None = None
    dtype: Literal["auto", "float32", "bfloat16"] | None = None
    share_prefix: bool | None = None
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

    omit: list[str] | None = None
    rename: dict[str, str] | None = None
    extra: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _parameters_of_requests(self):
        for key, names in (("omit", self.omit or []), ("rename", self.rename or {})):
            for name in names:
                if name not in PARAMETERS:
                    raise ValueError(f"{key}: {unknown(name, PARAMETERS, 'parameter')}")
        for name in self.extra or {}:
            if name in {*PARAMETERS, "model", "messages", "stream", "n"} - {"chat_template_kwargs"}:
                raise ValueError(f"extra: {name} is set by the engine itself; remove it")
        return self

    @model_validator(mode="after")
    def _keys_of_this_engine(self):
        required, optional = KEYS[self.name]
        if missing := [key for key in required if getattr(self, key) is None]:
            raise ValueError(f"the engine {self.name} needs {', '.join(missing)}")
        others = set(type(self).model_fields) - {"name", *required, *optional}
        if foreign := [key for key in type(self).model_fields if key in others and getattr(self, key) is not None]:
            names = ", ".join(foreign)
            raise ValueError(f"{names} belongs to another engine than {self.name}; remove it (or write null)")
        return self

    @property
    def serves(self) -> bool:
        """Whether a server generates: its models have the names that it gives them, and no weights here."""
        return self.name == "openai"

    def identity(self) -> dict[str, Any]:
        """Return the keys that generated texts depend on, for their manifest.

        `dtype: auto` is replaced by its meaning on this machine, so that no run is continued in another precision. How
        a server is reached is left out, so that a run can be continued after its server has moved.
        """
        connection = {"base_url", "concurrency", "timeout_s", "retries", "requests_per_minute", "api_key_env"}
        keys = self.model_dump(exclude_none=True, exclude=connection)
        return keys | ({"dtype": best_dtype()} if self.dtype == "auto" else {})
