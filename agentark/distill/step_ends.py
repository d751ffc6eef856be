"""Where the steps of a completion begin and end in its token ids, for everything that scores steps.

A step is a line (DECISIONS 16).  It ends at a token that contains a newline; the last step ends at the token that ends
the turn or, if the completion was cut off, at its last token.  A score that is read at the last token of the answer is
mostly a function of the answer's last digit and its length (docs/log.md).  White space alone is not a step, so runs of
newlines add none.  Text that is decoded and tokenized again may have other tokens, so ends are found in the ids that
were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from agentark import store

Chat = Sequence[dict[str, str]]
LOGITS = 1 << 27  # at a time: 0.5 GB; those of 64 traces and a vocabulary of 150,000 would be 2 to 6 GB, held twice


class Row(NamedTuple):
    """A prompt with a completion: the token ids of both, where the steps end, and where the completion starts."""

    ids: tuple[int, ...]
    ends: tuple[int, ...]
    start: int


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of a tokenizer's vocabulary: equal fingerprints mean that equal token ids are equal text."""
    return store.digest(sorted(tokenizer.get_vocab().items()))


def end_of_turn(tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]) -> int:
    """Return the one of the `stops` with which the chat template ends a reply; the tokenizer's own if it has none."""
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    opened = tokenizer.apply_chat_template(chat[:1], add_generation_prompt=True, return_dict=False)
    whole = tokenizer.apply_chat_template(chat, return_dict=False)
    return next((token for token in whole[len(opened) :] if token in stops), tokenizer.eos_token_id)


class StepEnds:
    """Finds the ends of the steps in a completion's token ids; `stops` are the ids of the tokens that end a turn."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]):
        self.tokenizer, self.stops = tokenizer, frozenset(stops)
        self._cache: dict[int, tuple[bool, bool, bool]] = {}

    def _token(self, token: int) -> tuple[bool, bool, bool]:
        """Return whether a token contains a newline, text before its last newline, and text after it."""
        if token not in self._cache:
            before, newline, after = self.tokenizer.decode([token]).rpartition("\n")
            self._cache[token] = bool(newline), bool(before.strip()), bool(after.strip())
        return self._cache[token]

    def cut(self, completion: Sequence[int]) -> list[int]:
        """Return the completion's tokens up to the one that ends its turn, which is included if there is one."""
        end = next((n for n, token in enumerate(completion) if token in self.stops), len(completion))
        return list(completion[: end + 1])

    def __call__(self, completion: Sequence[int]) -> list[int]:
        """Return the position of each step's last token in a completion, which may include the end of its turn."""
        ends, open_step = [], False
        tokens = self.cut(completion)
        for n, token in enumerate(tokens):
            if token in self.stops:
                break
            newline, before, after = self._token(token)
            if newline and (open_step or before):
                ends.append(n)
            open_step = after or (open_step and not newline)
        return [*ends, len(tokens) - 1] if open_step else ends


class Scorer(Protocol):
    """What scores steps: a `ProcessRewardModel`, or `Likelihood`.

    `card` has the token that ends a reply as `stop`.  `scores` returns (B, S) numbers in [0, 1] for what `collate`
    returns.
    """

    tokenizer: PreTrainedTokenizerBase
    card: dict
    context: int

    @property
    def ends(self) -> StepEnds: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    def scores(self, **inputs: torch.Tensor) -> torch.Tensor: ...


def encode(model: Scorer, chat: Chat, completion: str | Sequence[int]) -> Row:
    """Tokenize a prompt and its completion, which is token ids, or the text of a reply that ends there.

    The ids of a text always end with the turn: whether the text was cut off is not known here.
    """
    prompt = model.tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, return_dict=False)
    if isinstance(completion, str):
        completion = [*model.tokenizer(completion, add_special_tokens=False).input_ids, model.card["stop"]]
    ids = model.ends.cut(completion)
    return Row((*prompt, *ids), tuple(len(prompt) + end for end in model.ends(ids)), len(prompt))


def collate(rows: Sequence[Row], pad: int, device) -> dict[str, torch.Tensor]:
    """Return the arguments of a scoring network's forward pass for some rows, padded on the right.

    These are input_ids and attention_mask (B, T), ends (B, S), padded with -1, and starts (B,).
    """
    width, steps = max(len(row.ids) for row in rows), max(len(row.ends) for row in rows)
    ids_BT = [[*row.ids, *[pad] * (width - len(row.ids))] for row in rows]
    mask_BT = [[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows]
    ends_BS = [[*row.ends, *[-1] * (steps - len(row.ends))] for row in rows]
    tensors = {"input_ids": ids_BT, "attention_mask": mask_BT, "ends": ends_BS, "starts": [row.start for row in rows]}
    return {name: torch.tensor(values, device=device) for name, values in tensors.items()}


def step_log_probs(
    network, hidden_BTH: torch.Tensor, input_ids: torch.Tensor, ends: torch.Tensor, starts: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the log-probabilities of each step's tokens under a causal language model, by step, in nats.

    hidden_BTH: the last hidden states of `network`'s backbone.  The rest as in `collate`.  Returns the sum, the mean
    and the lowest of each step, (B, S) each; 0 where there is no step.
    """
    at_BT = torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)
    last_B1 = ends.amax(1, keepdim=True)
    counted_BT = (at_BT >= starts[:, None]) & (at_BT <= last_B1)
    hidden_NH, next_N = hidden_BTH[:, :-1][counted_BT[:, 1:]], input_ids[counted_BT]
    tokens = max(1, LOGITS // network.config.get_text_config().vocab_size)
    parts = zip(hidden_NH.split(tokens), next_N.split(tokens), strict=True)
    logs = [_logits(network, h_NH).log_softmax(-1).gather(-1, n_N[:, None])[:, 0] for h_NH, n_N in parts]
    log_probs_N = torch.cat(logs)
    rows_N = counted_BT.nonzero()[:, 0]
    # token t belongs to the step whose end is the first at or after t, so its number is that of the ends before t
    ends_before_NS = (ends[rows_N] >= 0) & (ends[rows_N] < at_BT[counted_BT].unsqueeze(-1))
    flat_N = rows_N * ends.shape[1] + ends_before_NS.sum(-1)
    zeros = log_probs_N.new_zeros(ends.numel())
    sums = zeros.scatter_add(0, flat_N, log_probs_N)
    sizes = zeros.scatter_add(0, flat_N, torch.ones_like(log_probs_N))
    lowest = zeros.scatter_reduce(0, flat_N, log_probs_N, "amin", include_self=False)
    return tuple(values.view_as(ends) for values in (sums, sums / sizes.clamp(min=1), lowest))  # type: ignore[return-value]


def _logits(network, hidden_NH: torch.Tensor) -> torch.Tensor:
    """Return the logits in single precision; some architectures bound them."""
    logits_NV = network.lm_head(hidden_NH).float()
    bound = getattr(network.config.get_text_config(), "final_logit_softcapping", None)
    return logits_NV if not bound else (logits_NV / bound).tanh() * bound
