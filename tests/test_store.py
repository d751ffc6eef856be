"""Journals, tables and manifests: finished work survives kills, full disks and damaged bytes, and nothing is mixed."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from agentark import store
from agentark.store import Journal, StoreError

ABOUT = {"stage": "debate", "n": 3, "debate": {"agents": 5, "layout": "shared"}}
OTHER = {**ABOUT, "n": 4}
CHUNKS = {
    "round 1 0": [{"text": 'ä\n"x"', "n": 1, "answer": None}],
    "round 1 1": [],
    "round 2 0": [{"text": "b", "n": 2.5}],
}


def filled(path: Path) -> bytes:
    journal = Journal(path, ABOUT)
    for chunk, rows in CHUNKS.items():
        journal.add(chunk, rows)
    return path.read_bytes()


def test_roundtrip(tmp_path, capsys):
    path = tmp_path / "deep" / "x.journal"
    data = filled(path)
    again = Journal(path, ABOUT)
    assert again.chunks == CHUNKS and again.dropped == 0
    assert path.read_bytes() == data and capsys.readouterr().err == ""


def test_added_rows_equal_those_that_a_later_run_reads(tmp_path):
    journal = Journal(tmp_path / "x.journal", ABOUT)
    journal.add("0", [{"path": Path("a"), "pair": (1, 2)}])
    assert journal.chunks == Journal(tmp_path / "x.journal", ABOUT).chunks == {"0": [{"path": "a", "pair": [1, 2]}]}


def test_a_chunk_that_is_added_again_counts_once(tmp_path):
    journal = Journal(tmp_path / "x.journal", ABOUT)
    journal.add("0", [{"n": 1}])
    journal.add("0", [{"n": 2}])
    assert Journal(tmp_path / "x.journal", ABOUT).chunks == {"0": [{"n": 2}]}


def test_truncated_anywhere_in_the_last_line(tmp_path, capsys):
    path = tmp_path / "x.journal"
    data = filled(path)
    start = data[:-1].rindex(b"\n") + 1
    *earlier, last = CHUNKS
    for length in range(start, len(data)):
        path.write_bytes(data[:length])
        journal = Journal(path, ABOUT)
        whole = length == len(data) - 1  # only the newline is missing
        assert list(journal.chunks) == [*earlier, last][: len(CHUNKS) if whole else -1], length
        assert journal.dropped == (0 if whole or length == start else 1)
        assert (str(path) in capsys.readouterr().err) == (length != start)
        assert path.read_bytes() == (data if whole else data[:start])
        journal.add(last, CHUNKS[last])
        assert Journal(path, ABOUT).chunks == CHUNKS and capsys.readouterr().err == ""
    assert [p.name for p in tmp_path.iterdir()] == ["x.journal"]


def test_a_damaged_byte_drops_only_its_chunk(tmp_path, capsys):
    path = tmp_path / "x.journal"
    data = filled(path)
    lines = data.splitlines(keepends=True)
    start = len(lines[0]) + len(lines[1])
    for position in range(start, start + len(lines[2]) - 1, 2):
        damaged = bytearray(data)
        damaged[position] = ord("~")
        path.write_bytes(damaged)
        journal = Journal(path, ABOUT)
        assert list(journal.chunks) == ["round 1 0", "round 2 0"] and journal.dropped == 1
        assert "1 damaged" in capsys.readouterr().err
        assert path.read_bytes() == lines[0] + lines[1] + lines[3]


def test_killed_while_the_first_line_was_written(tmp_path):
    path = tmp_path / "x.journal"
    Journal(path, ABOUT)
    head = path.read_bytes()
    for length in range(0, len(head) - 1, 5):
        path.write_bytes(head[:length])
        assert Journal(path, ABOUT).chunks == {} and path.read_bytes() == head
    path.write_bytes(head[:-1])
    assert Journal(path, ABOUT).chunks == {} and path.read_bytes() == head


def test_other_parameters(tmp_path):
    path = tmp_path / "x.journal"
    data = filled(path)
    with pytest.raises(StoreError, match=r"debate.agents: was 5, now 3") as error:
        Journal(path, {**ABOUT, "debate": {"agents": 3, "layout": "shared"}})
    assert "layout" not in str(error.value) and "Delete it" in str(error.value)
    with pytest.raises(StoreError, match="seed: was None, now 1"):
        Journal(path, {**ABOUT, "seed": 1})
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "content", [b"problem,n\na,1\n", b"one line without an end", b'{"journal": 1, "about": {}}\n', b"\x00\xff\n\x00"]
)
def test_foreign_file(tmp_path, content):
    path = tmp_path / "x.journal"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not a journal"):
        Journal(path, ABOUT)
    assert path.read_bytes() == content


def test_damaged_first_line_of_a_filled_journal(tmp_path):
    path = tmp_path / "x.journal"
    data = filled(path)
    path.write_bytes(b"~" + data[1:])
    with pytest.raises(StoreError, match="first line"):
        Journal(path, ABOUT)


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_full_disk_at_fsync(tmp_path, monkeypatch):
    path = tmp_path / "x.journal"
    filled(path)
    journal = Journal(path, ABOUT)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match=r"No space left.*3 finished chunks.*make room"):
            journal.add("new", [{"n": 1}])
    assert "new" not in journal.chunks
    assert {k: v for k, v in Journal(path, ABOUT).chunks.items() if k != "new"} == CHUNKS


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_full_disk_at_write(tmp_path, monkeypatch):
    path = tmp_path / "x.journal"
    data = filled(path)
    journal = Journal(path, ABOUT)
    with monkeypatch.context() as patch:
        patch.setattr(
            "agentark.store.journal.open",
            lambda path, mode, **options: open("/dev/full", "wb", **options),
            raising=False,
        )
        with pytest.raises(StoreError, match="make room"):
            journal.add("new", [{"n": 1}])
    assert path.read_bytes() == data and Journal(path, ABOUT).chunks == CHUNKS


def test_full_disk_takes_half_a_line(tmp_path, monkeypatch, capsys):
    class HalfWriter:
        def __init__(self, *args, **options):
            self.file = open(*args, **options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, line):
            return self.file.write(line[: len(line) // 2])

    path = tmp_path / "x.journal"
    filled(path)
    journal = Journal(path, ABOUT)
    with monkeypatch.context() as patch:
        patch.setattr("agentark.store.journal.open", HalfWriter, raising=False)
        with pytest.raises(StoreError, match="make room"):
            journal.add("new", [{"n": 1}])
    again = Journal(path, ABOUT)
    assert again.chunks == CHUNKS and again.dropped == 1 and "1 damaged" in capsys.readouterr().err


def test_full_disk_at_the_start_and_at_a_repair(tmp_path, monkeypatch):
    path = tmp_path / "x.journal"
    truncated = filled(path)[:-3]
    path.write_bytes(truncated)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="make room"):
            Journal(path, ABOUT)
    assert path.read_bytes() == truncated
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(StoreError, match="make room"):
            Journal(tmp_path / "deep" / "y.journal", ABOUT)


LOOP = """
import sys
from pathlib import Path
from random import Random
from agentark import store
journal = store.Journal(Path(sys.argv[1]), {"n": 30})
print("ready", flush=True)
for n in range(30):
    if str(n) not in journal.chunks:
        rng = Random(store.chunk_seed(0, "x", 1, n))
        journal.add(str(n), [{"row": i, "text": "%x" % rng.getrandbits(4000)} for i in range(60)])
