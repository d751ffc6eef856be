"""Storage of results: a journal while a stage runs, and a Parquet table with a manifest once it is done."""

from .digests import canonical, chunk_seed, differences, digest
from .files import ROOT, StoreError
from .folders import folder, last_checkpoint
from .journal import Journal
from .manifest import PACKAGES, identity, is_done, machine, manifest_path, peak_memory_mb, write_manifest
from .tables import finish, write_table

__all__ = [
    "PACKAGES", "ROOT", "Journal", "StoreError", "canonical", "chunk_seed", "differences", "digest", "finish", "folder",
    "identity", "is_done", "last_checkpoint", "machine", "manifest_path", "peak_memory_mb", "write_manifest",
    "write_table",
]  # fmt: skip
