"""Scores steps without any training: how likely a language model finds them.

The score of a step is the probability of its tokens given all before it, p(r_t | x, r_<t), in [0, 1].  It is a
control of every reward model (evaluate/criteria.py): one that does not choose better has learnt nothing from its labels
that its backbone did not know.
With the aggregation `product`, the reward of a trace is its probability; with `min`, that of its least likely step.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from agentark.engines.tokens import end_tokens
from agentark.models.load import load, revision

from .step_ends import StepEnds, end_of_turn, fingerprint, step_log_probs


class Likelihood:
    """A language model `base` (a folder or a network's name) as a scorer of steps; see `step_ends.Scorer`."""

    def __init__(self, base: str):
        self.network, self.tokenizer = load(base)
        stops = end_tokens(self.tokenizer, self.network.generation_config.eos_token_id)
        stop = end_of_turn(self.tokenizer, stops)
        self.card: dict[str, Any] = {"base": base, "revision": revision(base), "stops": stops, "stop": stop}
        self.context = self.network.config.get_text_config().max_position_embeddings
        self.network.eval()

    @cached_property
    def ends(self) -> StepEnds:
        return StepEnds(self.tokenizer, self.card["stops"])

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.tokenizer)

    @property
    def device(self) -> torch.device:
        return self.network.device

    @torch.inference_mode()
    def scores(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, ends: torch.Tensor, starts: torch.Tensor
    ) -> torch.Tensor:
        """Return the probability of each step, (B, S); for the arguments see `step_ends.collate`."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
        hidden_BTH = self.network.base_model(**inputs).last_hidden_state
        sums_BS, _, _ = step_log_probs(self.network, hidden_BTH, input_ids, ends, starts)
        return sums_BS.double().exp()  # the probability of a long step is below the smallest number in single precision
