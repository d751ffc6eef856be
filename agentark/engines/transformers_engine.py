"""The `transformers` engine: batched generation on any device, with each shared prefix computed once.

Neighbouring chats whose prompts begin alike (the agents of a problem) form a group.  The group's common prefix is run through
the network once and its keys and values are handed to all members; then the whole batch is decoded by `generate`.

With `drop_finished`, decoding halts whenever half of the rows have ended, and goes on with the others: a batch costs what its tokens
cost, not its rows times its longest reply.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    GenerationConfig,
    StoppingCriteria,
    StoppingCriteriaList,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from agentark import params, store
from agentark.models import load as models

from . import Chat, Completion, Sampling, tokens


def grouped_sdpa(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
    """Scaled dot-product attention that, when decoding one token, does not copy keys and values for each query head.

    query (B, H, 1, D), key and value (B, KV, L, D): the H / KV heads that share a key stand in the place of query positions.
    Returns (B, 1, H, D).  Anything else is transformers' own.
    """
    b, h, t, d = query.shape
    if t > 1 or key.shape[1] == h:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    out = torch.nn.functional.scaled_dot_product_attention(
        query.view(b, key.shape[1], -1, d), key, value, attn_mask=attention_mask, scale=scaling
    )
    return out.reshape(b, h, 1, d).transpose(1, 2), None


AttentionInterface.register("grouped_sdpa", grouped_sdpa)
AttentionMaskInterface.register("grouped_sdpa", sdpa_mask)

LEAST_PREFIX = 16  # tokens: sharing less does not pay for the extra forward pass


class HalfEnded(StoppingCriteria):
    """Halts a batch as soon as half of its rows have ended; one batch long."""

    def __init__(self, ends: list[int]):
        self.ends, self.ended = torch.tensor(ends), None

    def __call__(self, input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        """input_ids (B, T) with the token just made; returns (B,), all True where the batch halts."""
        ends = torch.isin(input_ids[:, -1], self.ends.to(input_ids.device))
        self.ended = ends if self.ended is None else self.ended | ends
        return torch.full_like(self.ended, bool(2 * self.ended.sum() >= len(self.ended)))


class TransformersEngine:
    """Generates with a Hugging Face causal language model in this process."""

    name = "transformers"

    def __init__(self, model: str, told: params.Engine):
        self._use(*models.load(model, told.dtype), told)

    @classmethod
    def around(cls, model, tokenizer, told: params.Engine) -> TransformersEngine:
        """An engine on a network that is there already, such as one in training."""
        made = cls.__new__(cls)
        made._use(model, tokenizer, told)
        return made

    def _use(self, model, tokenizer, told: params.Engine) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.model.set_attn_implementation("grouped_sdpa")
        self.told = told
        self.context = self.model.config.get_text_config().max_position_embeddings
        self.ends = tokens.end_tokens(self.tokenizer, self.model.generation_config.eos_token_id)

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  Batches are made of whole groups, long prompts first."""
        texts = tokens.prompt_texts(self.tokenizer, chats)
        prompts = [tokens.encode(self.tokenizer, text) for text in texts]
        tokens.check_rooms(self.tokenizer, prompts, sampling, self.context)
        if sampling.choices:
            return self._choose(texts, prompts, sampling, seed)
        groups = (
            group_by_prefix(prompts, self.told.batch) if self.told.share_prefix else [[n] for n in range(len(prompts))]
        )
        groups.sort(key=lambda group: -max(len(prompts[n]) for n in group))
        done: dict[int, Completion] = {}
        for number, batch in enumerate(_batches(groups, self.told.batch)):
            torch.manual_seed(store.chunk_seed(seed, number))
            done.update(self._batch(batch, prompts, sampling))
        return [done[n] for n in range(len(prompts))]

    @torch.inference_mode()
    def _batch(self, groups: list[list[int]], prompts: list[list[int]], sampling: Sampling) -> dict[int, Completion]:
        """Generate for one batch of groups.  Returns completions by prompt number."""
        order = [n for group in groups for n in group]
        prefixes = [_common_prefix([prompts[n] for n in group]) for group in groups]
        shared = [length if len(group) > 1 and length >= LEAST_PREFIX else 0 for length, group in zip(prefixes, groups)]
        # B sequences, P prefix positions, S suffix positions; both parts are padded on the left.
        suffixes = [prompts[n][length:] for length, group in zip(shared, groups) for n in group]
        suffix_BS, suffix_mask_BS = self._pad(suffixes)
        cache, ids, mask = None, suffix_BS, suffix_mask_BS
        if max(shared):
            prefix_GP, prefix_mask_GP = self._pad([prompts[group[0]][:length] for length, group in zip(shared, groups)])
            member = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=self.model.device)
            cache = DynamicCache(config=self.model.config)
            self._forward(prefix_GP, prefix_mask_GP, cache, keep=1)
            cache.batch_select_indices(member)
            ids = torch.cat([prefix_GP[member], suffix_BS], dim=1)
            mask = torch.cat([prefix_mask_GP[member], suffix_mask_BS], dim=1)
        replies, logprobs = self._decode(ids, mask, cache, sampling)
        cached = [0 if n == group[0] else length for length, group in zip(shared, groups) for n in group]
        return {
            n: tokens.completion(
                self.tokenizer,
                self.ends,
                replies[row],
                len(prompts[n]),
                cached[row],
                logprobs[row] if sampling.logprobs else None,
            )
            for row, n in enumerate(order)
        }

    def _decode(
        self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache | None, sampling: Sampling
    ) -> tuple[list[list[int]], list[list[float]]]:
        """The replies of all rows of `ids` (B, T), as token ids, what follows an end included; and, where asked for, their log-probabilities."""
        replies: list[list[int]] = [[] for _ in ids]
        logprobs: list[list[float]] = [[] for _ in ids]
        rows = list(range(len(ids)))  # those that go on, as `ids`, `mask` and `cache` have them
        while rows:
            if hasattr(self.model.base_model, "rope_deltas"):
                self.model.base_model.rope_deltas = (
                    None  # Qwen2.5-VL keeps the last batch's image offsets; text has none
                )
            halts = StoppingCriteriaList([HalfEnded(self.ends)] if self.told.drop_finished and len(rows) > 1 else [])
            out = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                stopping_criteria=halts,
                generation_config=self._config(sampling, sampling.max_new_tokens - len(replies[rows[0]])),
            )
            made_BT = out.sequences[:, ids.shape[1] :]
            if sampling.logprobs:
                chosen_BT = (
                    torch.stack(out.logits, dim=1).float().log_softmax(-1).gather(-1, made_BT.unsqueeze(-1)).squeeze(-1)
                )
            for at, row in enumerate(rows):
                replies[row] += made_BT[at].tolist()
                logprobs[row] += chosen_BT[at].tolist() if sampling.logprobs else []
            left = [
                at
                for at, row in enumerate(rows)
                if len(replies[row]) < sampling.max_new_tokens and not set(self.ends) & set(made_BT[at].tolist())
            ]
            rows = [rows[at] for at in left]
            if rows:
                ids, mask, cache = (
                    out.sequences[left],
                    torch.cat([mask, torch.ones_like(made_BT)], dim=1)[left],
                    out.past_key_values,
                )
                cache.batch_select_indices(torch.tensor(left, device=ids.device))
        return replies, logprobs

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, keep: int = 0) -> torch.Tensor:
        """Logits of `ids`, which go on from the cache; `mask` (cache and ids) says what is padding.  `keep` positions of them, 0 for all."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(
            ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=keep
        ).logits

    def _choose(self, texts: list[str], prompts: list[list[int]], sampling: Sampling, seed: int) -> list[Completion]:
        """For each prompt the choice that is the likeliest continuation, or one sampled from the softmax of the choices' scores."""
        rows = [[tokens.encode(self.tokenizer, text + choice) for choice in sampling.choices] for text in texts]
        groups = [[(n, k) for k in range(len(sampling.choices))] for n in range(len(texts))]
        done: dict[int, Completion] = {}
        for number, batch in enumerate(_batches(groups, self.told.batch)):
            torch.manual_seed(store.chunk_seed(seed, number))
            for n, scored in self._score(batch, rows, prompts, sampling.choices).items():
                scores = torch.tensor([score for score, _ in scored], dtype=torch.float64)
                best = (
                    scores.argmax()
                    if sampling.temperature == 0
                    else torch.multinomial((scores / sampling.temperature).softmax(0), 1)
                )
                k = int(best)
                logprobs = scored[k][1]
                length = len(rows[n][k]) - len(logprobs)
                done[n] = Completion(
                    sampling.choices[k],
                    tuple(rows[n][k][length:]),
                    "stop",
                    length,
                    0,
                    len(logprobs),
                    tuple(logprobs) if sampling.logprobs else None,
                )
        return [done[n] for n in range(len(texts))]

    @torch.inference_mode()
    def _score(
        self,
        groups: list[list[tuple[int, int]]],
        rows: list[list[list[int]]],
        prompts: list[list[int]],
        choices: tuple[str, ...],
    ) -> dict[int, list[tuple[float, list[float]]]]:
        """For each prompt of the batch and each of its choices: the score and the log-probabilities of the choice's tokens.

        `rows` are the tokens of prompt and choice together, since a choice may change how the prompt's end is cut into tokens; the
        score counts from the first token that is not common to all.  What is common is computed once.  A choice that begins another
        is scored with its end, or it would always win.
        """
        order = [row for group in groups for row in group]
        starts = {n: min(_common([*rows[n], prompts[n]]), min(map(len, rows[n])) - 1) for (n, _), *_ in groups}
        prefix_GP, prefix_mask_GP = self._pad([prompts[n][: starts[n] - 1] for (n, _), *_ in groups])
        suffix_BS, suffix_mask_BS = self._pad([rows[n][k][starts[n] - 1 :] for n, k in order])
        member = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=self.model.device)
        cache = DynamicCache(config=self.model.config)
        self._forward(prefix_GP, prefix_mask_GP, cache, keep=1)
        cache.batch_select_indices(member)
        logprobs_BSV = (
            self._forward(suffix_BS, torch.cat([prefix_mask_GP[member], suffix_mask_BS], dim=1), cache)
            .float()
            .log_softmax(-1)
        )
        found: dict[int, list[tuple[float, list[float]]]] = {}
        for row, (n, k) in enumerate(order):
            length = len(rows[n][k]) - starts[n]
            logprobs = logprobs_BSV[row, -length - 1 : -1].gather(-1, suffix_BS[row, -length:, None])[:, 0].tolist()
            begins = any(other != choices[k] and other.startswith(choices[k]) for other in choices)
            end = float(logprobs_BSV[row, -1, self.ends].logsumexp(-1)) if begins else 0.0
            found.setdefault(n, []).append((sum(logprobs) + end, logprobs))
        return found

    def _config(self, sampling: Sampling, most: int) -> GenerationConfig:
        greedy = sampling.temperature == 0
        return GenerationConfig(
            do_sample=not greedy,
            temperature=None if greedy else sampling.temperature,
            top_p=None if greedy else sampling.top_p,
            top_k=None if greedy else 0,
            max_new_tokens=most,
            eos_token_id=self.ends,
            pad_token_id=self.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=sampling.logprobs,
        )

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of token ids, padded on the left, and their mask; the mask never depends on the pad token's id."""
        width = max(len(row) for row in rows)
        ids = [[self.tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.model.device), torch.tensor(mask, device=self.model.device)


def _common(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with alike."""
    first, last = min(prompts), max(prompts)  # in lexical order these two differ earliest
    return next((k for k, (a, b) in enumerate(zip(first, last)) if a != b), min(len(first), len(last)))


def _common_prefix(prompts: list[list[int]]) -> int:
    """What all prompts begin with alike, leaving each at least one token of its own to go on from."""
    return min(_common(prompts), min(map(len, prompts)) - 1)


def group_by_prefix(prompts: list[list[int]], most: int) -> list[list[int]]:
    """Neighbours that share at least half of what their group shares so far, at most `most` to a group."""
    groups: list[list[int]] = []
    shared = 0
    for n, prompt in enumerate(prompts):
        if groups and len(groups[-1]) < most:
            together = _common_prefix([prompts[groups[-1][0]][: shared + 1], prompt])
            if together >= max(LEAST_PREFIX, shared // 2):
                groups[-1].append(n)
                shared = together
                continue
        groups.append([n])
        shared = len(prompt)
    return groups


def _batches(groups: list[list[int]], most: int):
    """Groups packed, in order, into batches of at most `most` sequences."""
    batch: list[list[int]] = []
    size = 0
    for group in groups:
        if batch and size + len(group) > most:
            yield batch
            batch, size = [], 0
        batch.append(group)
        size += len(group)
    if batch:
        yield batch
