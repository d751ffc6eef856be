"""The process reward model R_φ: a language model's backbone with a linear head that scores each step of a trace.

Any causal language model of the project can be the backbone; the head is our own, because transformers has no token
classifier for Gemma 3. The score of a step is read at its last token id: text that is decoded and tokenized again may
have other tokens. A score is not a probability: Eq. 7 orders steps and calibrates nothing (DECISIONS 16).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, PreTrainedTokenizerBase

from agentark import store
from agentark.models.load import load, load_tokenizer, revision

Chat = Sequence[dict[str, str]]


class PrmError(ValueError):
    """A reward model that cannot be built, or a trace that it cannot score; the message says why and what to do."""


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a digest of a tokenizer's vocabulary: equal fingerprints mean that equal token ids are equal text."""
    return store.digest(sorted(tokenizer.get_vocab().items()))


class Ends:
    """Finds the ends of the steps in a completion's token ids; `stops` are the ids of the tokens that end a turn.

    A step ends at a token that contains a newline, and at the last token before the end of the turn. White space alone
    is not a step, so runs of newlines add none.
    """

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
        """Return the completion's tokens before the end of its turn."""
        length = next((n for n, token in enumerate(completion) if token in self.stops), len(completion))
        return list(completion[:length])

    def __call__(self, completion: Sequence[int]) -> list[int]:
        """Return the position of each step's last token in a completion, which may include the end of its turn."""
        ends, open_step = [], False
        tokens = self.cut(completion)
        for n, token in enumerate(tokens):
            newline, before, after = self._token(token)
            if newline and (open_step or before):
                ends.append(n)
            open_step = after or (open_step and not newline)
        return [*ends, len(tokens) - 1] if open_step else ends


class ProcessRewardModel(torch.nn.Module):
    """A backbone and a linear head from its last hidden state to one number.

    `card` records the origin: base, revision, seed, stops (the ids of the tokens that end a turn), training parameters.
    """

    def __init__(self, backbone, head: torch.nn.Linear, tokenizer: PreTrainedTokenizerBase, card: dict):
        super().__init__()
        self.backbone, self.head, self.tokenizer, self.card = backbone, head, tokenizer, card
        self.context = backbone.config.max_position_embeddings

    @cached_property
    def ends(self) -> Ends:
        return Ends(self.tokenizer, self.card["stops"])

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.tokenizer)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """Return the raw scores (B, S), before any sigmoid, of the steps that end at the positions `ends` (B, S).

        input_ids, attention_mask: (B, T), padded on either side. `ends` is padded with -1, where scores mean nothing.
        """
        position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        hidden_BTH = self.backbone(**inputs, use_cache=False).last_hidden_state
        index_BSH = ends.clamp(min=0).unsqueeze(-1).expand(-1, -1, hidden_BTH.shape[-1])
        with torch.autocast(self.device.type, enabled=False):
            return self.head(hidden_BTH.gather(1, index_BSH).float()).squeeze(-1)

    def save(self, folder: str | Path) -> None:
        """Write the backbone (with its config and tokenizer), head.safetensors and card.json to `folder`."""
        folder = Path(folder)
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        head = {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()}
        save_file(head, folder / "head.safetensors")
        (folder / "card.json").write_text(json.dumps(self.card, indent=1) + "\n")


def make(base: str, seed: int, **about) -> ProcessRewardModel:
    """Return an untrained reward model on the weights of network `base` (DECISIONS 19: the student's, or any other).

    `seed` determines the initial head; `about` is added to the card. Torch's global generator is not changed. Raises
    PrmError if the backbone is not a text-only model, ModelError if it cannot be loaded.
    """
    network, tokenizer = load(base)
    if hasattr(network.config, "vision_config"):
        kind = network.config.model_type
        raise PrmError(f"{base} also takes images ({kind}): take a text model as backbone of the reward model")
    backbone = network.base_model
    if not (hasattr(backbone, "layers") and hasattr(backbone, "norm")):
        lacks = "has no `layers` and final `norm`, the parts that stage I trains"
        raise PrmError(f"{base} ({network.config.model_type}) {lacks}: take another backbone")
    stops = network.generation_config.eos_token_id
    stops = sorted({tokenizer.eos_token_id, *([stops] if isinstance(stops, int) else stops or [])} - {None})
    with torch.random.fork_rng():
        torch.manual_seed(store.chunk_seed(seed, "prm head"))
        head = torch.nn.Linear(backbone.config.hidden_size, 1).to(network.device)
    card = {"base": base, "revision": revision(base), "stops": stops, "seed": seed, **about}
    return ProcessRewardModel(backbone, head, tokenizer, card).eval()


def load_prm(folder: str | Path) -> ProcessRewardModel:
    """Return a saved reward model, in evaluation mode. Raises PrmError if `folder` does not contain one.

    Torch's global generator is not changed, so that a training can load its reward model at any time.
    """
    folder = Path(folder)
    needed = ("card.json", "head.safetensors", "config.json", "model.safetensors", "tokenizer.json")
    missing = [name for name in needed if not (folder / name).exists()]
    if "model.safetensors" in missing and (folder / "model.safetensors.index.json").exists():  # a large one, in pieces
        missing.remove("model.safetensors")
    if missing:
        raise PrmError(f"{folder} is not a process reward model: {', '.join(missing)} missing; train one first")
    with torch.random.fork_rng():
        backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        head = torch.nn.Linear(head_width(folder), 1)
    head.load_state_dict(load_file(folder / "head.safetensors"))
    card = json.loads((folder / "card.json").read_text())
    prm = ProcessRewardModel(backbone, head, load_tokenizer(str(folder)), card)
    return prm.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def head_width(folder: str | Path) -> int:
    """Return the number of inputs of the head of a saved reward model, without loading the backbone."""
    return load_file(Path(folder) / "head.safetensors")["weight"].shape[1]


