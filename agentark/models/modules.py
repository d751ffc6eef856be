"""Which modules of a network can have low-rank adapters, known from its config, without its weights."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache

from . import registry
from .load import auto_class, folder
from .names import ModelError

ALL = "all-linear"  # PEFT's word


@cache
def adaptable(name: str) -> tuple[str, ...]:
    """Return the full names of a network's linear and embedding modules.  Raises ModelError without its config.

    A network of the registry is known by its architecture, so that nothing is downloaded.
    """
    import torch
    from transformers import AutoConfig

    record = registry.find(name)
    if record and record.source == "hub":
        config = AutoConfig.for_model(record.architecture)
    else:
        path = folder(name, weights=False)
        try:
            config = AutoConfig.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ModelError(f"the config of {name} cannot be read from {path}: {error}") from None
    with torch.device("meta"):
        network = auto_class(config).from_config(config)
    kinds = (torch.nn.Linear, torch.nn.Embedding)
    return tuple(name for name, module in network.named_modules() if isinstance(module, kinds))


def check_targets(name: str, targets: str | list[str]) -> None:
    """Raises ModelError if PEFT would not find one of the target modules in a network.

    targets: "all-linear", a regular expression of full names, or a list of names or ends of names.
    """
    if isinstance(targets, str) and targets.lower() == ALL:
        return
    modules = adaptable(name)
    ends = sorted({module.rpartition(".")[2] for module in modules})
    if isinstance(targets, str):
        if not any(re.fullmatch(targets, module) for module in modules):
            advice = f"write {ALL}, or a list of some of {', '.join(ends)}"
            raise ModelError(f"target_modules, as a regular expression, fits no module of {name}: {advice}")
        return
    for target in targets:
        if not any(f".{module}".endswith(f".{target}") for module in modules):
            near = get_close_matches(target, ends, n=1)
            hint = f"did you mean {near[0]!r}? There are" if near else "there are"
            raise ModelError(f"target_modules: {name} has no module {target[:60]!r}; {hint} {', '.join(ends)}")
