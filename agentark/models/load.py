"""How the network that a name means is downloaded, checked and loaded; includes the functions of `names`.

torch and transformers are imported by the functions that need them, so that importing this module is fast.
"""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path

from . import registry, smollm2
from .names import ModelError, check_name, hub_commit, on_hub, resolve, template_options, train_command

from .names import cards, display_name, revision, slug, zoo_names  # noqa: F401  # isort: skip

TEXT_FILES = ("*.json", "*.jinja", "*.model", "*.txt")  # config, tokenizer and chat template


def folder(name: str, weights: bool = True) -> str:
    """The local folder of a network's files.

    Files of the hub are downloaded to its cache first, weights as safetensors only; without `weights`, only config,
    tokenizer and chat template.  Raises ModelError if they are not available.
    """
    path = resolve(name)
    if not on_hub(name):
        return path
    import huggingface_hub

    hub, commit, record = path, hub_commit(path), registry.find(name)
    patterns = [*TEXT_FILES, *(["*.safetensors"] if weights else [])]
    try:
        path = huggingface_hub.snapshot_download(hub, revision=commit, allow_patterns=patterns)
    except OSError as error:
        raise ModelError(_download_advice(name, hub, commit, error)) from error
    if weights and not list(Path(path).glob("*.safetensors")):
        never = "it was never published in that format, or its download is not complete; no other is loaded"
        cause = "its download is not complete; connect and try again" if record else never
        raise ModelError(f"{hub} has no safetensors in {path}: {cause}")
    return path


def _download_advice(name: str, hub: str, commit: str | None, error: OSError) -> str:
    """Why a download failed, and what to do."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (f"{hub} is gated: accept its licence at https://huggingface.co/{hub}, then log in (hf auth login) or "
                "set HF_TOKEN")  # fmt: skip
    if isinstance(error, errors.RevisionNotFoundError):
        return (f"{hub} no longer has the commit {commit} on the hub: see https://huggingface.co/{hub}/commits/main "
                "and correct agentark/models/registry.py")  # fmt: skip
    if isinstance(error, errors.RepositoryNotFoundError):  # also for a private one, if you have no access to it
        similar = [other for other in registry.similar_names(hub) if other != name]
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        return (f"there is no repository {hub} on the hub, or it is private and you are not logged in (hf auth "
                f"login){hint}")  # fmt: skip
    if isinstance(error, errors.HfHubHTTPError):
        return (f"{hub} cannot be downloaded: the hub answers: {first_line(error)}; try again, the files that are "
                "complete are kept")  # fmt: skip
    if getattr(error, "errno", None) == errno.ENOSPC:
        return f"{hub} does not fit on the disk: set HF_HOME to a larger one"
    return (f"{hub} is not in the cache of the hub's files and the hub cannot be reached: connect (and unset "
            "HF_HUB_OFFLINE), or download it on a machine with a connection and copy the cache here: hf download "
            f"{hub}{f' --revision {commit}' if commit else ''}")  # fmt: skip


def check_weights(name: str) -> None:
    """Raises ModelError if files of the zoo, or of SmolLM2's cache, differ from those of their card (sha256).

    Also for a network of the zoo that is half trained or of another version of the tasks (`names.check_name`).
    """
    card = Path(resolve(name)) / "card.json"
    if (not name.startswith("zoo/") and name != smollm2.NAME) or not card.exists():
        return
    for file, sha256 in json.loads(card.read_text())["sha256"].items():
        path = card.parent / file
        if name == smollm2.NAME:
            if_missing = if_damaged = f"delete {card.parent}, and it is converted again"
        else:
            if_missing = f"reinstall the package, or train the network again: {train_command(name)}"
            if_damaged = f"restore it: git checkout -- {path}"
        if not path.exists():
            raise ModelError(f"{name}: {path} is missing; {if_missing}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise ModelError(f"{name}: {path} is damaged (its sha256 is not that of {card.name}); {if_damaged}")


def load_tokenizer(name: str):
    """The tokenizer of a network, padding on the left.

    The registry's options are written into its chat template, so that engines, training and the resulting checkpoints
    use the same one.  Raises ModelError if there is no chat template, or if it cannot render a question and its answer.
    """
    from transformers import AutoTokenizer

    path = folder(name, weights=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of {name} cannot be loaded from {path}: {first_line(error)}") from error
    if tokenizer.chat_template is None:
        raise ModelError(f"{name} has no chat template: it cannot take part in a conversation; choose its instruct "
                         "version")  # fmt: skip
    options = "".join(f"{{%- set {key} = {json.dumps(value)} %}}" for key, value in template_options(name).items())
    tokenizer.chat_template = options + tokenizer.chat_template
    check_template(name, tokenizer)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def context(name: str) -> int:
    """The number of tokens that a network can read and write together, of an adapter that of its base."""
    from transformers import AutoConfig

    path = folder(name, weights=False)
    if (adapter := Path(path) / "adapter_config.json").exists() and not (Path(path) / "config.json").exists():
        return context(json.loads(adapter.read_text())["base_model_name_or_path"] or "")
    try:
        return AutoConfig.from_pretrained(path).get_text_config().max_position_embeddings
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"the context of {name} cannot be read from {path}: {first_line(error)}") from error


def check_template(name: str, tokenizer) -> None:
    """Raises ModelError if a chat template cannot render or loses a question, or changes it once it is answered."""
    from jinja2 import TemplateError

    chat = [{"role": "user", "content": "What is 2 + 3?"}, {"role": "assistant", "content": "Answer: 5"}]
    try:
        prompt = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, tokenize=False)
        answered = tokenizer.apply_chat_template(chat, tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"the chat template of {name} cannot render a question and its answer ({first_line(error)}): "
                         "choose its instruct version, or correct its chat_template.jinja") from error  # fmt: skip
    has_answer = answered.startswith(prompt) and chat[1]["content"] in answered[len(prompt) :]
    if chat[0]["content"] not in prompt or not has_answer:
        raise ModelError(f"the chat template of {name} is of an unknown kind: an answered question does not start like "
                         "an open one and continue with the answer; correct its chat_template.jinja")  # fmt: skip


def auto_class(config):
    """The `transformers` auto class that generates text with a config: vision-language networks have their own."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForCausalLM if type(config) in AutoModelForCausalLM._model_mapping else AutoModelForImageTextToText


