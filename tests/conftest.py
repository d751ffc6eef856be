"""Before anything imports torch: one thread a process (the pytest workers share the cores), and no network."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch reads both when it is imported
os.environ.setdefault("MKL_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # HF_HUB_OFFLINE=0 pytest -m hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Folders of tiny random networks, by architecture.  Read only."""
    import tiny

    return tiny.save_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture(autouse=True)
def no_packages(monkeypatch, tmp_path_factory):
    """No package of data is kept here, whatever `agentark assets` has brought to this machine."""
    from agentark.packages import data

    monkeypatch.setattr(data, "folder", lambda: tmp_path_factory.getbasetemp() / "no packages")
