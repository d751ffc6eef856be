"""Networks that are published as GGUF files of 4-bit weights: dequantised once into a folder like any checkpoint.

The files keep two copies of the tied embedding, the output's with more bits.  The folder has one again, the output's.
A network is accepted if it gives the expected reply to a question; its `card.json` has the SHA-256 of each file.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from agentark import store
from agentark.assets import INSTALL, AssetError
from agentark.packages import Published
from agentark.packages.fetching import check_space, full_disk, working_folder

from .registry import Model

FOLDER = "weights"  # of the repository; ignored by git
QUESTION = "What is the capital of France?"


@dataclass(frozen=True)
class Quantised:
    """A GGUF file, and the network that it holds.

    model: the registry's record of the published weights; scheme: how the file's weights are quantised; parameters:
    their exact number; reply: the greedy answer to QUESTION, in bfloat16 and in float32.
    """

    model: Model
    file: Published
    scheme: str
    parameters: int
    reply: str

    @property
    def name(self) -> str:
        """The name in params files: a folder, relative to the repository."""
        return f"{FOLDER}/{self.model.name}-{self.scheme}"

    @property
    def folder(self) -> Path:
        return store.ROOT / self.name

    @property
    def here(self) -> bool:
        """Whether the folder is complete."""
        return (self.folder / "card.json").is_file()

    @property
    def disk_gb(self) -> float:
        """GB of the folder: the weights in bfloat16."""
        return 2 * self.parameters / 1e9

    @property
    def memory_gb(self) -> float:
        """GB that the conversion needs: the file's largest tensors and the untied network, generously."""
        return 1.2 + 3.2 * self.parameters / 1e9


def bring(network: Quantised, source: Callable[[Published, Path], Path]) -> None:
    """Make the folder of a network from its GGUF file; nothing is left behind if that fails.

    source(file, folder): downloads the file into a folder and returns its path.  Raises AssetError for what `source`
    refuses, a full disk, too little memory, a missing package or an unexpected reply.
    """
    parent, needed = network.folder.parent, network.file.size * 1.1 + 2 * network.parameters
    check_space(parent, int(needed), network.file.elsewhere)
    check_memory(network)
    with working_folder(parent) as part, full_disk(parent, network.file.elsewhere):
        out = part / "network"
        out.mkdir()
        convert(network, source(network.file, part), out)
        shutil.rmtree(network.folder, ignore_errors=True)  # what is left of a folder without its card
        out.rename(network.folder)


def check_memory(network: Quantised) -> None:
    """Raises AssetError if this machine has less free memory than the conversion needs (Linux only)."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    except OSError:
        return
    available = int(lines["MemAvailable"].split()[0]) / 1e6
    if available < network.memory_gb:
        raise AssetError(f"{network.name} needs {network.memory_gb:.1f} GB of memory to be dequantised, and "
                         f"{available:.1f} GB are available: close other programs, or make it on another machine and "
                         f"copy the folder here")  # fmt: skip


def convert(network: Quantised, gguf: Path, out: Path) -> None:
    """Dequantise a GGUF file into the folder `out`: weights, tokenizer, README.md and, last, card.json."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        versions = {name: metadata.version(name) for name in ("gguf", "transformers")}
    except metadata.PackageNotFoundError as error:
        raise AssetError(f"{network.name} cannot be dequantised: the package {error.name} is not installed: "
                         f"{INSTALL}") from None  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.model_max_length = network.model.context
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    tie(model)
    parameters = sum(p.numel() for p in model.parameters())
    if parameters != network.parameters:
        raise AssetError(f"{gguf.name} has {parameters:,} parameters instead of {network.parameters:,}")
    reply = answer(model, tokenizer)
    if reply != network.reply:
        raise AssetError(f"{network.name} was dequantised and answers {QUESTION!r} with {reply[:80]!r} instead of "
                         f"{network.reply!r}: gguf {versions['gguf']} or transformers {versions['transformers']} reads "
                         "the file differently; install the versions of constraints.txt and assets.txt")  # fmt: skip
    try:
        tokenizer.save_pretrained(out)
        model.save_pretrained(out)
    except SafetensorError as error:  # the library's own form of an OSError
        raise OSError(None, f"{error}") from error
    names = {"scheme": network.scheme, "hub": network.model.hub, "file": network.file, "reply": reply, **versions}
    (out / "README.md").write_text(CARD.format(question=QUESTION, **names))
    digests = {}
    for path in sorted(out.iterdir()):
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    card = {"name": network.name, "source": f"{network.file.hub} @ {network.file.revision}: {network.file.name}",
            "source_sha256": network.file.sha256, "versions": versions, "parameters": parameters, "reply": reply,
            "sha256": digests}  # fmt: skip
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def tie(model) -> None:
    """Make the input and output embeddings one tensor again: the output's, which the file has with more bits."""
    model.get_input_embeddings().weight = model.get_output_embeddings().weight
    model.config.tie_word_embeddings = True
    model.tie_weights()


def answer(model, tokenizer) -> str:
    """A network's greedy reply to QUESTION."""
    chat = [{"role": "user", "content": QUESTION}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    tokens = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    return tokenizer.decode(tokens, skip_special_tokens=True).strip()


CARD = """# {hub}, {scheme}, dequantised

The file {file.name} of {file.hub} ({file.publisher}, {file.licence}), SHA-256
`{file.sha256}`, dequantised by gguf {gguf} and
transformers {transformers} and saved in bfloat16 with tied embeddings.  Its weights have about 4 bits: its answers
differ a little from those of {hub}.
Asked "{question}", it answers "{reply}".

Made by AgentArk (`agentark/models/quantised.py`); delete this folder and run `agentark assets` to make it again.
"""
