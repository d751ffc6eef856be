"""Scores the steps of completions in batches, by a reward model or by plain likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from transformers import PreTrainedTokenizerBase

from .prm_model import PrmError
from .step_ends import Chat, Row, Scorer, collate, encode, fingerprint


class StepScorer:
    """Scores the steps of completions with a reward model or by likelihood.

    `writer`, the tokenizer of the model that writes the completions, is needed to score token ids; `takes_ids`: whether
    they can be. `without_steps` and `computed` count the completions without a step and those that were computed.
    """

    def __init__(self, model: Scorer, writer: PreTrainedTokenizerBase | None = None):
        self.model = model
        self.takes_ids = writer is not None and fingerprint(writer) == model.fingerprint
        self.without_steps = self.computed = 0

    def score(
        self, prompts: Sequence[Chat], completions: Sequence[str | Sequence[int]], batch: int
    ) -> list[list[float]]:
        """Return the score of each step of each completion, in [0, 1]; [] for a completion without steps.

        Completions are text, or token ids (with or without the end of the turn) if `takes_ids`. At most `batch` of
        nearly equal length go through the network together, which keeps the padding small. Raises PrmError for ids of
        another tokenizer, a trace longer than the context, and scores that are not numbers.
        """
        pairs = zip(prompts, completions, strict=True)
        rows = [self._encode(n, chat, completion) for n, (chat, completion) in enumerate(pairs)]
        scores: dict[Row, list[float]] = {row: [] for row in rows if not row.ends}
        self.without_steps += sum(not row.ends for row in rows)
        new = [row for row in dict.fromkeys(rows) if row.ends]
        for group in _by_length(sorted(new, key=lambda row: -len(row.ids)), batch):
            scores.update(zip(group, self._run(group), strict=True))
        self.computed += len(new)
        for n, row in enumerate(rows):
            if any(map(math.isnan, scores[row])):
                reason = f"the reward model gives completion {n} a score that is not a number: its training diverged"
                raise PrmError(f"{reason}; train it with a lower learning rate")
        return [list(scores[row]) for row in rows]

    def _encode(self, n: int, chat: Chat, completion: str | Sequence[int]) -> Row:
        """Return the row of a chat and its completion up to the last step's end."""
        tokenizer = self.model.tokenizer
        if not isinstance(completion, str) and not self.takes_ids:
            raise PrmError(
                "token ids of another tokenizer than the reward model's (or StepScorer was created without `writer`): "
                "pass the completions as text"
            )
        row = encode(self.model, chat, completion)
        if len(row.ids) > self.model.context:
            end = f"ends at token {len(row.ids)}, beyond the reward model's context of {self.model.context}"
            advice = f"use shorter prompts or replies, or another backbone than {self.model.card['base']}"
            raise PrmError(f"completion {n} {end}: {advice}")
        if unknown := [token for token in row.ids if not 0 <= token < len(tokenizer)]:
            has = f"the reward model's tokenizer has {len(tokenizer)} tokens"
            raise PrmError(f"completion {n} has token {unknown[0]}, but {has}")
        return row._replace(ids=row.ids[: row.ends[-1] + 1 if row.ends else row.start])

    @torch.inference_mode()
    def _run(self, rows: list[Row]) -> list[list[float]]:
        """Return the scores of the steps of each row."""
        inputs = collate(rows, self.model.tokenizer.pad_token_id, self.model.device)
        scores = self.model.scores(**inputs).tolist()
        return [values[: len(row.ends)] for values, row in zip(scores, rows, strict=True)]


def _by_length(rows: list[Row], batch: int) -> Iterator[list[Row]]:
    """Yield rows, longest first, in groups of at most `batch` whose lengths differ by at most a tenth.

    On the zoo's networks this is twice as fast as groups of one exact length, whose forward passes are many and small.
    """
    group: list[Row] = []
    for row in rows:
        if group and (len(group) == batch or len(row.ids) < 0.9 * len(group[0].ids)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group
