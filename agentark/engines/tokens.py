"""From chats to tokens and from tokens to completions, alike for the engines that hold the network themselves."""

from __future__ import annotations

from collections.abc import Sequence

from . import Chat, Completion, Sampling, check_room, check_text


def prompt_texts(tokenizer, chats: Sequence[Chat]) -> list[str]:
    """The texts to go on from.  A chat whose last turn is an assistant's is a half-written reply, which is continued.

    Raises EngineError where a chat cannot be encoded.
    """
    for n, chat in enumerate(chats):
        check_text(n, chat)
    return [_text(tokenizer, list(chat)) for chat in chats]


def _text(tokenizer, chat: list[dict[str, str]]) -> str:
    if chat[-1]["role"] != "assistant":
        return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    text, written = (
        tokenizer.apply_chat_template(chat, continue_final_message=True, tokenize=False),
        chat[-1]["content"],
    )
    if not text.endswith(written):
        text += written[
            len(written.rstrip()) :
        ]  # some templates trim a turn; without its newline the last line would grow longer
    return text


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of a rendered text, or of a part of one."""
    return tokenizer(text, add_special_tokens=False).input_ids


def check_rooms(tokenizer, prompts: list[list[int]], sampling: Sampling, context: int) -> None:
    """EngineError where a prompt leaves no room for the reply, before anything is generated."""
    reply = (
        max(len(encode(tokenizer, choice)) for choice in sampling.choices)
        if sampling.choices
        else sampling.max_new_tokens
    )
    for n, prompt in enumerate(prompts):
        check_room(n, len(prompt), reply, context)


def end_tokens(tokenizer, eos_token_id: int | list[int] | None) -> list[int]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's own."""
    ends = [eos_token_id] if isinstance(eos_token_id, int) else list(eos_token_id or [])
    return sorted({*ends, tokenizer.eos_token_id} - {None})


def completion(
    tokenizer, ends: list[int], ids: list[int], tokens_in: int, cached: int, logprobs: Sequence[float] | None
) -> Completion:
    """The completion of `ids`, which are cut after the first token that ends a reply."""
    end = next((k for k, token in enumerate(ids) if token in ends), None)
    length = len(ids) if end is None else end + 1
    text = tokenizer.decode(ids[: length if end is None else end], skip_special_tokens=True)
    return Completion(
        text,
        tuple(ids[:length]),
        "length" if end is None else "stop",
        tokens_in,
        cached,
        length,
        tuple(logprobs[:length]) if logprobs is not None else None,
    )
