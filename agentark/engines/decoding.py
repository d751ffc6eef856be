"""Decoding of a continuous batch: rows that have ended leave it at once, and waiting prompts take their slots.

A row is a prompt with its reply.  Its keys and values lie in a slot of the cache, from place 0 on, and each forward
pass decodes one token of every row.  Once an eighth of the slots is free, waiting prompts are prefilled together: all
their tokens but the last, which is the first to be decoded.  The prefix that the prompts of a group have in common is
computed once, in the slot of the first of them, and copied to the others.

A row's tokens follow from the network, its prompt and its own random numbers, one for each token.  The other rows and
the number of slots change nothing but the rounding of sums.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import Cache

from . import EngineError, Sampling
from .images import Sight

FREE = 8  # prefill, or close the gaps, as soon as one slot in so many is free
BLOCK = 64  # places by which the slots grow
PREFILL = 2048  # tokens of a forward pass over prompts: more do not make it faster, and take more memory


@dataclass
class Row:
    """A prompt, the number of its group, and its reply with the number of tokens of the prompt that were copied.

    All prompts of a group start with the same `shared` tokens, not counting their last one, and the same pictures.
    """

    prompt: list[int]
    group: int
    shared: int
    seed: int
    sight: Sight | None = None
    reply: list[int] = field(default_factory=list)
    logprobs: list[float] | None = None
    cached: int = 0


def decode(model, rows: Sequence[Row], sampling: Sampling, ends: list[int], slots: int) -> None:
    """Fill in the replies of rows, `slots` of them at a time, in their order; those of a group are neighbours.

    A reply ends with one of the tokens `ends`, or has max_new_tokens tokens.  Log-probabilities are filled in if
    `sampling` requests them.  Raises EngineError for a network with layers other than full and sliding attention.
    """
    Batch(model, rows, sampling, ends, min(slots, len(rows))).run()


def sample(logits_BV: torch.Tensor, sampling: Sampling, uniform_B: torch.Tensor) -> torch.Tensor:
    """The next tokens (B,): the likeliest, or those at which the cumulated probability exceeds the random numbers.

    With top_p, tokens are cumulated from the likeliest on and the random numbers scaled to the mass of the nucleus.
    """
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    p_BV = (logits_BV.float() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        p_BV, order_BV = p_BV.sort(-1, descending=True)
        mass_BV = p_BV.cumsum(-1, dtype=torch.float64)
        last_B1 = (mass_BV < sampling.top_p).sum(-1, keepdim=True).clamp(max=mass_BV.shape[-1] - 1)
        number_B1 = uniform_B[:, None] * mass_BV.gather(-1, last_B1)
        return order_BV.gather(-1, torch.searchsorted(mass_BV, number_B1, right=True))[:, 0]
    # Cumulating a whole vocabulary is slow: blocks of it are, and then the block in which the number falls.
    width = math.gcd(p_BV.shape[-1], 64)
    p_BNW = p_BV.unflatten(-1, (-1, width))
    block_BN = p_BNW.sum(-1).double()
    mass_BN = block_BN.cumsum(-1)
    number_B1 = uniform_B[:, None] * mass_BN[:, -1:]
    n_B1 = torch.searchsorted(mass_BN, number_B1, right=True)
    share_B1 = 1 - ((mass_BN - number_B1) / block_BN).gather(-1, n_B1)  # of the block, up to the number
    mass_BW = p_BNW[torch.arange(len(p_BV), device=p_BV.device), n_B1[:, 0]].cumsum(-1, dtype=torch.float64)
    return (n_B1 * width + torch.searchsorted(mass_BW, share_B1 * mass_BW[:, -1:], right=True))[:, 0]


class Slots(Cache):
    """The keys and values of a batch, (slots, KV heads, places, D) for each layer, which grow as needed.

    `at` says for the next forward pass in which slots its rows lie, at which places their tokens, and how many places
    they see.
    """

    def __init__(self, slots: int, device: torch.device):
        super().__init__(layers=[])
        self.device, self.numbers = device, torch.arange(slots, device=device)
        self.states: list[list[torch.Tensor]] = []  # keys and values of each layer
        self.places = 0

    def at(self, slots: slice | torch.Tensor, places_BT: torch.Tensor, length: int) -> None:
        if length >= self.places:  # one more than is seen: there, padding may be written
            self.places = length + max(BLOCK, length // 8)
            for layer in self.states:
                more = (0, 0, 0, self.places - layer[0].shape[2])
                layer[:] = [torch.nn.functional.pad(state, more) for state in layer]
        self.slots, self.length = slots, length
        self.index = self.numbers[slots][:, None], slice(None), places_BT

    def update(self, key_states, value_states, layer_idx: int, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the keys and values (B, KV, T, D) of a layer; return all that the rows see, (B, KV, length, D)."""
        if layer_idx == len(self.states):  # zeros, since a masked place must not be NaN
            self.states.append([new.new_zeros(len(self.numbers), new.shape[1], self.places, new.shape[3])
                                for new in (key_states, value_states)])  # fmt: skip
        keys, values = self.states[layer_idx]
        keys[self.index] = key_states.transpose(1, 2)
        values[self.index] = value_states.transpose(1, 2)
        return keys[self.slots, :, : self.length], values[self.slots, :, : self.length]

    def copy(self, sources: Sequence[int], targets: Sequence[int], length: int) -> None:
        """Copy the first `length` places of some slots to others."""
        source, target = (torch.as_tensor(slots, dtype=torch.long, device=self.device) for slots in (sources, targets))
        for layer in self.states:
            for state in layer:
                state[target, :, :length] = state[source, :, :length]


class Batch:
    """The rows that are decoded now, each in its slot, and those that wait.

    The arrays have one entry, or one line of max_new_tokens entries, for each slot.  Slots from `used` on are free; a
    free slot before it is decoded along, at place 0, where it sees only itself.
    """

    def __init__(self, model, rows: Sequence[Row], sampling: Sampling, ends: list[int], slots: int):
        self.model, self.rows, self.sampling, self.ends = model, rows, sampling, np.array(ends)
        self.waiting = deque(range(len(rows)))
        self.slots, self.used, self.dtype = slots, 0, model.dtype
        self.cache = Slots(slots + 1, model.device)  # in the last one lies the prefix of a group of which rows wait
        self.partial: int | None = None  # that group
        self.row = np.full(slots, -1)  # number of the row in a slot, -1 in a free one
        # the last token, its place, and the length of the reply
        self.token, self.place, self.count = np.zeros((3, slots), dtype=np.int64)
        self.delta = np.zeros(slots, dtype=np.int64)  # the position of the last token less its place
        self.reply = np.zeros((slots, sampling.max_new_tokens), dtype=np.int64)
        self.logprob, self.uniform = np.zeros((2, *self.reply.shape))
        config = model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or [])
        self.window = config.sliding_window if "sliding_attention" in kinds else None
        if unknown := kinds - {"full_attention", "sliding_attention"}:
            raise EngineError(f"the transformers engine cannot decode layers of the kind {min(unknown)}: use another "
                              "engine, vllm or openai")  # fmt: skip

    @torch.inference_mode()
    def run(self) -> None:
        while self.waiting or (self.row >= 0).any():
            if self.waiting and FREE * int((self.row < 0).sum()) >= self.slots:
                self.fill()
            if not self.waiting and FREE * int((self.row[: self.used] < 0).sum()) >= self.used:
                self.close_gaps()
            self.step()

    def fill(self) -> None:
        """Prefill waiting rows into the free slots."""
        source = {} if self.partial is None else {self.partial: self.slots}  # slot of the prefix, by group
        prefixes, copies, rests = [], [], []
        for slot in np.flatnonzero(self.row < 0)[: len(self.waiting)].tolist():
            number = self.waiting.popleft()
            row = self.rows[number]
            if row.group in source:
                row.cached = row.shared
                copies.append((source[row.group], slot, row.shared))
            else:
                source[row.group] = slot
                prefixes.append((row.prompt[: row.shared], slot, 0))
            rests.append((row.prompt[row.shared : -1], slot, row.shared))
            self.row[slot], self.token[slot], self.place[slot] = number, row.prompt[-1], len(row.prompt) - 1
            self.delta[slot] = row.sight.delta if row.sight else 0
            self.uniform[slot] = np.random.default_rng(row.seed).random(self.sampling.max_new_tokens)
        following = self.rows[self.waiting[0]] if self.waiting else None
        self.partial = following.group if following and following.group in source else None
        if following and self.partial is not None and source[self.partial] < self.slots:
            copies.append((source[self.partial], self.slots, following.shared))
        self.prefill(prefixes)
        if copies:
            sources, targets, lengths = zip(*copies, strict=True)
            self.cache.copy(sources, targets, max(lengths))
        self.prefill(rests)
        self.used = int(np.flatnonzero(self.row >= 0)[-1]) + 1

    def prefill(self, texts: list[tuple[list[int], int, int]]) -> None:
        """Compute the keys and values of texts: token ids, slot, place of the first token."""
        texts = sorted((text for text in texts if text[0]), key=lambda text: -len(text[0]))
        device = self.cache.device
        while texts:
            width = len(texts[0][0])
            n = max(1, PREFILL // width)
            part, texts = texts[:n], texts[n:]
            ids, slots, starts = zip(*part, strict=True)
            length = max(len(text) + start for text, _, start in part)
            ids_BT = torch.tensor([text + [0] * (width - len(text)) for text in ids], device=device)
            places_BT = torch.tensor(starts, device=device)[:, None] + torch.arange(width, device=device)
            # No token sees the padding on its right, and decoding overwrites it before it is seen.
            places_BT = places_BT.clamp(max=length)
            seen = self.see(ids_BT, places_BT, slots, [len(text) for text in ids])
            self.forward(seen or {"input_ids": ids_BT}, torch.tensor(slots, device=device), places_BT, length)

    def see(self, ids_BT: torch.Tensor, places_BT: torch.Tensor, slots: Sequence[int],
            lengths: Sequence[int]) -> dict[str, torch.Tensor]:  # fmt: skip
        """The embeddings and positions of texts with pictures, of which the last ones are padded; {} if there are none.

        A text is a part of the prompt of the row in its slot.
        """
        sights = [self.rows[self.row[slot]].sight for slot in slots]
        if not any(sights):
            return {}
        embeddings_BTD = self.model.get_input_embeddings()(ids_BT)
        positions_3BT = places_BT.expand(3, -1, -1).clone()
        for b, (sight, start, length) in enumerate(zip(sights, places_BT[:, 0].tolist(), lengths, strict=True)):
            if sight:
                positions_3BT[:, b, :length] = sight.positions_3L[:, start : start + length]
                inside = (sight.places_n >= start) & (sight.places_n < start + length)
                features = sight.features_nD[inside].to(embeddings_BTD.dtype)
                embeddings_BTD[b, sight.places_n[inside] - start] = features
        return {"inputs_embeds": embeddings_BTD, "position_ids": positions_3BT}

    def step(self) -> None:
        """Decode one token of each row; rows that end with it free their slots."""
        n, device = self.used, self.cache.device
        active, all_slots = self.row[:n] >= 0, np.arange(n)
        ids_B1, places_B1 = (torch.from_numpy(array[:n, None]).to(device) for array in (self.token, self.place))
        inputs = {"input_ids": ids_B1}
        if self.delta[:n].any():
            inputs["position_ids"] = places_B1 + torch.from_numpy(self.delta[:n, None]).to(device)
        logits_BV = self.forward(inputs, slice(0, n), places_B1, int(self.place[:n].max()) + 1)
        uniform_B = torch.from_numpy(self.uniform[all_slots, self.count[:n]]).to(device)
        token_B = sample(logits_BV, self.sampling, uniform_B)
        if self.sampling.logprobs:
            logprob_B1 = logits_BV.float().log_softmax(-1).gather(-1, token_B[:, None])
            self.logprob[all_slots, self.count[:n]] = logprob_B1[:, 0].cpu().numpy()
        self.token[:n] = token_B.cpu().numpy()
        self.reply[all_slots, self.count[:n]] = self.token[:n]
        self.count[:n] += active
        self.place[:n] += active
        is_full = self.count[:n] == self.sampling.max_new_tokens
        for slot in np.flatnonzero(active & (is_full | (self.token[:n, None] == self.ends).any(-1))):
            row, length = self.rows[self.row[slot]], self.count[slot]
            row.reply = self.reply[slot, :length].tolist()
            row.logprobs = self.logprob[slot, :length].tolist() if self.sampling.logprobs else None
            self.row[slot], self.place[slot], self.count[slot], self.delta[slot] = -1, 0, 0, 0

    def close_gaps(self) -> None:
        """Move the last rows into the free slots before them, so that the rows are the first slots."""
        rows = np.flatnonzero(self.row >= 0)
        n = len(rows)
        gaps, moved = np.flatnonzero(self.row[:n] < 0), rows[rows >= n]
        self.cache.copy(moved.tolist(), gaps.tolist(), int(self.place[moved].max(initial=0)))
        for array in (self.row, self.token, self.place, self.count, self.delta, self.reply, self.logprob, self.uniform):
            array[gaps] = array[moved]
        self.row[moved] = -1
        self.used = n

    def forward(self, inputs: dict[str, torch.Tensor], slots: slice | torch.Tensor, places_BT: torch.Tensor,
                length: int) -> torch.Tensor:  # fmt: skip
        """Logits (B, V) after the last token of each row.  A token sees the places up to its own, below `length`.

        `inputs` are token ids or embeddings, and positions if they differ from the places.
        """
        self.cache.at(slots, places_BT, length)
        key_L, query_B1T1 = torch.arange(length, device=self.cache.device), places_BT[:, None, :, None]
        masks = {"full_attention": key_L > query_B1T1}
        if self.window is not None:
            masks["sliding_attention"] = masks["full_attention"] | (key_L <= query_B1T1 - self.window)
        masks = {kind: torch.where(mask, -torch.inf, 0.0).to(self.dtype) for kind, mask in masks.items()}
        mask = masks["full_attention"] if self.window is None else masks
        return self.model(**{"position_ids": places_BT, **inputs}, attention_mask=mask, past_key_values=self.cache,
                          use_cache=True, logits_to_keep=1).logits[:, -1]  # fmt: skip
