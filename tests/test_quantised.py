"""Networks out of GGUF files: a tiny one, written here, is dequantised, tied, checked and loaded like a checkpoint."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agentark import store
from agentark.assets import AssetError
from agentark.models import coder, load, quantised, registry
from agentark.models.quantised import Quantised
from agentark.models.registry import Model
from agentark.packages import Published, pins

gguf = pytest.importorskip("gguf")

WIDTH, FFN, SPECIAL = 32, 64, ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write(path: Path) -> int:
    """Write a GGUF file of the qwen2 architecture whose output is quantised; returns its tied number of parameters."""
    import numpy as np
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    random, tokens = np.random.default_rng(0), [*bytes_to_unicode().values(), "Ġa", *SPECIAL]
    tokens += [f"[PAD{n}]" for n in range(-len(tokens) % 32)]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(1)
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges(["Ġ a"])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|endoftext|>"))
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_chat_template(TEMPLATE)
    embedding = random.normal(size=(len(tokens), WIDTH)).astype("float32")
    writer.add_tensor("token_embd.weight", embedding + 1)  # unlike the output's, so that it shows which one is kept
    q8 = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor("output.weight", gguf.quantize(embedding, q8), raw_dtype=q8)
    shapes = {
        "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH // 2, WIDTH), "attn_v": (WIDTH // 2, WIDTH),
        "attn_output": (WIDTH, WIDTH), "ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH), "ffn_down": (WIDTH, FFN),
    }  # fmt: skip
    count = embedding.size
    tensors = {f"blk.0.{name}.weight": random.normal(size=shape) / 6 for name, shape in shapes.items()}
    tensors |= {f"blk.0.{name}.bias": random.normal(size=shapes[name][0]) for name in ("attn_q", "attn_k", "attn_v")}
    norms = ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")
    tensors |= {f"{name}.weight": np.ones(WIDTH) for name in norms}
    for name, values in tensors.items():
        writer.add_tensor(name, values.astype("float32"))
        count += values.size
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return count


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    return path, write(path)


@pytest.fixture
def network(file, tmp_path, monkeypatch):
    """The tiny network, whose folder will be in `tmp_path`, and which answers "yes"."""
    monkeypatch.setattr(store, "ROOT", tmp_path)
    monkeypatch.setattr(quantised, "answer", lambda model, tokenizer: "yes")
    model = Model("Org/Tiny", "a" * 40, "MIT", 1e-5, 512, "qwen2", 1, 1, 16, ("student",))
    published = Published(
        "tiny.gguf", "b" * 64, file[0].stat().st_size, "Org/Tiny-GGUF", "a" * 40, "MIT", "Org", "", ""
    )
    return Quantised(model, published, "Q8_0", file[1], "yes")


def test_it_becomes_a_checkpoint(network, file, tmp_path):
    assert network.name == "weights/Tiny-Q8_0" and not network.here
    network.folder.mkdir(parents=True)
    (network.folder / "model.safetensors").write_bytes(b"half")  # of somebody who deleted the card
    quantised.bring(network, lambda published, folder: file[0])
    assert network.here and [path.name for path in network.folder.parent.iterdir()] == ["Tiny-Q8_0"]
    card = json.loads((network.folder / "card.json").read_text())
    assert card["parameters"] == file[1] and card["reply"] == "yes" and "model.safetensors" in card["sha256"]
    assert "Org/Tiny, Q8_0, dequantised" in (network.folder / "README.md").read_text()
    model, tokenizer = load.load(str(network.folder))
    given, out = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert given.data_ptr() == out.data_ptr() and model.config.tie_word_embeddings
    assert abs(given.mean().item()) < 0.1  # the output's, around 0; the input's own are around 1
    assert sum(p.numel() for p in model.parameters()) == file[1] and out.dtype == torch.float32
    assert tokenizer.model_max_length == 512 and tokenizer.eos_token == "<|im_end|>"
    assert load.revision(str(network.folder)) not in ("", str(network.folder))


def test_its_answer_is_greedy_text(file):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file[0].parent, gguf_file=file[0].name)
    model = AutoModelForCausalLM.from_pretrained(file[0].parent, gguf_file=file[0].name)
    assert quantised.answer(model, tokenizer) == quantised.answer(model, tokenizer)


def full(published, folder):
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(published, folder):
    (folder / "tiny.gguf").write_bytes(b"half")
    raise KeyboardInterrupt


def refused(published, folder):
    raise AssetError("another SHA-256")


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (
            full,
            AssetError,
            "the disk is full; nothing was kept; the same file is tiny.gguf in https://huggingface.co/Org",
        ),
        (refused, AssetError, "another SHA-256"),
        (interrupted, KeyboardInterrupt, None),
    ],
)
def test_a_source_that_fails_leaves_nothing(network, source, error, message):
    with pytest.raises(error, match=message):
        quantised.bring(network, source)
    assert list(network.folder.parent.iterdir()) == []


def test_another_reply_or_size_is_refused(network, file):
    for other, message in (
        (replace(network, reply="no"), "answers 'What is the capital of France.*' with 'yes' instead of 'no'"),
        (replace(network, parameters=7), "has [0-9,]+ parameters instead of 7"),
    ):
        with pytest.raises(AssetError, match=message) as raised:
            quantised.bring(other, lambda published, folder: file[0])
        assert "\n" not in str(raised.value) and list(network.folder.parent.iterdir()) == []


def test_too_little_memory_or_disk_is_refused_before_anything_is_downloaded(network, monkeypatch):
    def never(published, folder):
        raise AssertionError

    big = replace(network, parameters=10**12)
    with pytest.raises(AssetError, match="needs 2000.0 GB of disk"):
        quantised.bring(big, never)
    monkeypatch.setattr(quantised, "check_space", lambda *_: None)
    with pytest.raises(AssetError, match=r"needs 3201.2 GB of memory to be dequantised, and [0-9.]+ GB are available"):
        quantised.bring(big, never)


# The networks that can be brought


@pytest.mark.parametrize("network", coder.QUANTISED, ids=lambda network: network.name)
def test_the_records(network):
    file = network.file
    assert registry.find(network.model.name) is registry.find(network.model.hub) is network.model
    assert network.name == f"weights/{network.model.name}-Q4_K_M" and registry.find(network.name) is None
    assert network.parameters == pytest.approx(network.model.parameters * 1e9, rel=1e-3)
    assert len(file.sha256) == 64 and len(file.revision) == 40 and file.hub == f"{network.model.hub}-GGUF"
    assert file.name == f"{file.hub.partition('/')[2].removesuffix('-GGUF').lower()}-q4_k_m.gguf"
    assert len(file.wheels) == len(pins.read_pins(file.pins)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("network", coder.QUANTISED, ids=lambda network: network.name)
def test_the_real_one_answers(network, dtype):
    if not network.here:
        pytest.skip(f"{network.name} is not here: make assets TIER=qwen-coder")
    model, tokenizer = load.load(str(network.folder), dtype)
    assert quantised.answer(model, tokenizer) == network.reply
    assert tokenizer("1234 plums").tokens()[:4] == ["1", "2", "3", "4"]  # digits one by one
    assert sum(p.numel() for p in model.parameters()) == network.parameters
