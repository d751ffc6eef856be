"""From the corpus's chats to training steps: the zoo's tokenizer, which tokens are learnt, and packing into blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from agentark.engines import images, tokens

from . import corpus
from .pictures import IMAGE, VISION_END, VISION_START, Vision

PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = [PAD, USER, ASSISTANT, END, VISION_START, IMAGE, VISION_END]
# The contents of a turn are a text, or a list with a picture (`engines.tokens.content`).
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' }}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer(vocab_size: int, chats: int, seed: int, context: int) -> PreTrainedTokenizerFast:
    """The byte-level BPE tokenizer of the whole zoo: digits are single tokens, and any text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    mixed = {"shares": {"fact": 0.2, "lore": 0.1, "debate": 0.2}, "lengths": (1, 5)}
    texts = (turn["content"] for i in range(chats) for turn in corpus.example(seed, i, mixed, 3).chat)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL, initial_alphabet=alphabet,
                                  show_progress=False)  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, model_max_length=context, padding_side="left",
        additional_special_tokens=[USER, ASSISTANT, VISION_START, IMAGE, VISION_END],
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.chat_template = TEMPLATE
    return fast


def encode(example: corpus.Example, tokenizer) -> tuple[list[int], list[int]]:
    """A chat's token ids and labels: the last turn and the texts of `also` are learnt, all else is -100."""
    text = tokenizer.apply_chat_template([tokens.content(turn) for turn in example.chat], tokenize=False)
    spans, position = [], 0
    for also in example.also:
        position = text.index(f"\n{also}\n", position) + 1  # whole lines: a wrong trace may start like a right one
        spans.append((position, position := position + len(also)))
    spans.append((len(text) - len(example.chat[-1]["content"] + END), len(text)))
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    # A byte of a longer character has the offsets of that character; no token is without offsets.
    learnt = [any(start <= offset < end for start, end in spans) for offset, _ in encoded.offset_mapping]
    return encoded.input_ids, [token if keep else -100 for token, keep in zip(encoded.input_ids, learnt, strict=True)]


class Steps(Dataset):
    """Training steps, each a batch of blocks of packed chats.

    Step i is a function of (seed, i), and of the pool in debate phases.  A chat is put into the first block of its
    step with enough room; a step is full when three chats in a row find no room.  Chats longer than a block cannot be
    learnt: `too_long` counts them (since this object was created), and the card reports them.  Positions restart with
    each chat, from which transformers builds a mask that separates the chats of a block: without it, a network learns
    to read its answer from a neighbour.  `vision` packs the chats of a network with a vision tower; no other network
    may have a share of pictures.
    """

    def __init__(self, tokenizer, common: dict, phases: list[dict], pool: corpus.Pool | None = None,
                 known_drugs: float = 1.0, vision: Vision | None = None):  # fmt: skip
        if vision is None and any(phase["shares"].get("picture") for phase in phases):
            raise ValueError("only a network with a vision tower can learn pictures: remove the share `picture`")
        self.tokenizer, self.common, self.pool, self.known_drugs = tokenizer, common, pool, known_drugs
        self.vision = vision
        self.phases = [phase for phase in phases for _ in range(phase["steps"])]
        self.too_long = 0

    def __len__(self):
        return len(self.phases)

    def __getitem__(self, i: int) -> dict[str, torch.Tensor]:
        """input_ids, labels (-100: not learnt) and position_ids, each (blocks, length).

        With a vision tower, position_ids are (4, blocks, length), and there are the pictures of all blocks, if any.
        """
        phase, common = self.phases[i], self.common
        length = phase.get("block", common["block"])
        blocks: list[list[tuple]] = [[] for _ in range(common["tokens"] // length)]
        shown: list[list[str]] = [[] for _ in blocks]
        failed = n = 0
        while failed < 3:
            example = corpus.example(common["seed"], i * 10_000 + n, phase, common["max_peers"], self.pool,
                                     self.known_drugs)  # fmt: skip
            n += 1
            ids, labels = encode(example, self.tokenizer)
            positions: Sequence = range(len(ids))
            if self.vision:
                ids, labels, positions = self.vision.spread(ids, labels)
            free = next((k for k, block in enumerate(blocks) if len(block) + len(ids) <= length), None)
            if free is None:
                self.too_long += len(ids) > length
                failed += 1
                continue
            blocks[free] += zip(ids, labels, positions, strict=True)
            shown[free] += images.keys(example.chat)
        for block in blocks:
            block += [(self.tokenizer.pad_token_id, -100, (place,) * 4 if self.vision else place)
                      for place in range(length)]  # fmt: skip
        step = {name: torch.tensor([[token[k] for token in block[:length]] for block in blocks])
                for k, name in enumerate(("input_ids", "labels", "position_ids"))}  # fmt: skip
        if self.vision:
            step["position_ids"] = step["position_ids"].permute(2, 0, 1)
            step |= images.tensors([key for keys in shown for key in keys], self.vision.config)
        return step
