"""The one place that loads a dataset of the Hugging Face Hub, at a pinned commit.

A folder `owner/name` below the working directory, with the data files and the card of the repository, takes its place: so a machine
without network, and the tests, go the same way through `datasets`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

from .problem import bucket

# The commit of each dataset's repository.  No commit is from memory: each was found in several unrelated public projects that pin the
# same repository to it (November 2026); this machine reaches no hub, so none was loaded here.  `pytest -m hub` loads a row of each.
REVISIONS = {
    "openai/gsm8k": "740312add88f781978c0658806c59bc2815b9866",
    "EleutherAI/hendrycks_math": "21a5633873b6a120296cce3e2df9d5550074f4a3",
    "HuggingFaceH4/MATH-500": "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    "meta-math/MetaMathQA": "aa4f34d3d2d3231299b5b03d9b3e5a20da45aa18",
    "openlifescienceai/medmcqa": "91c6572c454088bf71b679ad90aa8dffcd0d5868",
    "hotpotqa/hotpot_qa": "1908d6afbbead072334abe2965f91bd2709910ab",
    "truthfulqa/truthful_qa": "741b8276f2d1982aa3d5b832d3ee81ed3b896490",
    # Its main branch is a loading script, which `datasets` refuses since 4.0: this commit is of the hub's own Parquet conversion.
    "allenai/qasper": "06806e4608976fc2fac0a090ac425d5b2b29caf4",
    # A cleaned copy (the authors' repository is not on the hub); the commit is from the hub's own page, not checked against the hub.
    "pszemraj/qmsum-cleaned": "ae840084ddaf4a206656a5e511e4098ae4c27608",
}


class HubError(RuntimeError):
    """A dataset that cannot be had: the message says which, why and what to do."""


def load(repo: str, split: str, config: str | None = None, streaming: bool = False):
    """A split of a dataset at its pinned revision.

    Returns a `datasets.Dataset`, or an iterator over rows where `streaming`: for a set of which few rows are used.  Raises HubError (with
    `streaming` also during iteration) where there is no network and no copy in the cache, and where the repository, its revision, config or
    split is gated or missing.
    """
    if repo not in REVISIONS:
        raise HubError(
            f"no revision is known of the dataset {repo!r}: add its commit to REVISIONS in agentark/tasks/hub.py"
        )
    import datasets

    datasets.disable_progress_bars()
    try:
        data = datasets.load_dataset(repo, config, split=split, revision=REVISIONS[repo], streaming=streaming)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise HubError(_sentence(repo, split, config, error)) from error
    return _rows(data, repo, split, config) if streaming else data


def _rows(data, repo: str, split: str, config: str | None) -> Iterator[dict]:
    """The rows of a stream, whose files are fetched only now."""
    try:
        yield from data
    except OSError as error:
        raise HubError(_sentence(repo, split, config, error)) from error


def source(repo: str) -> str:
    """Where a dataset comes from, for Task.source: repository and revision."""
    return f"https://huggingface.co/datasets/{repo} @ {REVISIONS[repo]}"


def _sentence(repo: str, split: str, config: str | None, error: Exception) -> str:
    """One sentence for a failed load: what and why, and what to do."""
    said = " ".join(str(error).split())
    page = f"https://huggingface.co/datasets/{repo}"
    what = f"the dataset {repo}"
    if "gated" in said:
        return f"{what} is gated: ask for access at {page}, then run `hf auth login` (or set HF_TOKEN) and start again"
    if "Revision" in said:
        return f"{what} has no revision {REVISIONS[repo]} any more: look at {page}/commits/main and mend REVISIONS in agentark/tasks/hub.py"
    if "exist on the Hub" in said:
        return f"{what} is not on the Hugging Face Hub, or is private: look at {page}, and run `hf auth login` where it is private"
    if isinstance(error, (ConnectionError, TimeoutError)) or "reach" in said or "offline" in said.lower():
        offline = (
            " (HF_HUB_OFFLINE is set)"
            if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE")
            else ""
        )
        return (
            f"{what} is not in the cache and the Hugging Face Hub cannot be reached{offline}: connect once, or put a copy of the repository "
            f"into the folder {repo} of the working directory"
        )
    if "Unknown split" in said or "BuilderConfig" in said:
        return f"{what} has no split {split!r} with the config {config!r}: {said[:200]}"
    return f"{what} cannot be loaded ({type(error).__name__}: {said[:200]}); see {page}"


def ordered(rows: Iterable[dict], key: Callable[[dict], str], name: str) -> list[dict]:
    """Rows in a fixed shuffled order, by the hash of `name` with the key: its first n are a random subset that is always the same."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{name} {key(row)}".encode()).digest())


def side(question: str) -> str:
    """ "train" or "dev": where a question of a dataset's own train split belongs (nine tenths are train).

    It hangs on the words of the question alone, not on the dataset: a rewritten question (MetaMathQA) follows its original (GSM8K, MATH),
    so that no dev question comes back in another training set.
    """
    return bucket("hub " + " ".join(question.split()).casefold(), (90, 10, 0))


def first(found: list, n: int, name: str, split: str) -> list:
    """The first n of a split's problems; ValueError, with how many there are, where they are fewer."""
    if len(found) < n:
        raise ValueError(f"{name} has {len(found)} {split} problems, {n} were asked for: lower `sizes.{split}`")
    return found[:n]
