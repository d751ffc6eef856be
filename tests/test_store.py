"""Journals, tables and manifests: what was finished survives a kill, a full disk and a damaged byte, and nothing is mixed."""

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


def test_added_rows_are_what_a_later_run_reads(tmp_path):
    journal = Journal(tmp_path / "x.journal", ABOUT)
    journal.add("0", [{"path": Path("a"), "pair": (1, 2)}])
    assert journal.chunks == Journal(tmp_path / "x.journal", ABOUT).chunks == {"0": [{"path": "a", "pair": [1, 2]}]}


def test_a_chunk_that_is_added_again_counts_once(tmp_path):
    journal = Journal(tmp_path / "x.journal", ABOUT)
    journal.add("0", [{"n": 1}])
    journal.add("0", [{"n": 2}])
    assert Journal(tmp_path / "x.journal", ABOUT).chunks == {"0": [{"n": 2}]}


def test_cut_anywhere_in_the_last_line(tmp_path, capsys):
    path = tmp_path / "x.journal"
    data = filled(path)
    start = data[:-1].rindex(b"\n") + 1
    *earlier, last = CHUNKS
    for cut in range(start, len(data)):
        path.write_bytes(data[:cut])
        journal = Journal(path, ABOUT)
        whole = cut == len(data) - 1  # only the line's end is missing
        assert list(journal.chunks) == [*earlier, last][: len(CHUNKS) if whole else -1], cut
        assert journal.dropped == (0 if whole or cut == start else 1)
        assert (str(path) in capsys.readouterr().err) == (cut != start)
        assert path.read_bytes() == (data if whole else data[:start])
        journal.add(last, CHUNKS[last])
        assert Journal(path, ABOUT).chunks == CHUNKS and capsys.readouterr().err == ""
    assert [p.name for p in tmp_path.iterdir()] == ["x.journal"]


def test_damaged_byte_drops_its_chunk_alone(tmp_path, capsys):
    path = tmp_path / "x.journal"
    data = filled(path)
    lines = data.splitlines(keepends=True)
    start = len(lines[0]) + len(lines[1])
    for at in range(start, start + len(lines[2]) - 1, 2):
        damaged = bytearray(data)
        damaged[at] = ord("~")
        path.write_bytes(damaged)
        journal = Journal(path, ABOUT)
        assert list(journal.chunks) == ["round 1 0", "round 2 0"] and journal.dropped == 1
        assert "1 damaged" in capsys.readouterr().err
        assert path.read_bytes() == lines[0] + lines[1] + lines[3]


def test_killed_while_the_first_line_was_written(tmp_path):
    path = tmp_path / "x.journal"
    Journal(path, ABOUT)
    head = path.read_bytes()
    for cut in range(0, len(head) - 1, 5):
        path.write_bytes(head[:cut])
        assert Journal(path, ABOUT).chunks == {} and path.read_bytes() == head
    path.write_bytes(head[:-1])
    assert Journal(path, ABOUT).chunks == {} and path.read_bytes() == head


def test_other_parameters(tmp_path):
    path = tmp_path / "x.journal"
    data = filled(path)
    with pytest.raises(StoreError, match=r"debate.agents: was 5, now 3") as caught:
        Journal(path, {**ABOUT, "debate": {"agents": 3, "layout": "shared"}})
    assert "layout" not in str(caught.value) and "Delete it" in str(caught.value)
    with pytest.raises(StoreError, match="seed: was None, now 1"):
        Journal(path, {**ABOUT, "seed": 1})
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "content", [b"problem,n\na,1\n", b"one line without an end", b'{"journal": 1, "about": {}}\n', b"\x00\xff\n\x00"]
)
def test_foreign_file(tmp_path, content):
    path = tmp_path / "x.journal"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="no journal"):
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
        patch.setattr(store, "open", lambda path, mode, **how: open("/dev/full", "wb", **how), raising=False)
        with pytest.raises(StoreError, match="make room"):
            journal.add("new", [{"n": 1}])
    assert path.read_bytes() == data and Journal(path, ABOUT).chunks == CHUNKS


