"""How fast a device works: the rates behind a plan.

Rates were measured on the machines of the mini, smollm2 and qwen-coder tiers; those of GPUs are assumptions.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentark import params
from agentark.models import coder, load, registry

KINDS = ("generated", "revised", "sampled", "read", "trained")  # kinds of tokens


@dataclass(frozen=True)
class Rates:
    """The speed of one device, and the lengths of the texts.

    In tokens per second: generated (first rounds, answers), revised (generated in later rounds, after long prompts),
    sampled (generated during training by rewards), read (prompt tokens that no other prompt shares) and trained
    (forward and backward); divided by the network's billions of parameters to `power`, with at most `most` generated.
    question, reply, revision: the mean tokens of a question, of a solution and of a reply in a later round.  debating:
    the share of the problems that go on to each later round.  kept: the share of the traces that a method may take of a
    problem which a debate gives, if it may take several.  start_s: seconds before a notebook run's first token.
    device_gb: a device's memory (None: the machine's).
    """

    device: str
    source: str
    generated: float
    revised: float
    sampled: float
    read: float
    trained: float
    question: int
    reply: int
    revision: int
    debating: float
    kept: float
    start_s: float
    power: float = 0.0
    most: float = math.inf
    device_gb: float | None = None


# fmt: off
MINI = Rates(  # results/reference/mini: benchmarks/, training_cost.csv, inference_cost.csv and debate_rounds.csv
    "core",
    "measured: the committed reference run of params/mini.yaml on two AMD EPYC cores; reading is within generating",
    generated=5000, revised=1600, sampled=5000, read=math.inf, trained=9000, question=54, reply=40, revision=300,
    debating=0.24, kept=0.43, start_s=12,
)
SMOLLM2 = Rates(
    "core", "measured: the committed reference run of params/smollm2.yaml on two AMD EPYC cores in bfloat16",
    generated=170, revised=170, sampled=30, read=250, trained=110, question=80, reply=30, revision=30,
    debating=0.92, kept=0.1, start_s=20,
)
# params/qwen-coder.yaml, of 0.49 and 1.54 billion parameters.  generated: 65 and 29 tokens a second, bfloat16, batches
# of 20, one thread (issue 18).  read, trained: of the smaller, in CPU seconds beside other work on the same core: 96 by
# a forward pass and 34 with adapters, both in float32, as judges and students compute; reading of prompts is in
# bfloat16 and assumed to be half as fast again.  Texts: with one example (docs/log.md); revision, debating and kept are
# assumed.
CODER = Rates(
    "core", "measured before the first run of params/qwen-coder.yaml, on an AMD EPYC core; shares of problems assumed",
    generated=39.5, revised=39.5, sampled=39.5, read=90, trained=21, question=172, reply=55, revision=80,
    debating=0.4, kept=0.5, start_s=60, power=0.7,
)
# H100, bfloat16.  generated: vLLM with Qwen3-32B gave 2,353 tokens per second on ShareGPT, half of them generated
# (docs.gpustack.ai/2.0/performance-lab/qwen3-32b/h100): 1,170 × 32.8.  sampled: transformers, a tenth of that.  read,
# trained: 2 and 6 FLOP per token and parameter at 30 and 15 % of 989 TFLOP/s.  Texts: GSM8K, MATH, without thinking.
GPU = Rates(
    "GPU", "ASSUMED, nothing of it was measured here: an H100 with 80 GB, vLLM; see agentark/plan/rates.py",
    generated=38_000, revised=38_000, sampled=3_800, read=148_000, trained=24_700, question=150, reply=300,
    revision=300, debating=0.4, kept=1.0, start_s=180, power=1.0, most=20_000, device_gb=80,
)
# fmt: on


QUANTISED = {network.name: network.model for network in coder.QUANTISED}  # folders that `agentark assets` makes


def record(name: str) -> registry.Model | None:
    """Return the registry's record of a network, also if it is there as a folder of dequantised weights, or None."""
    return registry.find(name) or QUANTISED.get(name)


def backbones(config: params.Params) -> list[str]:
    """Return the backbones of a study's reward models, each once: "student", or names of networks."""
    return list(dict.fromkeys(config.study.axes.get("prm.backbone") or [config.prm.backbone]))


def models(config: params.Params) -> list[str]:
    """Return the networks that a study runs or trains here, each once, without its judges."""
    named = [name for name in backbones(config) if name != "student"]
    served = dict(config.served())
    used = [*config.study.teachers, *config.study.students, *named]
    return list(dict.fromkeys(name for name in used if name not in served))


def judges(config: params.Params) -> dict[str, params.Engine]:
    """Return the language models that verify, choose and judge, with their engines."""
    configured = (config.judges.verifier, config.judges.diversity, config.judges.distiller, config.judges.quality)
    return {judge.model: judge.engine or config.engine for judge in configured if judge}


@cache
def billions(name: str) -> float:
    """Return a network's billions of parameters by the registry, its card, its files or its name, else 8."""
    if entry := record(name):
        return entry.parameters
    if name.startswith("zoo/"):
        return load.cards()[name]["parameters"] / 1e9
    if (card := Path(name, "card.json")).is_file():
        return json.loads(card.read_text())["parameters"] / 1e9
    if files := list(Path(name).glob("*.safetensors")):
        return sum(file.stat().st_size for file in files) / 4e9
    in_name = re.search(r"(\d+(?:\.\d+)?)b(?![a-z])", name, re.IGNORECASE)
    return float(in_name[1]) if in_name else 8.0


def rates(config: params.Params) -> Rates:
    """Return the rates of a study's tier, by the size of its networks."""
    largest = max(map(billions, models(config)), default=0.0)
    if largest < 0.2:
        return MINI if largest < 0.02 else SMOLLM2
    return CODER if largest < 2 and config.engine.name == "transformers" else GPU


def speed(kind: str, model: str, r: Rates) -> float:
    """Return the tokens per second of one device."""
    value = getattr(r, kind) / billions(model) ** r.power
    return min(value, r.most) if kind in ("generated", "revised", "sampled") else value


def devices(engine: params.Engine) -> int:
    """Return how many GPUs generate together; training uses one."""
    return (engine.tensor_parallel or 1) * (engine.data_parallel or 1)
