"""Loading networks: names, folders, adapters, and one sentence for each failure."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch

from agentark.models import load, names
from agentark.models.load import ModelError
from agentark.tasks import mini


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A zoo with the networks `qwen3-0.6b` and `llama3-8b` (empty ones)."""
    (tmp_path / "tokenizer").mkdir()
    for name, role in (("qwen3-0.6b", "student Qwen3-0.6B"), ("llama3-8b", "student Llama3-8B-Instruct")):
        add(tmp_path, name, role)
    monkeypatch.setattr(names, "ZOO", tmp_path)
    return tmp_path


def add(zoo: Path, name: str, role: str, parameters: int = 300_000, **changes) -> Path:
    """Put a network without weights into a zoo; a change to None leaves an entry out of its card."""
    (zoo / name).mkdir()
    (zoo / name / "config.json").write_text("{}")
    card = {"name": name, "role": role, "parameters": parameters, "sha256": {}, "world": mini.WORLD, **changes}
    card = {key: value for key, value in card.items() if value is not None}
    (zoo / name / "card.json").write_text(json.dumps(card))
    return zoo / name


@pytest.fixture
def copy(networks, tmp_path):
    """A folder with a copy of the tiny qwen3."""
    return Path(shutil.copytree(networks["qwen3"], tmp_path / "copy"))


def sentence(raised) -> str:
    """The message of an exception, which must be one line."""
    message = str(raised.value)
    assert "\n" not in message and len(message) > 20
    return message


def test_names(zoo, networks):
    assert load.zoo_names() == ["zoo/llama3-8b", "zoo/qwen3-0.6b"]
    assert load.resolve("zoo/llama3-8b") == str(zoo / "llama3-8b")
    assert load.resolve(networks["llama"]) == networks["llama"]
    assert (
        load.resolve("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
        and load.revision("Qwen/Qwen3-0.6B") == "c1899de289a04d12100db370d81485cdf75e47ca"
    )
    assert load.slug("zoo/llama3-8b") == "llama3-8b"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("zoo/qwen3-0.6", "zoo/qwen3-0.6b"),
        ("zoo/llama-8b", "zoo/llama3-8b"),
        ("qwen3-0.6b", "zoo/qwen3-0.6b"),
        ("zoo/tokenizer", None),
        ("../no-such-folder", None),
        ("./a/b", None),
        ("/no/such/folder", None),
        ("a/b/c", None),
        ("", None),
    ],
)
def test_impossible_names(zoo, name, near):
    for use in (load.check_name, load.resolve, load.revision, load.load):
        with pytest.raises(ModelError) as raised:
            use(name)
        message = sentence(raised)
        assert repr(name) in message
        assert near is None or f"did you mean {near!r}?" in message


def test_the_revision_is_that_of_the_weights(copy, networks):
    before = load.revision(str(copy))
    assert before == load.revision(networks["qwen3"]) != load.revision(networks["llama"])
    data = bytearray((copy / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (copy / "model.safetensors").write_bytes(bytes(data))
    assert load.revision(str(copy)) != before


def test_weights_are_hashed_once(copy, monkeypatch):
    before = load.revision(str(copy))
    real, reads = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or real(path))
    assert load.revision(str(copy)) == before and reads == []
    shutil.copy(copy / "model.safetensors", copy / "other.safetensors")
    assert load.revision(str(copy)) != before and reads == ["model.safetensors", "other.safetensors"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zoo/qwen3-32b", "Qwen3-32B role, 1.2 M"),
        ("zoo/qwen3-8b", "Qwen3-8B role (student), 0.7 M"),
        ("zoo/qwen3-8b-teacher", "Qwen3-8B role (teacher), 0.8 M"),
        ("zoo/qwen3-0.6b", "Qwen3-0.6B role, 0.3 M"),
        ("zoo/llama3-8b", "Llama3-8B-Instruct role, 0.3 M"),
        ("zoo/other-0.6b", "Qwen3-0.6B role, 0.1 M"),  # another student, not a teacher
        ("zoo/vl-3b", "Qwen2.5-VL-3B role (student), 0.2 M"),
        ("zoo/vl-teacher", "Qwen2.5-VL-3B role (teacher), 0.4 M"),
        ("zoo/both", "Both role, 0.5 M"),
        ("zoo/odd", "student role, 0.6 M"),
        ("Qwen/Qwen3-32B", "Qwen3-32B"),
        ("Qwen3-32B", "Qwen3-32B"),
        ("smollm2-135m", "smollm2-135m"),
        ("some/other", "other"),
        ("results/students/a.b", "a.b"),
    ],
)
def test_names_for_readers(zoo, name, expected):
    add(zoo, "qwen3-32b", "teacher Qwen3-32B", 1_234_567)
    add(zoo, "qwen3-8b", "student Qwen3-8B", 712_000)
    add(zoo, "qwen3-8b-teacher", "teacher Qwen3-8B", 790_000, world=None)
    add(zoo, "other-0.6b", "student Qwen3-0.6B", 100_000)
    add(zoo, "vl-3b", "multimodal student Qwen2.5-VL-3B", 200_000)
    add(zoo, "vl-teacher", "multimodal teacher Qwen2.5-VL-3B", 400_000)
    add(zoo, "both", "teacher and student Both", 500_000)
    add(zoo, "odd", "student", 600_000)
    assert load.display_name(name) == expected


