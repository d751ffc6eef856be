"""Manifests: beside each finished artifact, a record of what it was made from, with which versions, on which machine.

An artifact and its manifest are written one after the other, and a run can be killed in between. Therefore the manifest
of a file holds the SHA-256 of the file's bytes, and `folder` removes a folder's manifest before it replaces the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .digests import canonical, differences, digest
from .files import StoreError, replace

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "tokenizers", "numpy", "pandas", "pyarrow")


def manifest_path(artifact: Path) -> Path:
    """Return the path of the manifest of an artifact (a file or a folder)."""
    return artifact.with_name(artifact.name + ".manifest.json")


def is_done(artifact: Path, about: dict[str, Any]) -> bool:
    """Return whether the artifact exists, was made from the same `about`, and, if it is a file, still has its bytes.

    A finished artifact that does not match is reported on stderr, with the reason, because it will be recomputed.  If
    it matches, what its run could not remove any more because it was killed is removed: its journal and work folder,
    which would else refuse a later run with other parameters.
    """
    path = manifest_path(artifact)
    if not (artifact.exists() and path.exists()):
        return False
    manifest = json.loads(path.read_text())
    changed = differences(manifest["about"], json.loads(canonical(about)))
    if changed:
        reason = f"was made from other parameters ({'; '.join(changed[:6])})"
    elif artifact.is_dir() or manifest.get("sha256") == _sha256(artifact):
        is_folder = artifact.is_dir()
        journal = artifact.with_name(f"{artifact.name}.journal") if is_folder else artifact.with_suffix(".journal")
        journal.unlink(missing_ok=True)
        shutil.rmtree(artifact.with_name(f"{artifact.name}.work"), ignore_errors=True)
        return True
    elif "sha256" in manifest:
        reason = "is not the file that its manifest describes (its SHA-256 differs)"
    else:
        reason = "has a manifest of an older version, without the SHA-256 of the file"
    print(f"{artifact} {reason}; it is recomputed", file=sys.stderr)
    return False


def identity(artifact: Path) -> str:
    """Return twelve hex digits that identify a finished artifact in the manifests of the artifacts made from it.

    For a file they come from its bytes, so that recomputing the same rows makes nothing stale; for a folder they come
    from the `about` of its manifest. Raises StoreError if the artifact or its manifest is missing.
    """
    path = manifest_path(artifact)
    if not (artifact.exists() and path.exists()):
        missing = "has no manifest beside it" if artifact.exists() else "does not exist"
        raise StoreError(f"{artifact} {missing}: run the stage that makes it")
    return digest(json.loads(path.read_text())["about"]) if artifact.is_dir() else _sha256(artifact)[:12]


def write_manifest(artifact: Path, about: dict[str, Any], started: float, **more: Any) -> None:
    """Write the manifest of a finished artifact.

    about: everything that the artifact depends on. started: the time.time() at which its making began. more: further
    entries, such as counts. Raises StoreError if the disk does not accept the manifest.
    """
    manifest = {"about": json.loads(canonical(about)), **({"sha256": _sha256(artifact)} if artifact.is_file() else {}),
                "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "seconds": round(time.time() - started, 1),
                "peak_memory_mb": peak_memory_mb(), "versions": {package: _version(package) for package in PACKAGES},
                "python": platform.python_version(), "machine": machine(), **more}  # fmt: skip
    replace(manifest_path(artifact), json.dumps(manifest, indent=1).encode() + b"\n")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def peak_memory_mb() -> int:
    """Return the largest resident size that this process has had, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)


def machine() -> str:
    """Describe this machine in words: processor, cores, memory, accelerator."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    torch = sys.modules.get("torch")
    gpu = f", {torch.cuda.get_device_name()}" if torch and torch.cuda.is_available() else ", no GPU"
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB{gpu}"
