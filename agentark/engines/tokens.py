"""From chats to tokens and from tokens to completions, the same for all engines that hold the network themselves."""

from __future__ import annotations

from collections.abc import Sequence

from . import Chat, Completion, Sampling, check_length, check_text


def prompt_texts(tokenizer, chats: Sequence[Chat]) -> list[str]:
    """The texts to continue (an assistant's last turn is a half-written reply); EngineError for an unencodable chat."""
    for index, chat in enumerate(chats):
        check_text(index, chat)
    return [_text(tokenizer, list(chat)) for chat in chats]


def content(turn: dict[str, str]) -> dict:
    """A turn as chat templates read it: one with a picture has a list of contents, the picture first."""
    if not turn.get("image"):
        return turn
    return {"role": turn["role"], "content": [{"type": "image"}, {"type": "text", "text": turn["content"]}]}


def _text(tokenizer, turns: list[dict[str, str]]) -> str:
    chat = [content(turn) for turn in turns]
    if chat[-1]["role"] != "assistant":
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    text = tokenizer.apply_chat_template(chat, continue_final_message=True, tokenize=False)
    reply = turns[-1]["content"]
    if not text.endswith(reply):  # some templates trim a turn; without its newline, its last line would grow longer
        text += reply[len(reply.rstrip()) :]
    return text


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of a rendered text, or of a part of one."""
    return tokenizer(text, add_special_tokens=False).input_ids


def check_lengths(tokenizer, prompts: list[list[int]], sampling: Sampling, context: int) -> None:
    """Raises EngineError if a prompt leaves no room for its reply, before anything is generated."""
    reply_tokens = sampling.max_new_tokens
    if sampling.choices:
        reply_tokens = max(len(encode(tokenizer, choice)) for choice in sampling.choices)
    for index, prompt in enumerate(prompts):
        check_length(index, len(prompt), reply_tokens, context)


def end_tokens(tokenizer, eos_token_id: int | list[int] | None) -> list[int]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's own."""
    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id or [])
    return sorted({*ends, tokenizer.eos_token_id} - {None})


def completion(tokenizer, ends: list[int], ids: list[int], tokens_in: int, cached: int,
               logprobs: Sequence[float] | None) -> Completion:  # fmt: skip
    """The completion of the generated `ids`, cut after the first token that ends a reply."""
    end = next((k for k, token in enumerate(ids) if token in ends), None)
    length = len(ids) if end is None else end + 1
    return Completion(text=tokenizer.decode(ids[: length if end is None else end], skip_special_tokens=True),
                      token_ids=tuple(ids[:length]), finish="length" if end is None else "stop",
                      tokens_in=tokens_in, tokens_cached=cached, tokens_out=length,
                      logprobs=tuple(logprobs[:length]) if logprobs is not None else None)  # fmt: skip