def test_the_shipped_networks_have_different_names_for_readers():
    shown = [load.display_name(name) for name in load.cards()]
    assert len(set(shown)) == len(shown) > 5 and all(" role" in name and name.endswith(" M") for name in shown)


COMMAND = "python -m agentark.zoo.train params/zoo.yaml net"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"world": mini.WORLD - 1}, (f"trained on version {mini.WORLD - 1} of", f"those of version {mini.WORLD}")),
        ({"world": mini.WORLD + 1}, (f"trained on version {mini.WORLD + 1} of", f"those of version {mini.WORLD}")),
        ({"world": None}, ("an earlier version of the mini tasks", f"those of version {mini.WORLD}")),
        ("no card", ("did not finish", "no card.json")),
    ],
)
def test_a_network_of_the_zoo_that_is_not_ready(zoo, changes, parts):
    """Half trained, or made by another version of the tasks: one sentence with the command, whoever needs it first."""
    folder = add(zoo, "net", "student Net", **(changes if changes != "no card" else {}))
    if changes == "no card":
        (folder / "card.json").unlink()
        assert "zoo/net" not in load.zoo_names()
    for use in (load.check_name, load.check_weights, load.resolve, load.revision, load.load):
        with pytest.raises(ModelError) as raised:
            use("zoo/net")
        message = sentence(raised)
        assert all(part in message for part in ("zoo/net", COMMAND, *parts)) and message.endswith(COMMAND)


def test_a_network_of_the_zoo_without_its_weights(zoo):
    folder = add(zoo, "net", "student Net", sha256={"model.safetensors": "0" * 64})
    load.check_name("zoo/net")  # names are checked without reading weights
    for use in (load.check_weights, load.load):
        with pytest.raises(ModelError, match=f"{folder / 'model.safetensors'} is missing; .*{COMMAND}$") as raised:
            use("zoo/net")
        sentence(raised)


