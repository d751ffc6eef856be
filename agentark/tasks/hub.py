"""Loading datasets of the Hugging Face Hub at a pinned commit, and choosing and ordering their rows.

A folder `owner/name` in the working directory, with the data files and the card of the repository, replaces the
download, so that machines without network and the tests use the same code path through `datasets`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from .problem import bucket

# The commit of each dataset's repository.  Each is pinned by several unrelated public projects (November 2026); the
# machine on which this was written cannot reach the hub and loaded none.  `pytest -m hub` loads a row of each.
REVISIONS = {
    "openai/gsm8k": "740312add88f781978c0658806c59bc2815b9866",
    "EleutherAI/hendrycks_math": "21a5633873b6a120296cce3e2df9d5550074f4a3",
    "HuggingFaceH4/MATH-500": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    "meta-math/MetaMathQA": "aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18",
    "openlifescienceai/medmcqa": "91c6572c454088bf71b679ad90aa8dffcd0d5868",
    "hotpotqa/hotpot_qa": "1908d6afbbead072334abe2965f91bd2709910ab",
    "truthfulqa/truthful_qa": "741b8276f2d1982aa3d5b832d3ee81ed3b896490",
    # A commit of the hub's Parquet conversion: the main branch is a loading script, which `datasets` refuses since 4.0.
    "allenai/qasper": "06806e4608976fc2fac0a090ac425d5b2b29caf4",
    # A cleaned copy (the authors' repository is not on the hub); its commit is from the hub's page, never loaded.
    "pszemraj/qmsum-cleaned": "ae840084ddaf4a206656a5e511e4098ae4c27608",
}


class HubError(RuntimeError):
    """A dataset that cannot be loaded: the message says which, why and what to do."""


def load(repo: str, split: str, config: str | None = None, streaming: bool = False):
    """A split of a dataset at its pinned revision.

    Returns a `datasets.Dataset`, or with `streaming` an iterator over its rows, for sets of which few rows are used.
    Raises HubError (with `streaming` also during iteration) if there is neither a network nor a copy in the cache, or
    if the repository is gated, or it, its revision, config or split does not exist.
    """
    if repo not in REVISIONS:
        raise HubError(f"the dataset {repo!r} has no pinned revision: add its commit to REVISIONS in "
                       "agentark/tasks/hub.py")  # fmt: skip
    import datasets

    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(repo, config, split=split, revision=REVISIONS[repo], streaming=streaming)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise HubError(_explanation(repo, split, config, error)) from error
    return _rows(data, repo, split, config) if streaming else data


def _rows(data, repo: str, split: str, config: str | None) -> Iterator[dict]:
    """The rows of a stream; its files are fetched during iteration, and their errors become HubError."""
    try:
        yield from data
    except OSError as error:
        raise HubError(_explanation(repo, split, config, error)) from error


def source(repo: str) -> str:
    """The address and the revision of a dataset, for Task.source."""
    return f"https://huggingface.co/datasets/{repo} @ {REVISIONS[repo]}"


def _explanation(repo: str, split: str, config: str | None, error: Exception) -> str:
    """One sentence on a failed load: what failed, why, and what to do."""
    message = " ".join(str(error).split())
    page = f"https://huggingface.co/datasets/{repo}"
    dataset = f"the dataset {repo}"
    if "gated" in message:
        return f"{dataset} is gated: ask for access at {page}, then run `hf auth login` (or set HF_TOKEN) and try again"
    if "Revision" in message:
        return (f"{dataset} no longer has the revision {REVISIONS[repo]}: choose one at {page}/commits/main and "
                "correct REVISIONS in agentark/tasks/hub.py")  # fmt: skip
    if "exist on the Hub" in message:
        return (f"{dataset} is not on the Hugging Face Hub, or is private: check {page}, and run `hf auth login` if it "
                "is private")  # fmt: skip
    if isinstance(error, (ConnectionError, TimeoutError)) or "reach" in message or "offline" in message.lower():
        is_offline = os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
        offline = " (HF_HUB_OFFLINE is set)" if is_offline else ""
        return (f"{dataset} is not in the cache and the Hugging Face Hub cannot be reached{offline}: connect once, or "
                f"put a copy of the repository into the folder {repo} of the working directory")  # fmt: skip
    if "Unknown split" in message or "BuilderConfig" in message:
        return f"{dataset} has no split {split!r} with the config {config!r}: {message[:200]}"
    return f"{dataset} cannot be loaded ({type(error).__name__}: {message[:200]}); see {page}"


def ordered(rows: Iterable[dict], key: Callable[[dict], str], name: str) -> list[dict]:
    """Rows in a fixed shuffled order, by a hash of `name` and key: the first n are always the same random subset."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{name} {key(row)}".encode()).digest())


def side(question: str) -> str:
    """The split, "train" (nine tenths) or "dev", of a question from a dataset's own train split.

    It depends on the words of the question only, not on the dataset: a rewritten question (MetaMathQA) follows its
    original (GSM8K, MATH), so that no dev question is in the training set of another benchmark.
    """
    return bucket("hub " + " ".join(question.split()).casefold(), (90, 10, 0))


def first(items: list, n: int, name: str, split: str) -> list:
    """The first n problems (or rows) of a split; ValueError, with their number, if there are fewer."""
    if len(items) < n:
        raise ValueError(f"{name} has {len(items)} {split} problems, but {n} were requested: lower `sizes.{split}`")
    return items[:n]
