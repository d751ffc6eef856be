"""The `transformers` engine: batched generation on any device, with each shared prefix computed once.

Neighbouring chats whose prompts start alike (the agents of a problem) form a group.  The common prefix of a group is
run through the network once, and all members get its keys and values; then `generate` decodes the whole batch.

With `drop_finished`, decoding halts whenever half of the rows have ended and continues with the others, so the cost of
a batch is that of its tokens, not its number of rows times its longest reply.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import DynamicCache, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from agentark import params, store
from agentark.models import load as models

from . import Chat, Completion, Sampling, tokens
from .attention import grouped_sdpa
from .batching import LEAST_PREFIX, batches, common_length, group_by_prefix, prefix_length

Ids = list[int]  # of tokens


class HalfEnded(StoppingCriteria):
    """Halts a batch as soon as half of its rows have ended.  Use a new one for each batch."""

    def __init__(self, ends: list[int]):
        self.ends = torch.tensor(ends)
        self.ended: torch.Tensor | None = None  # (B,)

    def __call__(self, input_ids: torch.Tensor, scores, **kwargs) -> torch.Tensor:
        """input_ids: (B, T) including the latest token.  Returns (B,), all True if the batch halts."""
        ends = torch.isin(input_ids[:, -1], self.ends.to(input_ids.device))
        self.ended = ends if self.ended is None else self.ended | ends
        return torch.full_like(self.ended, bool(2 * self.ended.sum() >= len(self.ended)))


class TransformersEngine:
    """Generates with a Hugging Face causal language model in this process."""

    name = "transformers"

    def __init__(self, model: str, config: params.Engine):
        network, tokenizer = models.load(model, config.dtype or "float32")
        self._use(network, tokenizer, config)

    @classmethod
    def around(cls, model, tokenizer, config: params.Engine) -> TransformersEngine:
        """An engine with a network that is already in memory, such as one in training."""
        engine = cls.__new__(cls)
        engine._use(model, tokenizer, config)
        return engine

    def _use(self, model, tokenizer, config: params.Engine) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.model.set_attn_implementation(grouped_sdpa.__name__)
        self.config = config
        self.context = self.model.config.get_text_config().max_position_embeddings
        self.ends = tokens.end_tokens(self.tokenizer, self.model.generation_config.eos_token_id)

    def generate(self, chats: Sequence[Chat], sampling: Sampling, seed: int) -> list[Completion]:
        """See `Engine.generate`.  Batches consist of whole groups, long prompts first."""
        texts = tokens.prompt_texts(self.tokenizer, chats)
        prompts = [tokens.encode(self.tokenizer, text) for text in texts]
        tokens.check_lengths(self.tokenizer, prompts, sampling, self.context)
        if sampling.choices:
            return self._choose(texts, prompts, sampling, seed)
        groups = [[index] for index in range(len(prompts))]
        if self.config.share_prefix:
            groups = group_by_prefix(prompts, self.config.batch or 1)
        groups.sort(key=lambda group: -max(len(prompts[index]) for index in group))
        completions: dict[int, Completion] = {}
        for number, batch in enumerate(batches(groups, self.config.batch or 1)):
            torch.manual_seed(store.chunk_seed(seed, number))
            completions.update(self._batch(batch, prompts, sampling))
        return [completions[index] for index in range(len(prompts))]

    @torch.inference_mode()
    def _batch(self, groups: list[list[int]], prompts: list[list[int]], sampling: Sampling) -> dict[int, Completion]:
        """The completions of one batch of groups, by prompt index."""
        order = [index for group in groups for index in group]
        lengths = [prefix_length([prompts[index] for index in group]) for group in groups]
        pairs = zip(lengths, groups, strict=True)
        shared = [length if len(group) > 1 and length >= LEAST_PREFIX else 0 for length, group in pairs]
        # G groups, B sequences, P prefix positions, S suffix positions; both parts are padded on the left.
        suffixes = [prompts[index][length:] for length, group in zip(shared, groups, strict=True) for index in group]
        suffix_BS, suffix_mask_BS = self._pad(suffixes)
        cache, ids, mask = None, suffix_BS, suffix_mask_BS
        if max(shared):
            prefixes = [prompts[group[0]][:length] for length, group in zip(shared, groups, strict=True)]
            prefix_GP, prefix_mask_GP, cache, member = self._prefill(prefixes, groups)
            ids = torch.cat([prefix_GP[member], suffix_BS], dim=1)
            mask = torch.cat([prefix_mask_GP[member], suffix_mask_BS], dim=1)
        replies, logprobs = self._decode(ids, mask, cache, sampling)
        cached = [
            0 if index == group[0] else length for length, group in zip(shared, groups, strict=True) for index in group
        ]
        completions = {}
        for row, index in enumerate(order):
            reply, logs = replies[row], logprobs[row] if sampling.logprobs else None
            prompt_tokens = len(prompts[index])
            completions[index] = tokens.completion(self.tokenizer, self.ends, reply, prompt_tokens, cached[row], logs)
        return completions

    def _prefill(self, prefixes: list[list[int]], groups: list[list]):
        """Run one prefix per group through the network.

        Returns the prefixes (G, P), their mask (G, P), a cache with one row per member of a group, and the group of
        each member (B,).
        """
        prefix_GP, mask_GP = self._pad(prefixes)
        member = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=self.model.device)
        cache = DynamicCache(config=self.model.config)
        self._forward(prefix_GP, mask_GP, cache, keep=1)
        cache.batch_select_indices(member)
        return prefix_GP, mask_GP, cache, member

    def _decode(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache | None,
                sampling: Sampling) -> tuple[list[list[int]], list[list[float]]]:  # fmt: skip
        """The replies to all rows of `ids` (B, T) as token ids, including any after the end, and log-probabilities.

        The lists of log-probabilities are empty unless `sampling` requests them.
        """
        replies: list[list[int]] = [[] for _ in ids]
        logprobs: list[list[float]] = [[] for _ in ids]
        rows = list(range(len(ids)))  # those that continue, in the order of `ids`, `mask` and `cache`
        while rows:
            if hasattr(self.model.base_model, "rope_deltas"):  # Qwen2.5-VL keeps the image offsets of the last batch
                self.model.base_model.rope_deltas = None
            halts = StoppingCriteriaList([HalfEnded(self.ends)] if self.config.drop_finished and len(rows) > 1 else [])
            left = sampling.max_new_tokens - len(replies[rows[0]])
            config = self._generation_config(sampling, left)
            out = self.model.generate(ids, attention_mask=mask, past_key_values=cache, stopping_criteria=halts,
                                      generation_config=config)  # fmt: skip
            new_BT = out.sequences[:, ids.shape[1] :]
            if sampling.logprobs:
                logprobs_BTV = torch.stack(out.logits, dim=1).float().log_softmax(-1)
                chosen_BT = logprobs_BTV.gather(-1, new_BT.unsqueeze(-1)).squeeze(-1)
            for position, row in enumerate(rows):
                replies[row] += new_BT[position].tolist()
                logprobs[row] += chosen_BT[position].tolist() if sampling.logprobs else []
            ended = [set(self.ends) & set(reply) for reply in new_BT.tolist()]
            is_full = [len(replies[row]) >= sampling.max_new_tokens for row in rows]
            unfinished = [position for position in range(len(rows)) if not ended[position] and not is_full[position]]
            rows = [rows[position] for position in unfinished]
            if rows:
                ids, cache = out.sequences[unfinished], out.past_key_values
                mask = torch.cat([mask, torch.ones_like(new_BT)], dim=1)[unfinished]
                cache.batch_select_indices(torch.tensor(unfinished, device=ids.device))
        return replies, logprobs

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, keep: int = 0) -> torch.Tensor:
        """Logits of `ids` (B, T), which continue the cache; `mask` covers both.  Only the last `keep`, or 0 for all."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                          logits_to_keep=keep).logits  # fmt: skip

    def _choose(self, texts: list[str], prompts: list[list[int]], sampling: Sampling, seed: int) -> list[Completion]:
        """The likeliest choice for each prompt, or one sampled from the softmax of the choices' scores."""
        choices = sampling.choices or ()
        rows = [[tokens.encode(self.tokenizer, text + choice) for choice in choices] for text in texts]
        groups = [[(index, k) for k in range(len(choices))] for index in range(len(texts))]
        completions: dict[int, Completion] = {}
        for number, batch in enumerate(batches(groups, self.config.batch or 1)):
            torch.manual_seed(store.chunk_seed(seed, number))
            for index, scored in self._score(batch, rows, prompts, choices).items():
                scores = torch.tensor([score for score, _ in scored], dtype=torch.float64)
                if sampling.temperature == 0:
                    k = int(scores.argmax())
                else:
                    k = int(torch.multinomial((scores / sampling.temperature).softmax(0), 1))
                logprobs = scored[k][1]
                length = len(rows[index][k]) - len(logprobs)
                completions[index] = Completion(
                    text=choices[k], token_ids=tuple(rows[index][k][length:]), finish="stop", tokens_in=length,
                    tokens_cached=0, tokens_out=len(logprobs), logprobs=tuple(logprobs) if sampling.logprobs else None,
                )  # fmt: skip
        return [completions[index] for index in range(len(texts))]

    @torch.inference_mode()
    def _score(self, groups: list[list[tuple[int, int]]], rows: list[list[Ids]], prompts: list[Ids],
               choices: tuple[str, ...]) -> dict[int, list[tuple[float, list[float]]]]:  # fmt: skip
        """For each prompt of the batch and each choice: its score, and the log-probabilities of its tokens.

        `rows` are the tokens of prompt and choice together, because a choice may change how the end of the prompt is
        cut into tokens; the score counts from the first token that the choices do not have in common.  The common part
        is computed once.  A choice that another one starts with is scored with the end of the reply: it would always
        win otherwise.
        """
        order = [pair for group in groups for pair in group]
        starts = {i: min(common_length([*rows[i], prompts[i]]), min(map(len, rows[i])) - 1) for (i, _), *_ in groups}
        prefixes = [prompts[i][: starts[i] - 1] for (i, _), *_ in groups]
        suffix_BS, suffix_mask_BS = self._pad([rows[i][k][starts[i] - 1 :] for i, k in order])
        _, prefix_mask_GP, cache, member = self._prefill(prefixes, groups)
        mask = torch.cat([prefix_mask_GP[member], suffix_mask_BS], dim=1)
        logprobs_BSV = self._forward(suffix_BS, mask, cache).float().log_softmax(-1)
        scored: dict[int, list[tuple[float, list[float]]]] = {}
        for row, (i, k) in enumerate(order):
            length = len(rows[i][k]) - starts[i]
            logprobs = logprobs_BSV[row, -length - 1 : -1].gather(-1, suffix_BS[row, -length:, None])[:, 0].tolist()
            is_prefix = any(other != choices[k] and other.startswith(choices[k]) for other in choices)
            end = float(logprobs_BSV[row, -1, self.ends].logsumexp(-1)) if is_prefix else 0.0
            scored.setdefault(i, []).append((sum(logprobs) + end, logprobs))
        return scored

    def _generation_config(self, sampling: Sampling, max_new_tokens: int) -> GenerationConfig:
        greedy = sampling.temperature == 0
        shape = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return GenerationConfig(
            do_sample=not greedy, **(dict.fromkeys(shape) if greedy else shape), max_new_tokens=max_new_tokens,
            eos_token_id=self.ends, pad_token_id=self.tokenizer.pad_token_id, return_dict_in_generate=True,
            output_logits=sampling.logprobs,
        )  # fmt: skip

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of token ids, padded on the left, and their mask, which never depends on the id of the pad token."""
        width = max(len(row) for row in rows)
        ids = [[self.tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.model.device), torch.tensor(mask, device=self.model.device)
