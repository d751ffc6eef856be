"""A miniature of each architecture: load, chat template, generation, SFT with LoRA, PRM, save and reload."""

import miniatures
import pytest
import tiny
import torch

from agentark.distill import data, prm_model, sft, step_scorer
from agentark.engines import Sampling
from agentark.engines.transformers_engine import TransformersEngine
from agentark.models import load, registry

CHAT = [{"role": "user", "content": "Ana has 3 plums and buys 4. How many?"}]
REPLY = "3 + 4 = 7\nAnswer: 7"
GEMMA = "<bos><start_of_turn>user\nAna has 3 plums and buys 4. How many?<end_of_turn>\n<start_of_turn>model\n"
LLAMA3 = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nAna has 3 plums and buys 4. How many?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
CHATML = "<|im_start|>user\nAna has 3 plums and buys 4. How many?<|im_end|>\n<|im_start|>assistant\n"

# name: class, the prompt as its chat template renders it, the end of the completion
MODELS = {
    "Qwen/Qwen3-0.6B": ("Qwen3ForCausalLM", CHATML + "<think>\n\n</think>\n\n", "<|im_end|>\n"),
    "Qwen/Qwen2.5-72B-Instruct": (
        "Qwen2ForCausalLM",
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n" + CHATML,
        "<|im_end|>\n",
    ),
    "google/gemma-7b-it": ("GemmaForCausalLM", GEMMA, "<end_of_turn>\n"),
    "google/gemma-3-27b-it": ("Gemma3ForConditionalGeneration", GEMMA, "<end_of_turn>\n"),
    "gemma3_text": ("Gemma3ForCausalLM", GEMMA, "<end_of_turn>\n"),
    "meta-llama/Meta-Llama-3-8B-Instruct": (
        "LlamaForCausalLM",
        LLAMA3,
        "<|eot_id|>",
    ),
    "Qwen/Qwen2.5-VL-3B-Instruct": (
        "Qwen2_5_VLForConditionalGeneration",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + CHATML,
        "<|im_end|>\n",
    ),
    "smollm2-135m": (
        "LlamaForCausalLM",
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n" + CHATML,
        "<|im_end|>\n",
    ),
}
MULTIMODAL = ("google/gemma-3-27b-it", "Qwen/Qwen2.5-VL-3B-Instruct")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("miniatures")


@pytest.fixture(params=MODELS)
def name(request, folder, monkeypatch):
    """A name of the registry, with a miniature for its weights; `gemma3_text`, which is not in it, is a folder."""
    miniatures.stand_in(monkeypatch, folder)
    if request.param == "gemma3_text":
        return miniatures.save("gemma3_text", folder / "gemma3_text")
    return request.param


def expected(name):
    return MODELS[name if name in MODELS else "gemma3_text"]


def logits(model, tokenizer):
    ids = torch.tensor(
        [tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)], device=model.device
    )
    with torch.no_grad():
        return model(ids).logits


def row(name):
    return data.encode(data.Example("a", CHAT[0]["content"], REPLY), load.load_tokenizer(name), 1.0)


def test_every_architecture_has_a_miniature():
    covered = {registry.find(name).architecture for name in MODELS if registry.find(name)}
    assert {model.architecture for model in registry.MODELS} - covered == {
        "internlm2"
    }  # not in transformers: not covered


def test_it_loads(name):
    model, tokenizer = load.load(name)
    assert type(model).__name__ == expected(name)[0] and not model.training and tokenizer.padding_side == "left"
    assert load.load(name, "bfloat16")[0].dtype == torch.bfloat16


def test_its_chat_template(name):
    _, prompt, end = expected(name)
    tokenizer = load.load_tokenizer(name)
    assert tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False) == prompt
    encoded = row(name)
    learnt = [token for token, label in zip(encoded["input_ids"], encoded["labels"]) if label != -100]
    assert tokenizer.decode(learnt) == REPLY + end
    prompt_ids = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    assert encoded["input_ids"][: len(prompt_ids)] == prompt_ids  # the reply continues the prompt


@pytest.mark.parametrize("choices", [None, ("A", "B")], ids=["free", "choices"])
def test_it_generates(name, choices):
    chats = [[{"role": "user", "content": 2 * CHAT[0]["content"] + f" Agent {k}."}] for k in range(3)]
    sampling = Sampling(temperature=0, max_new_tokens=4, choices=choices)
    shared, alone = (
        TransformersEngine(name, tiny.but(tiny.ENGINE, share_prefix=share)).generate(chats, sampling, 0)
        for share in (True, False)
    )
    assert [c.token_ids for c in shared] == [c.token_ids for c in alone]
    assert choices or sum(c.tokens_cached for c in shared) > 0 == sum(c.tokens_cached for c in alone)
    assert not choices or {c.text for c in shared} <= {"A", "B"}


def test_it_learns_by_an_adapter(name, tmp_path):
    config = tiny.but(tiny.DISTILL, lora=tiny.LORA, learning_rate=1e-2)
    log = sft.train(name, [row(name)] * 4, tmp_path / "adapter", {"of": name}, config, 0)
    losses = [entry["loss"] for entry in log["loss"]]
    assert log["steps"] == 4 and losses[-1] < losses[0]
    student, tokenizer = load.load(str(tmp_path / "adapter"))
    base, _ = load.load(name)
    assert type(student) is type(base) and not torch.allclose(
        logits(student, tokenizer), logits(base, tokenizer), atol=1e-3
    )
    assert (
        tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False) == expected(name)[1]
    )  # thinking stays off in a checkpoint


def test_it_scores_steps(name, tmp_path):
    if name in MULTIMODAL:
        with pytest.raises(prm_model.PrmError, match="take a text model"):
            prm_model.make(name, 0)
        return
    prm = prm_model.make(name, 0)
    scores = step_scorer.StepScorer(prm).score([CHAT], [REPLY], 2)
    assert [len(row) for row in scores] == [2] and all(0 < s < 1 for s in scores[0])
    prm.save(tmp_path / "prm")
    assert step_scorer.StepScorer(prm_model.load_prm(tmp_path / "prm")).score([CHAT], [REPLY], 2)[0] == pytest.approx(
        scores[0], abs=1e-6
    )


def test_it_is_the_same_after_saving_and_loading(name, tmp_path):
    model, tokenizer = load.load(name)
    model.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    again, tokenizer_again = load.load(str(tmp_path / "saved"))
    assert torch.equal(logits(model, tokenizer), logits(again, tokenizer_again))
    assert again.generation_config.eos_token_id == model.generation_config.eos_token_id


@pytest.mark.hub
@pytest.mark.parametrize(
    "model",
    [model for model in registry.MODELS if model.source == "hub" and not model.remote_code],
    ids=lambda model: model.name,
)
def test_the_hubs_own_chat_template(model):
    """Online: the tokenizer and template of the pinned commit, which those of the miniatures represent."""
    like = (
        "smollm2-135m"
        if "SmolLM2" in model.hub
        else next(
            name for name in MODELS if registry.find(name) and registry.find(name).architecture == model.architecture
        )
    )
    assert (
        load.load_tokenizer(model.hub).apply_chat_template(CHAT, add_generation_prompt=True, tokenize=False)
        == MODELS[like][1]
    )


@pytest.mark.hub
@pytest.mark.parametrize(
    "model", [model for model in registry.MODELS if model.source == "hub"], ids=lambda model: model.name
)
def test_the_pinned_commit_is_there(model):
    from huggingface_hub import HfApi

    assert HfApi().model_info(model.hub, revision=model.revision).sha == model.revision