def load(name: str, dtype: str = "float32"):
    """(network in evaluation mode, tokenizer); `dtype` is float32, bfloat16 or auto (`params.best_dtype`).

    Adapters are merged into their base.  Raises ModelError if files are not available, damaged or of another
    architecture, and for a model that needs code of its repository.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig
    from transformers.utils import logging

    from agentark import params

    logging.disable_progress_bar()
    record = registry.find(name)
    if record and record.remote_code:
        raise ModelError(f"the architecture of {record.hub} is code of its repository, which is never run here: serve "
                         "it with vLLM elsewhere and set engine.name: openai")  # fmt: skip
    dtype = params.best_dtype() if dtype == "auto" else dtype
    check_name(name)
    check_weights(name)
    tokenizer = load_tokenizer(name)
    path = folder(name)
    try:
        if (adapter := Path(path) / "adapter_config.json").exists():
            from peft import PeftModel

            base = json.loads(adapter.read_text())["base_model_name_or_path"] or ""
            model = PeftModel.from_pretrained(load(base, dtype)[0], path).merge_and_unload()
        else:
            model, report = auto_class(AutoConfig.from_pretrained(path)).from_pretrained(
                path, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True
            )
            mismatched = [key for key, *_ in report["mismatched_keys"]]
            misfits = sorted(report["missing_keys"]) + sorted(report["unexpected_keys"]) + sorted(mismatched)
            if misfits:
                raise ModelError(f"the weights in {path} are of another architecture than its config.json: "
                                 f"{len(misfits)} tensors do not fit, the first is {misfits[0]!r}")  # fmt: skip
    except ModelError:
        raise
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{name} cannot be loaded from {path}: {first_line(error)}") from error
    tokens, embeddings = len(tokenizer), model.get_input_embeddings().num_embeddings
    if tokens > embeddings:
        raise ModelError(f"{name}: the tokenizer has {tokens} tokens, the network {embeddings}")
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its type if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
