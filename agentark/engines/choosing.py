"""Replies that are one of several given texts: each is scored by a forward pass over prompt and text."""

from __future__ import annotations

import torch
from transformers import DynamicCache

from agentark import store

from . import Completion, Sampling, tokens
from .batching import batches, common_length

Ids = list[int]  # of tokens


class Chooser:
    """Scores choices with a network, `batch` texts at a time; `ends` are the tokens that end a reply."""

    def __init__(self, model, tokenizer, ends: list[int], batch: int):
        self.model, self.tokenizer, self.ends, self.batch = model, tokenizer, ends, batch

    def choose(self, texts: list[str], prompts: list[Ids], sampling: Sampling, seed: int) -> list[Completion]:
        """The likeliest choice for each prompt, or one sampled from the softmax of the choices' scores."""
        choices = sampling.choices or ()
        rows = [[tokens.encode(self.tokenizer, text + choice) for choice in choices] for text in texts]
        groups = [[(index, k) for k in range(len(choices))] for index in range(len(texts))]
        completions: dict[int, Completion] = {}
        for number, batch in enumerate(batches(groups, self.batch)):
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
        # G prompts, B texts, P positions of the common part, S positions after it; both parts are padded on the left.
        order = [pair for group in groups for pair in group]
        starts = {i: min(common_length([*rows[i], prompts[i]]), min(map(len, rows[i])) - 1) for (i, _), *_ in groups}
        prefix_GP, prefix_mask_GP = self._pad([prompts[i][: starts[i] - 1] for (i, _), *_ in groups])
        suffix_BS, suffix_mask_BS = self._pad([rows[i][k][starts[i] - 1 :] for i, k in order])
        cache = DynamicCache(config=self.model.config)
        self._forward(prefix_GP, prefix_mask_GP, cache, keep=1)
        member_B = torch.tensor([g for g, group in enumerate(groups) for _ in group], device=self.model.device)
        cache.batch_select_indices(member_B)
        mask = torch.cat([prefix_mask_GP[member_B], suffix_mask_BS], dim=1)
        logprobs_BSV = self._forward(suffix_BS, mask, cache).float().log_softmax(-1)
        scored: dict[int, list[tuple[float, list[float]]]] = {}
        for row, (i, k) in enumerate(order):
            length = len(rows[i][k]) - starts[i]
            logprobs = logprobs_BSV[row, -length - 1 : -1].gather(-1, suffix_BS[row, -length:, None])[:, 0].tolist()
            is_prefix = any(other != choices[k] and other.startswith(choices[k]) for other in choices)
            end = float(logprobs_BSV[row, -1, self.ends].logsumexp(-1)) if is_prefix else 0.0
            scored.setdefault(i, []).append((sum(logprobs) + end, logprobs))
        return scored

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, cache: DynamicCache, keep: int = 0) -> torch.Tensor:
        """Logits of `ids` (B, T), which continue the cache; `mask` covers both.  Only the last `keep`, or 0 for all."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
                          logits_to_keep=keep).logits  # fmt: skip

    def _pad(self, rows: list[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of token ids, padded on the left, and their mask, which never depends on the id of the pad token."""
        width = max(len(row) for row in rows)
        ids = [[self.tokenizer.pad_token_id] * (width - len(row)) + row for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.model.device), torch.tensor(mask, device=self.model.device)