"""


def test_sigkill_at_any_time_ends_with_the_same_rows(tmp_path):
    def start(path):
        return subprocess.Popen(
            [sys.executable, "-c", LOOP, str(path)],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    started = time.perf_counter()
    whole = start(tmp_path / "whole")
    whole.stdout.readline()
    loop = -time.perf_counter()
    whole.communicate(timeout=60)
    loop += time.perf_counter()
    assert whole.returncode == 0, f"after {time.perf_counter() - started:.1f} s"
    rng, killed, path = random.Random(1), 0, tmp_path / "killed"
    for _ in range(6):
        run = start(path)
        run.stdout.readline()
        time.sleep(rng.random() * loop / 4)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=60)
        killed += run.returncode == -signal.SIGKILL
    assert killed >= 2
    last = start(path)
    _, err = last.communicate(timeout=60)
    assert last.returncode == 0, err.decode()
    assert Journal(path, {"n": 30}).chunks == Journal(tmp_path / "whole", {"n": 30}).chunks
    assert len(Journal(path, {"n": 30}).chunks) == 30


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_are_written_in_one_move(tmp_path, monkeypatch, suffix):
    path = tmp_path / "deep" / f"x{suffix}"
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    old, new = pd.DataFrame({"a": [1, 2], "b": ["x", "ä"]}), pd.DataFrame({"a": [3]})
    store.write_table(old, path)
    pd.testing.assert_frame_equal(read(path), old)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(StoreError, match="make room"):
            store.write_table(new, path)
    real = Path.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda self, data: (real(self, data[:3]), full()))
        with pytest.raises(StoreError, match="make room"):
            store.write_table(new, path)
    pd.testing.assert_frame_equal(read(path), old)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    store.write_table(new, path)
    pd.testing.assert_frame_equal(read(path), new)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_a_killed_run_could_not_remove_is_removed_when_its_result_is_found(tmp_path):
    """Otherwise the journal would refuse the next run with other parameters."""
    path, folder = tmp_path / "a.b.s0.parquet", tmp_path / "a.b.s0"
    store.finish(pd.DataFrame({"x": [1]}), path, ABOUT, 0.0)
    folder.mkdir()
    store.write_manifest(folder, ABOUT, 0.0)
    left = [path.with_suffix(".journal"), folder.with_name("a.b.s0.journal"), folder.with_name("a.b.s0.work") / "about"]
    left[2].parent.mkdir()
    for file in left:
        file.write_text("x")
    (tmp_path / "a.b.journal").write_text("of something else")
    assert not store.is_done(path, OTHER) and left[0].exists()
    assert store.is_done(path, ABOUT) and not left[0].exists()
    left[0].write_text("x")  # the folder's journal has the same name
    assert store.is_done(folder, ABOUT)
    assert not any(file.exists() for file in left) and (tmp_path / "a.b.journal").exists() and path.exists()


def test_finish_and_is_done(tmp_path, capsys):
    path = tmp_path / "x.parquet"
    assert not store.is_done(path, ABOUT)
    journal = Journal(path.with_suffix(".journal"), ABOUT)
    journal.add("0", [{"a": 1}])
    store.finish(pd.DataFrame({"a": [1]}), path, ABOUT, time.time() - 2, journal, truncated=7)
    assert store.is_done(path, ABOUT) and not journal.path.exists() and capsys.readouterr().err == ""
    assert store.is_done(path, json.loads(json.dumps(ABOUT)))
    assert not store.is_done(path, OTHER)
    assert "n: was 3, now 4" in capsys.readouterr().err
    manifest = json.loads(store.manifest_path(path).read_text())
    assert (
        manifest["about"] == ABOUT
        and manifest["rows"] == 1
        and manifest["repaired_lines"] == 0
        and manifest["truncated"] == 7
        and manifest["sha256"] == sha256(path)
    )
    assert manifest["versions"]["pandas"] == pd.__version__ and set(manifest["versions"]) == set(store.PACKAGES)
    assert 2 <= manifest["seconds"] < 60 and manifest["peak_memory_mb"] > 10
    assert (
        "cores" in manifest["machine"]
        and "GiB" in manifest["machine"]
        and manifest["python"]
        and manifest["made"].endswith("Z")
    )
    path.unlink()
    assert not store.is_done(path, ABOUT)


def test_without_a_manifest_it_is_not_done(tmp_path):
    store.write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.csv")
    assert not store.is_done(tmp_path / "x.csv", ABOUT)


# A run with other parameters that is killed between the rows and their manifest

KILLED = """
import os, signal, sys, time
from pathlib import Path
import pandas as pd
from agentark import store
from agentark.store import manifest, tables
def kill(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
path, about = Path(sys.argv[1]), {about!r}
{code}
"""
KILLED_TABLE = "tables.write_manifest = kill; store.finish(pd.DataFrame({'a': [2]}), path, about, time.time())"
KILLED_MANIFEST = "manifest.replace = kill; store.finish(pd.DataFrame({'a': [2]}), path, about, time.time())"
KILLED_FOLDER = """
with store.folder(path) as part:
    (part / "a").write_text("2")
{}
store.write_manifest(path, about, time.time())
"""


def killed(path: Path, code: str) -> None:
    """Run `code` with OTHER parameters in a process that kills itself."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(about=OTHER, code=code), str(path)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("code", [KILLED_TABLE, KILLED_MANIFEST])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_of_a_killed_run_are_not_accepted(tmp_path, capsys, suffix, code):
    path = tmp_path / f"x{suffix}"
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    store.finish(pd.DataFrame({"a": [1]}), path, ABOUT, time.time())
    assert store.is_done(path, ABOUT)
    killed(path, code)
    assert read(path).a.tolist() == [2]  # the rows of the killed run stand beside the manifest of the old one
    assert not store.is_done(path, ABOUT)
    assert capsys.readouterr().err.count("\n") == 1
    assert not store.is_done(path, OTHER)
    store.finish(pd.DataFrame({"a": [1]}), path, ABOUT, time.time())
    assert store.is_done(path, ABOUT)


def test_a_changed_file_and_a_manifest_without_its_digest(tmp_path, capsys):
    path = tmp_path / "x.csv"
    store.finish(pd.DataFrame({"a": [1]}), path, ABOUT, time.time())
    path.write_text("a\n2\n")
    assert not store.is_done(path, ABOUT) and "its SHA-256 differs" in capsys.readouterr().err
    path.write_text("a\n1\n")
    assert store.is_done(path, ABOUT)
    manifest = json.loads(store.manifest_path(path).read_text())
    del manifest["sha256"]
    store.manifest_path(path).write_text(json.dumps(manifest))
    assert not store.is_done(path, ABOUT) and "an older version" in capsys.readouterr().err


@pytest.mark.parametrize(
    "code",
    [
        KILLED_FOLDER.format("kill()"),  # between the folder and its manifest
        "store.folders.shutil.rmtree = lambda path, **_: kill() if path.name == 'x' else None"
        + KILLED_FOLDER.format(""),  # before the old folder is deleted
        "Path.rename = kill" + KILLED_FOLDER.format(""),  # before the new folder takes its place
    ],
)
def test_a_folder_of_a_killed_run_is_not_accepted(tmp_path, code):
    path = tmp_path / "x"

    def make():
        with store.folder(path) as part:
            (part / "a").write_text("1")
        store.write_manifest(path, ABOUT, time.time())

    make()
    assert store.is_done(path, ABOUT)
    killed(path, code)
    assert not store.is_done(path, ABOUT) and not store.is_done(path, OTHER)
    make()
    assert store.is_done(path, ABOUT) and (path / "a").read_text() == "1"


def test_the_identity_of_a_file_is_that_of_its_bytes(tmp_path):
    one, two, rows = tmp_path / "one.parquet", tmp_path / "two.parquet", pd.DataFrame({"a": [1, 2], "b": ["x", "ä"]})
    with pytest.raises(StoreError, match="does not exist: run the stage"):
        store.identity(one)
    store.write_table(rows, one)
    with pytest.raises(StoreError, match="no manifest"):
        store.identity(one)
    store.finish(rows, one, ABOUT, time.time())
    store.finish(rows.copy(), two, OTHER, time.time() - 9, truncated=1)  # the same rows by another way
    assert store.identity(one) == store.identity(two) == sha256(one)[:12]
    store.finish(rows[::-1], two, OTHER, time.time())
    assert store.identity(one) != store.identity(two)


def test_the_identity_of_a_folder_is_that_of_its_parameters(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.mkdir()
    with pytest.raises(StoreError, match="no manifest"):
        store.identity(one)
    store.write_manifest(one, {"a": 1, "b": 2}, time.time())
    store.write_manifest(two, {"b": 2, "a": 1}, time.time() - 9, rows=3)
    assert store.identity(one) == store.identity(two) == store.digest({"a": 1, "b": 2})  # not when it was made
    store.write_manifest(two, {"b": 2, "a": 2}, time.time())
    assert store.identity(one) != store.identity(two)


def test_chunk_seed():
    assert store.chunk_seed(0, "debate", 1, 0) == 1704876228  # changing it changes every result
    seeds = {
        store.chunk_seed(s, stage, r, c)
        for s in range(3)
        for stage in ("debate", "evaluate")
        for r in range(3)
        for c in range(20)
    }
    assert len(seeds) == 3 * 2 * 3 * 20 and all(0 <= seed < 2**31 for seed in seeds)
    assert store.chunk_seed(1, 11) != store.chunk_seed(11, 1) != store.chunk_seed("1", 11)


def test_differences():
    assert store.differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: was 2, now 3"]
    assert store.differences({"a": 1}, {"a": 1}) == []
    assert store.differences({"a": {"b": 1}}, {"a": 2}) == ["a: was {'b': 1}, now 2"]
    assert store.digest({"b": 1, "a": 2}) == store.digest({"a": 2, "b": 1}) != store.digest({"a": 1, "b": 2})


def test_a_folder_is_complete_or_absent(tmp_path):
    out = tmp_path / "a" / "b"
    with store.folder(out) as part:
        (part / "x").write_text("1")
        assert not out.exists()
    assert (out / "x").read_text() == "1" and not part.exists()
    with pytest.raises(KeyboardInterrupt), store.folder(out) as part:
        (part / "y").write_text("2")
        raise KeyboardInterrupt
    assert [p.name for p in out.iterdir()] == ["x"]  # the old one is unchanged
    with store.folder(out) as part:  # the half-written one is no obstacle, and not part of the new one
        (part / "z").write_text("3")
    assert [p.name for p in out.iterdir()] == ["z"]


@pytest.mark.parametrize("content", [None, "", "{", '{"global_step": 4, "log_history": [', "\0\0\0"])
def test_an_incomplete_checkpoint_is_removed_and_the_one_before_it_used(tmp_path, capsys, content):
    for step in (2, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}\n")
    assert store.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10") and capsys.readouterr().err == ""
    state = tmp_path / "checkpoint-10" / "trainer_state.json"
    state.unlink() if content is None else state.write_text(content)
    assert store.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert "checkpoint-10 is incomplete" in (message := capsys.readouterr().err) and message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    (tmp_path / "checkpoint-2" / "trainer_state.json").unlink()
    assert store.last_checkpoint(tmp_path) is None


def test_importing_the_store_loads_no_pandas():
    """`agentark plan` has to start in under two seconds."""
    code = "import sys, agentark.store; print([name for name in ('pandas', 'pyarrow', 'torch') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