def test_checking_a_name_of_the_zoo_imports_no_heavy_package(zoo):
    code = f"""
import sys
from pathlib import Path
from agentark.models import names
names.ZOO = Path({str(zoo)!r})
names.check_name("zoo/llama3-8b")
print(*{{"torch", "transformers", "numpy", "pydantic"}} & set(sys.modules))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_importing_loads_no_heavy_package():
    code = "import sys, agentark.models.load; print(*{'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_loading(networks):
    for name, architecture in (("qwen3", "Qwen3ForCausalLM"), ("llama", "LlamaForCausalLM")):
        model, tokenizer = load.load(networks[name])
        assert type(model).__name__ == architecture and model.dtype == torch.float32 and not model.training
        assert tokenizer.padding_side == "left" and tokenizer.pad_token_id is not None
    assert load.load(networks["llama"], "bfloat16")[0].dtype == torch.bfloat16


@pytest.mark.parametrize(("weights", "config"), [("llama", "qwen3"), ("qwen3", "llama")])
def test_weights_of_another_architecture(networks, tmp_path, weights, config):
    folder = Path(shutil.copytree(networks[config], tmp_path / "mixed"))
    shutil.copy(Path(networks[weights]) / "model.safetensors", folder)
    with pytest.raises(ModelError, match="another architecture") as raised:
        load.load(str(folder))
    assert str(folder) in sentence(raised)


def test_weights_of_another_size(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))
    with pytest.raises(ModelError) as raised:
        load.load(str(copy))
    sentence(raised)


def cut(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").write_bytes(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
        ),
        cut,
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text('{"model_type": "qw'),
        lambda folder: (folder / "config.json").write_text('{"model_type": "no such architecture"}'),
        lambda folder: (folder / "tokenizer.json").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{"),
    ],
    ids=[
        "no weights",
        "empty weights",
        "an LFS pointer",
        "half the weights",
        "no config",
        "half a config",
        "an unknown architecture",
        "no tokenizer",
        "half a tokenizer",
    ],
)
def test_damage(copy, damage):
    damage(copy)
    with pytest.raises(ModelError) as raised:
        load.load(str(copy))
    assert str(copy) in sentence(raised)


def test_no_chat_template(copy):
    _, tokenizer = load.load(str(copy))
    tokenizer.chat_template = None
    (copy / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match="chat template") as raised:
        load.load_tokenizer(str(copy))
    sentence(raised)


def test_a_tokenizer_larger_than_the_network(copy):
    _, tokenizer = load.load(str(copy))
    tokenizer.add_tokens(["<|more|>"])
    tokenizer.save_pretrained(copy)
    with pytest.raises(ModelError, match="401 tokens, the network 400"):
        load.load(str(copy))


def test_a_tokenizer_without_pad_pads_with_eos(copy):
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copy / name).exists():
            special = json.loads((copy / name).read_text())
            special.pop("pad_token", None)
            (copy / name).write_text(json.dumps(special))
    tokenizer = load.load_tokenizer(str(copy))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None


@pytest.fixture
def adapter(networks, tmp_path):
    """A LoRA adapter of the tiny qwen3 that changes something, and the network with it, not merged."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model, tokenizer = load.load(networks["qwen3"])
    network = get_peft_model(
        model,
        LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    ).eval()
    network.peft_config["default"].base_model_name_or_path = networks["qwen3"]
    network.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", network


def test_an_adapter_is_merged(networks, adapter):
    folder, unmerged = adapter
    merged, tokenizer = load.load(str(folder))
    base, _ = load.load(networks["qwen3"])
    assert type(merged).__name__ == "Qwen3ForCausalLM" and not any(
        "lora" in name for name, _ in merged.named_parameters()
    )
    ids = torch.tensor([tokenizer("Ana has 3 plums.").input_ids], device=merged.device)
    with torch.no_grad():
        with_adapter, expected, without = (m(ids).logits for m in (merged, unmerged, base))
    assert torch.allclose(with_adapter, expected, atol=1e-3)
    assert not torch.allclose(with_adapter, without, atol=0.1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"no weights"),
        lambda folder: (folder / "adapter_config.json").write_text("{"),
        lambda folder: rebase(folder, str(folder / "no" / "such" / "base")),
        lambda folder: rebase(folder, None),
    ],
    ids=["no weights", "damaged weights", "half a config", "base gone", "base unnamed"],
)
def test_damaged_adapters(adapter, damage):
    damage(adapter[0])
    with pytest.raises(ModelError) as raised:
        load.load(str(adapter[0]))
    sentence(raised)


def rebase(folder, base):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))


def test_an_adapter_of_another_network(networks, adapter, tmp_path):
    from transformers import Qwen3Config, Qwen3ForCausalLM

    wide = Qwen3ForCausalLM(Qwen3Config(**{**tiny.SIZE, "hidden_size": 48}, vocab_size=400))
    wide.save_pretrained(tmp_path / "wide")
    rebase(adapter[0], str(tmp_path / "wide"))
    with pytest.raises(ModelError) as raised:
        load.load(str(adapter[0]))
    sentence(raised)
