"""Which network a name means, and how it is loaded.

- `zoo/NAME`: a network of the mini zoo, shipped with the package;
- a folder: a checkpoint or a LoRA adapter that a stage wrote;
- anything else: a repository of the Hugging Face Hub.
"""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from pathlib import Path

ZOO = Path(__file__).parent / "zoo"


class ModelError(RuntimeError):
    """A network that cannot be had: the message says which, why and what to do."""


def zoo_names() -> list[str]:
    """The networks that the package carries, as `zoo/NAME`."""
    return sorted(f"zoo/{file.parent.name}" for file in ZOO.glob("*/config.json"))


def slug(name: str) -> str:
    """A network's or a task file's name as a part of a file name."""
    return Path(name).name


def check_name(name: str) -> None:
    """ModelError where `name` cannot be a network: an unknown zoo name, or neither a folder nor `owner/repository`."""
    if name.startswith("zoo/"):
        if name not in zoo_names():
            near = get_close_matches(name, zoo_names(), n=1)
            raise ModelError(f"no network {name!r} in the zoo; there are {', '.join(zoo_names())}" + (f"; did you mean {near[0]!r}?" if near else ""))
    elif not name or (not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/")))):
        near = get_close_matches(name, zoo_names(), n=1, cutoff=0.3)
        raise ModelError(f"{name!r} is no network: neither a folder, nor zoo/NAME, nor owner/repository on the hub" + (f"; did you mean {near[0]!r}?" if near else ""))


def resolve(name: str) -> str:
    """The folder or hub id behind a name."""
    check_name(name)
    return str(ZOO / name.removeprefix("zoo/")) if name.startswith("zoo/") else name


def revision(name: str) -> str:
    """What stands for a network's exact weights in a manifest: a hash of local weights, else the name itself."""
    folder = Path(resolve(name))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return name
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.read_bytes())
    return sha.hexdigest()[:12]


def check_weights(name: str) -> None:
    """ModelError where a zoo network's files are not those of its card (sha256)."""
    card = Path(resolve(name)) / "card.json"
    if not name.startswith("zoo/") or not card.exists():
        return
    for file, wanted in json.loads(card.read_text())["sha256"].items():
        path = card.parent / file
        if not path.exists():
            raise ModelError(f"{name}: {path} is missing; reinstall the package, or make it anew: python -m agentark.zoo.train params/zoo.yaml {card.parent.name}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise ModelError(f"{name}: {path} is damaged (its sha256 is not that of {card.name}); restore it: git checkout -- {path}")


def auto_class(config):
    """The `transformers` auto class that generates text with a config: vision-language networks (Qwen2.5-VL) have one of their own."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModelForImageTextToText


def cards() -> dict[str, dict]:
    """The cards of the zoo's networks, largest first: how each was made and what it can do."""
    found = [json.loads(file.read_text()) for file in ZOO.glob("*/card.json")]
    return {f"zoo/{card['name']}": card for card in sorted(found, key=lambda card: -card["parameters"])}


def load_tokenizer(name: str):
    """The tokenizer of a network, padding on the left.  Raises ModelError where it has no chat template."""
    from transformers import AutoTokenizer

    where = resolve(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of {name} cannot be loaded from {where}: {str(error).splitlines()[0]}") from error
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template: it cannot take part in a conversation; choose its instruct version")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load(name: str, dtype: str = "float32"):
    """A network in evaluation mode and its tokenizer.

    Adapters are merged into their base.  Raises ModelError where files are missing, damaged or of another architecture.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = resolve(name)
    check_weights(name)
    tokenizer = load_tokenizer(name)
    try:
        if (Path(where) / "adapter_config.json").exists():
            from peft import PeftModel

            base = json.loads((Path(where) / "adapter_config.json").read_text())["base_model_name_or_path"] or ""
            model = PeftModel.from_pretrained(load(base, dtype)[0], where).merge_and_unload()
        else:
            model, report = auto_class(AutoConfig.from_pretrained(where)).from_pretrained(
                where, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True)
            wrong = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"]) + sorted(k[0] for k in report["mismatched_keys"])
            if wrong:
                raise ModelError(f"the weights in {where} are of another architecture than its config.json: {len(wrong)} tensors do not fit, first {wrong[0]!r}")
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{name} cannot be loaded from {where}: {str(error).splitlines()[0]}") from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise ModelError(f"{name}: the tokenizer has {len(tokenizer)} tokens, the network {model.get_input_embeddings().num_embeddings}")
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer
