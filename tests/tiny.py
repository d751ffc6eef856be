"""Small stand-ins: random networks of real architectures, an engine that follows a script, and sections of params."""

import re
from pathlib import Path

from agentark import params
from agentark.engines import Completion

ENGINE = params.Engine(name="transformers", batch=8, dtype="float32", share_prefix=True)
DEBATE = params.Debate(
    agents=3,
    rounds=3,
    layout="shared",
    wording="terse",
    consensus="unanimous",
    aggregator="llm",
    temperature=0.8,
    top_p=1.0,
    max_new_tokens=6,
    chunk=2,
)
DISTILL = params.Distill(
    learning_rate=1e-3,
    epochs=2,
    batch=2,
    warmup_share=0.1,
    weight_decay=0.0,
    max_length=400,
    max_dropped_share=0.1,
    answer_weight=1.0,
    save_steps=2,
    lora=None,
)
LORA = {"r": 2, "alpha": 4, "dropout": 0.0, "target_modules": "all-linear"}
EVALUATE = params.Evaluate(samples=2, temperature=0.8, top_p=1.0, max_new_tokens=5, base_votes=2)
SIZE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def but(section, **changes):
    """A copy of a section with other values, checked."""
    return type(section).model_validate({**section.model_dump(), **changes})


def save_networks(folder: Path) -> dict[str, str]:
    """Save random networks of the zoo's architectures (`llama` with untied embeddings) with its kind of tokenizer.

    Returns their folders by name.  Weights are wider than usual, so that the most likely token leads by far more
    than the rounding of a sum.
    """
    import torch
    from transformers import AutoConfig

    from agentark.models.load import auto_class
    from agentark.zoo.packing import make_tokenizer

    tokenizer = make_tokenizer(vocab_size=400, chats=200, seed=0, context=1024)
    about = {
        **SIZE,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 1024,
        "initializer_range": 0.4,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
    }
    text = {k: v for k, v in about.items() if k != "head_dim"} | {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    }
    more = {
        "qwen3": {"tie_word_embeddings": True},
        "llama": {"tie_word_embeddings": False},
        "gemma": {"num_key_value_heads": 2},
        "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 1024, "tie_word_embeddings": False},
        "qwen2_5_vl": {
            "tie_word_embeddings": True,
            "text_config": text | {"tie_word_embeddings": True},
            "vision_config": {
                "depth": 1,
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_heads": 2,
                "out_hidden_size": 32,
                "fullatt_block_indexes": [0],
            },
        },
    }
    for name, changes in more.items():
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            name,
            **({k: about[k] for k in ("eos_token_id", "pad_token_id")} if "text_config" in changes else about)
            | changes,
        )
        auto_class(config).from_config(config).save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return {name: str(folder / name) for name in more}


class Scripted:
    """An engine whose replies `script(question, round, agent)` decides: an answer, or None for a reply without one.

    Each reply carries its round and agent ("r2a1"), by which later prompts are understood.  `fail_at` is the number of
    the call (from 1) that raises `error` instead.
    """

    name = "scripted"

    def __init__(self, script, fail_at=0, error=RuntimeError):
        self.script, self.fail_at, self.error = script, fail_at, error
        self.calls = 0
        self.requests = []  # chats, sampling and seed of each finished call

    def generate(self, chats, sampling, seed):
        self.calls += 1
        if self.calls == self.fail_at:
            raise self.error("the power went out")
        seen: dict[str, int] = {}
        replies = []
        for chat in chats:
            text = str(chat)
            seen[text] = seen.get(text, 0) + 1
            replies.append(self._reply(chat, seen[text]))
        self.requests.append((chats, sampling, seed))
        return replies

    def _reply(self, chat, nth):
        text = "\n".join(turn["content"] for turn in chat)
        number = 1 + max((int(r) for r, _ in marks(text)), default=0)
        reader = re.search(r"You are agent (\d+)", text)
        own = [int(a) for turn in chat if turn["role"] == "assistant" for _, a in marks(turn["content"])]
        agent = int(reader[1]) if reader else own[0] if own else 0 if "Sum up" in text else nth
        answer = self.script(chat[0]["content"].split("\n\nSolutions:")[0], number, agent)
        reply = f"r{number}a{agent}" + (f"\nAnswer: {answer}" if answer else "")
        return Completion(reply, (1, 2, 3), "stop" if answer else "length", len(text), 7, len(reply))


def marks(text):
    """The (round, agent) of the scripted replies that a text holds, in order."""
    return [(int(r), int(a)) for r, a in re.findall(r"\br(\d+)a(\d+)\b", text)]


def debate_until_killed(path, cell, n, config):
    """Run the debate stage in a process of its own, which the test kills."""
    from agentark.mas import generation

    generation.run(path, cell, n, config, ENGINE)


def graded(log, task="mini_gsm", split="train"):
    """A log with its grades, as `grading.run` returns it."""
    from agentark.grade import grading

    grades = grading.grade(log, task, split)
    return log.drop(columns=["answer", "strict"], errors="ignore").assign(**{name: grades[name] for name in grades})