def test_full_disk_takes_half_a_line(tmp_path, monkeypatch, capsys):
    class Half:
        def __init__(self, *how, **more):
            self.file = open(*how, **more)

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
        patch.setattr(store, "open", Half, raising=False)
        with pytest.raises(StoreError, match="make room"):
            journal.add("new", [{"n": 1}])
    again = Journal(path, ABOUT)
    assert again.chunks == CHUNKS and again.dropped == 1 and "1 damaged" in capsys.readouterr().err


def test_full_disk_at_the_start_and_at_a_repair(tmp_path, monkeypatch):
    path = tmp_path / "x.journal"
    cut = filled(path)[:-3]
    path.write_bytes(cut)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="make room"):
            Journal(path, ABOUT)
    assert path.read_bytes() == cut
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(StoreError, match="make room"):
            Journal(tmp_path / "deep" / "y.journal", ABOUT)


LOOP = """
import sys, types
sys.modules["pandas"] = types.ModuleType("pandas")  # journals need none, and its import takes longer than all the rest
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

    began = time.perf_counter()
    whole = start(tmp_path / "whole")
    whole.stdout.readline()
    loop = -time.perf_counter()
    whole.communicate(timeout=60)
    loop += time.perf_counter()
    assert whole.returncode == 0, f"after {time.perf_counter() - began:.1f} s"
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


def test_finish_and_is_done(tmp_path, capsys):
    path = tmp_path / "x.parquet"
    assert not store.is_done(path, ABOUT)
    journal = Journal(path.with_suffix(".journal"), ABOUT)
    journal.add("0", [{"a": 1}])
    store.finish(pd.DataFrame({"a": [1]}), path, ABOUT, time.time() - 2, journal, truncated=7)
    assert store.is_done(path, ABOUT) and not journal.path.exists() and capsys.readouterr().err == ""
    assert store.is_done(path, json.loads(json.dumps(ABOUT)))
    assert not store.is_done(path, {**ABOUT, "n": 4})
    assert "n: was 3, now 4" in capsys.readouterr().err
    manifest = json.loads(store.manifest_path(path).read_text())
    assert (
        manifest["about"] == ABOUT
        and manifest["rows"] == 1
        and manifest["repaired_lines"] == 0
        and manifest["truncated"] == 7
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


def test_no_manifest_is_not_done(tmp_path):
    store.write_table(pd.DataFrame({"a": [1]}), tmp_path / "x.csv")
    assert not store.is_done(tmp_path / "x.csv", ABOUT)


def test_identity(tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    with pytest.raises(StoreError, match="no manifest"):
        store.identity(one)
    store.write_manifest(one, {"a": 1, "b": 2}, time.time())
    store.write_manifest(two, {"b": 2, "a": 1}, time.time() - 9, rows=3)
    assert store.identity(one) == store.identity(two)  # what it was made from, not when
    store.write_manifest(two, {"b": 2, "a": 2}, time.time())
    assert store.identity(one) != store.identity(two)


def test_chunk_seed():
    assert store.chunk_seed(0, "debate", 1, 0) == 1704876228  # a change makes every result anew: mean it
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


def test_a_folder_is_whole_or_not_there(tmp_path):
    out = tmp_path / "a" / "b"
    with store.folder(out) as part:
        (part / "x").write_text("1")
        assert not out.exists()
    assert (out / "x").read_text() == "1" and not part.exists()
    with pytest.raises(KeyboardInterrupt), store.folder(out) as part:
        (part / "y").write_text("2")
        raise KeyboardInterrupt
    assert [p.name for p in out.iterdir()] == ["x"]  # the old one stands
    with store.folder(out) as part:  # the half-written one is no obstacle, and no part of the new one
        (part / "z").write_text("3")
    assert [p.name for p in out.iterdir()] == ["z"]
