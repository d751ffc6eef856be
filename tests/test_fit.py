"""What networks cannot do is refused before anything is generated: targets of adapters, contexts, judges, folders."""

import pytest
import yaml
from test_params import LORA, MODEL, config

from agentark import notebook, params, store
from agentark.models import fit, modules
from agentark.models.names import ModelError
from agentark.params import ParamsError

STUDENT = "zoo/qwen3-0.6b"
VLLM = {"name": "vllm", "batch": 8, "dtype": "auto", "share_prefix": True, "tensor_parallel": 1, "data_parallel": 1}


def check(**changes) -> None:
    notebook.check_names(*params.check(config(**changes), "x.yaml"))


@pytest.mark.parametrize(
    "targets", ["all-linear", r".*\.q_proj", ["q_proj", "v_proj"], ["self_attn.q_proj"], "All-Linear"]
)
def test_targets_that_exist(targets):
    modules.check_targets(STUDENT, targets)
    check(distill__lora={**LORA, "target_modules": targets})


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        (["q_proj", "vproj"], "target_modules: zoo/qwen3-0.6b has no module 'vproj'; did you mean 'v_proj'?"),
        (["input_layernorm"], "has no module 'input_layernorm'; there are"),  # PEFT has no adapters for it
        (["proj"], "has no module 'proj'"),
        (
            "all_linear",
            "as a regular expression, fits no module of zoo/qwen3-0.6b: write all-linear, or a list of some of",
        ),
        ("q_proj", "as a regular expression, fits no module"),  # PEFT compares it with the whole name
    ],
)
def test_targets_that_do_not_exist(targets, sentence):
    for changes in (
        {"distill__lora": {**LORA, "target_modules": targets}},
        {"study__axes": {"distill.lora": [None, {**LORA, "target_modules": targets}]}},
    ):
        with pytest.raises(ParamsError, match=r"^distill.lora: ") as raised:
            check(**changes)
        assert sentence in str(raised.value)


@pytest.mark.parametrize(
    "targets", ["all-linear", r".*\.q_proj", ["q_proj"], ["self_attn.q_proj"], "q_proj", ["qproj"]]
)
def test_peft_agrees(targets):
    from peft import LoraConfig, get_peft_model

    from agentark.models.load import load

    adapters = LoraConfig(r=2, target_modules=targets, task_type="CAUSAL_LM")
    try:
        modules.check_targets(STUDENT, targets)
    except ModelError:
        with pytest.raises(ValueError, match="not found in the base model"):
            get_peft_model(load(STUDENT)[0], adapters)
    else:
        get_peft_model(load(STUDENT)[0], adapters)


def test_networks_of_the_registry_need_no_download(monkeypatch):
    monkeypatch.setattr(modules, "folder", lambda *_, **__: pytest.fail("a config was looked for"))
    for name in ("Qwen3-0.6B", "gemma-7b-it", "Meta-Llama-3-8B-Instruct"):
        modules.check_targets(name, ["q_proj", "down_proj"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"judges__verifier": {**MODEL, "model": "qwen3"}}, "judges.verifier.model: 'qwen3' is no network"),
        ({"judges__verifier": {**MODEL, "model": "zoo/qwen"}}, "judges.verifier.model: there is no network 'zoo/qwen'"),
        (
            {"evaluate__max_new_tokens": 4096},
            "evaluate.max_new_tokens = 4096 leaves no room for a prompt in the context of",
        ),
        (
            {"debate__max_new_tokens": 5000},
            "debate.max_new_tokens = 5000 leaves no room .* zoo/qwen3-32b .4096.: lower it",
        ),
        ({"engine": {**VLLM, "max_model_len": 5000}}, "engine.max_model_len = 5000 is more than the context of zoo/"),
        ({"study__students": ["student"]}, "'student' is no network"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes, sentence):
    with pytest.raises(ParamsError, match=sentence) as raised:
        check(**changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("key", ["study__students", "study__teachers", "prm__backbone"])
def test_a_folder_without_a_network(tmp_path, key):
    value = str(tmp_path) if key == "prm__backbone" else [str(tmp_path)]
    with pytest.raises(
        ParamsError, match="there is no network in .*: it has neither config.json nor adapter_config.json"
    ):
        check(**{key: value})


def test_contexts():
    assert (
        fit.context_of(STUDENT)
        == 4096
        == yaml.safe_load((store.ROOT / "params/zoo.yaml").read_text())["common"]["context"]
    )
    assert fit.context_of("zoo/qwen2.5-vl-3b") == 4096 and fit.context_of("Qwen/Qwen3-8B") == fit.context_of("Qwen3-8B")
    assert fit.context_of("somebody/something") is None