class StepScorer:
    """Scores the steps of completions with a reward model.

    `writer`, the tokenizer of the model that writes the completions, is needed to score token ids; `takes_ids`: whether
    they can be. `without_steps` and `computed` count the completions without a step and those that were computed.
    """

    def __init__(self, prm: ProcessRewardModel, writer: PreTrainedTokenizerBase | None = None):
        self.prm = prm
        self.takes_ids = writer is not None and fingerprint(writer) == prm.fingerprint
        self.without_steps = self.computed = 0

    def score(
        self, prompts: Sequence[Chat], completions: Sequence[str] | Sequence[Sequence[int]], batch: int
    ) -> list[list[float]]:
        """Return σ of the raw score of each step of each completion, in (0, 1); [] for a completion without steps.

        Completions are text, or token ids (with or without the end of the turn) if `takes_ids`. At most `batch` of
        nearly equal length go through the network together, which keeps the padding small. Raises PrmError for ids of
        another tokenizer, a trace longer than the context, and scores that are not numbers.
        """
        rows = [self._encode(n, *pair) for n, pair in enumerate(zip(prompts, completions, strict=True))]
        scores: dict[tuple, list[float]] = {row: [] for row in rows if not row[1]}
        self.without_steps += sum(not row[1] for row in rows)
        new = [row for row in dict.fromkeys(rows) if row[1]]
        for group in _by_length(sorted(new, key=lambda row: -len(row[0])), batch):
            scores.update(zip(group, self._run(group), strict=True))
        self.computed += len(new)
        for n, row in enumerate(rows):
            if any(map(math.isnan, scores[row])):
                reason = f"the reward model gives completion {n} a score that is not a number: its training diverged"
                raise PrmError(f"{reason}; train it with a lower learning rate")
        return [list(scores[row]) for row in rows]

    def _encode(self, n: int, chat: Chat, completion) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the token ids of the chat and its completion up to the last step's end, and the ends of all steps."""
        tokenizer = self.prm.tokenizer
        if not isinstance(completion, str) and not self.takes_ids:
            raise PrmError(
                "token ids of another tokenizer than the reward model's (or StepScorer was created without `writer`): "
                "pass the completions as text"
            )
        prompt, ids, ends = encode(self.prm, chat, completion)
        if len(prompt) + len(ids) > self.prm.context:
            end = f"ends at token {len(prompt) + len(ids)}, beyond the reward model's context of {self.prm.context}"
            advice = f"use shorter prompts or replies, or another backbone than {self.prm.card['base']}"
            raise PrmError(f"completion {n} {end}: {advice}")
        if unknown := [token for token in ids if not 0 <= token < len(tokenizer)]:
            has = f"the reward model's tokenizer has {len(tokenizer)} tokens"
            raise PrmError(f"completion {n} has token {unknown[0]}, but {has}")
        return (*prompt, *ids[: ends[-1] + 1 if ends else 0]), tuple(len(prompt) + end for end in ends)

    @torch.inference_mode()
    def _run(self, rows: list[tuple]) -> list[list[float]]:
        """Return the scores of the steps of each row (ids, ends)."""
        scores = self.prm(*collate(rows, self.prm.tokenizer.pad_token_id, self.prm.device)).sigmoid().tolist()
        return [row[: len(ends)] for row, (_, ends) in zip(scores, rows, strict=True)]


def _by_length(rows: list[tuple], batch: int):
    """Yield rows (ids, ends), longest first, in groups of at most `batch` whose lengths differ by at most a tenth.

    On the zoo's networks this is twice as fast as groups of one exact length, whose forward passes are many and small.
    """
    group: list[tuple] = []
    for row in rows:
        if group and (len(group) == batch or len(row[0]) < 0.9 * len(group[0][0])):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def collate(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return input_ids, attention_mask (B, T) and ends (B, S) of rows (ids, ends), padded on the right (ends by -1)."""
    width, steps = max(len(ids) for ids, _ in rows), max(len(ends) for _, ends in rows)
    ids_BT = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids, _ in rows], device=device)
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows], device=device)
    ends_BS = torch.tensor([[*ends, *[-1] * (steps - len(ends))] for _, ends in rows], device=device)
    return ids_BT, mask_BT, ends_BS


def encode(
    prm: ProcessRewardModel, chat: Chat, completion: str | Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Tokenize a prompt and its completion, which is text or token ids.

    Returns the prompt's ids, the completion's up to the end of its turn, and the ends of the steps in the latter.
    """
    prompt = prm.tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, return_dict=False)
    ids = prm.tokenizer(completion, add_special_tokens=False).input_ids if isinstance(completion, str) else completion
    ids = prm.ends.cut(ids)
    return prompt, ids, prm.ends(ids)
