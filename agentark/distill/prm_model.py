"""The process reward model R_φ: a language model's backbone with a head of its own, which scores each step of a trace.

Any causal language model of the project serves as backbone (Gemma 3 has no token classifier in transformers, so that the head is
ours).  A step's score is read at the step's last token, found in the token ids: text that is decoded and split again may have its
tokens elsewhere.  Not a probability: Eq. 7 orders steps and calibrates nothing (DECISIONS 16).
"""

from __future__ import annotations

import json
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
    """A reward model that cannot be made, or a trace that it cannot score: the message says why and what to do."""


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """What stands for a tokenizer: two of the same fingerprint mean the same text by the same token ids."""
    return store.digest(sorted(tokenizer.get_vocab().items()))


class Ends:
    """Where the steps of a completion end, by its token ids.

    A step ends at the token that holds a newline, and at the last token before the end of the turn.  Tokens of white space alone
    make no step, so that runs of newlines make none either.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stops: Sequence[int]):
        self.tokenizer, self.stops = tokenizer, frozenset(stops)
        self._seen: dict[int, tuple[bool, bool, bool]] = {}

    def _token(self, token: int) -> tuple[bool, bool, bool]:
        """Of one token: does it hold a newline, something before its last newline, something after it?"""
        if token not in self._seen:
            before, newline, after = self.tokenizer.decode([token]).rpartition("\n")
            self._seen[token] = bool(newline), bool(before.strip()), bool(after.strip())
        return self._seen[token]

    def cut(self, completion: Sequence[int]) -> list[int]:
        """The completion's tokens before the end of its turn."""
        return list(
            completion[: next((n for n, token in enumerate(completion) if token in self.stops), len(completion))]
        )

    def __call__(self, completion: Sequence[int]) -> list[int]:
        """The position of each step's last token in a completion (cut or not)."""
        ends, open_step = [], False
        tokens = self.cut(completion)
        for n, token in enumerate(tokens):
            newline, before, after = self._token(token)
            if newline and (open_step or before):
                ends.append(n)
            open_step = after or (open_step and not newline)
        return [*ends, len(tokens) - 1] if open_step else ends


class ProcessRewardModel(torch.nn.Module):
    """A backbone, and a linear head from its last hidden state to one number.

    `card` says what it is made of: base, revision, stops (the ids of the tokens that end a turn), and what training adds.
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
        """Raw scores (B, S), before any sigmoid, of the steps that end at `ends` (B, S; -1 pads, and what stands there means nothing).

        input_ids, attention_mask (B, T), padded on either side.
        """
        position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        hidden_BTH = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        at_BSH = ends.clamp(min=0).unsqueeze(-1).expand(-1, -1, hidden_BTH.shape[-1])
        with torch.autocast(self.device.type, enabled=False):
            return self.head(hidden_BTH.gather(1, at_BSH).float()).squeeze(-1)

    def save(self, folder: str | Path) -> None:
        """Write the backbone (with config and tokenizer), head.safetensors and card.json to `folder`."""
        folder = Path(folder)
        self.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in self.head.state_dict().items()},
            folder / "head.safetensors",
        )
        (folder / "card.json").write_text(json.dumps(self.card, indent=1) + "\n")


def make(base: str, seed: int, **about) -> ProcessRewardModel:
    """A new reward model on the weights of network `base` (DECISIONS 19: the student's, or any); its head is drawn by `seed`.

    `about` goes on its card.  Raises PrmError where the backbone is none that takes text alone, ModelError where it cannot be loaded.
    """
    network, tokenizer = load(base)
    if hasattr(network.config, "vision_config"):
        raise PrmError(
            f"{base} sees images, too ({network.config.model_type}): take a text model as backbone of the reward model"
        )
    backbone = network.base_model
    if not (hasattr(backbone, "layers") and hasattr(backbone, "norm")):
        raise PrmError(
            f"{base} ({network.config.model_type}) has no `layers` and final `norm`: stage I would not know what to train"
        )
    stops = network.generation_config.eos_token_id
    stops = sorted({tokenizer.eos_token_id, *([stops] if isinstance(stops, int) else stops or [])} - {None})
    torch.manual_seed(store.chunk_seed(seed, "prm head"))
    head = torch.nn.Linear(backbone.config.hidden_size, 1).to(network.device)
    card = {"base": base, "revision": revision(base), "stops": stops, "seed": seed, **about}
    return ProcessRewardModel(backbone, head, tokenizer, card).eval()


def load_prm(folder: str | Path) -> ProcessRewardModel:
    """A saved reward model, in evaluation mode.  Raises PrmError where `folder` holds none."""
    folder = Path(folder)
    needed = ("card.json", "head.safetensors", "config.json", "model.safetensors", "tokenizer.json")
    missing = [name for name in needed if not (folder / name).exists()]
    if "model.safetensors" in missing and (folder / "model.safetensors.index.json").exists():  # a large one, in pieces
        missing.remove("model.safetensors")
    if missing:
        raise PrmError(f"{folder} is no process reward model: {', '.join(missing)} missing; train one first")
    backbone = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    weights = load_file(folder / "head.safetensors")
    head = torch.nn.Linear(weights["weight"].shape[1], 1)
    head.load_state_dict(weights)
    made = ProcessRewardModel(
        backbone, head, load_tokenizer(str(folder)), json.loads((folder / "card.json").read_text())
    )
    return made.to("cuda" if torch.cuda.is_available() else "cpu").eval()


class StepScorer:
    """Scores the steps of completions with a reward model.

    `writer` is the tokenizer that wrote the completions, where they will be given as token ids.  `without_steps` counts the
    completions so far that had no step, `computed` those that went through the network (equal ones go once).
    """

    def __init__(self, prm: ProcessRewardModel, writer: PreTrainedTokenizerBase | None = None):
        self.prm = prm
        self.takes_ids = writer is not None and fingerprint(writer) == prm.fingerprint
        self.without_steps = self.computed = 0

    def score(
        self, prompts: Sequence[Chat], completions: Sequence[str] | Sequence[Sequence[int]], batch: int
    ) -> list[list[float]]:
        """σ of the raw score of each step of each completion, in (0, 1); [] for a completion without steps.

        Completions are text, or token ids (with the end of the turn or without it) where `takes_ids`.  Those of nearly equal length
        go through the network together, at most `batch` at once, so that little is spent on padding.  Raises PrmError for ids of
        another tokenizer, a trace longer than the context, and scores that are no numbers.
        """
        rows = [
            self._encode(n, chat, completion)
            for n, (chat, completion) in enumerate(zip(prompts, completions, strict=True))
        ]
        known: dict[tuple, list[float]] = {row: [] for row in rows if not row[1]}
        self.without_steps += sum(not row[1] for row in rows)
        new = [row for row in dict.fromkeys(rows) if row[1]]
        for group in _alike(sorted(new, key=lambda row: -len(row[0])), batch):
            known.update(zip(group, self._run(group)))
        self.computed += len(new)
        for n, row in enumerate(rows):
            if any(score != score for score in known[row]):
                raise PrmError(
                    f"the reward model gives completion {n} a score that is no number: its training diverged; "
                    "train it with a lower learning rate"
                )
        return [list(known[row]) for row in rows]

    def _encode(self, n: int, chat: Chat, completion: str | Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(token ids of the chat and its completion up to the last step's end, that step ends' positions among them)."""
        tokenizer = self.prm.tokenizer
        if not isinstance(completion, str) and not self.takes_ids:
            raise PrmError(
                "token ids of another tokenizer than the reward model's (or of one that StepScorer was not told as `writer`): "
                "pass the completions as text"
            )
        prompt, ids, ends = encode(self.prm, chat, completion)
        if len(prompt) + len(ids) > self.prm.context:
            raise PrmError(
                f"completion {n} ends at token {len(prompt) + len(ids)}, beyond the reward model's context of {self.prm.context}: "
                f"shorter prompts or replies, or another backbone than {self.prm.card['base']}"
            )
        strange = [token for token in ids if not 0 <= token < len(tokenizer)]
        if strange:
            raise PrmError(f"completion {n} has token {strange[0]}, the reward model's tokenizer only {len(tokenizer)}")
        return (*prompt, *ids[: ends[-1] + 1 if ends else 0]), tuple(len(prompt) + end for end in ends)

    @torch.inference_mode()
    def _run(self, rows: list[tuple]) -> list[list[float]]:
        """The scores of rows (ids, ends)."""
        scores = self.prm(*collate(rows, self.prm.tokenizer.pad_token_id, self.prm.device)).sigmoid().tolist()
        return [row[: len(ends)] for row, (_, ends) in zip(scores, rows)]


def _alike(rows: list[tuple], most: int):
    """Rows (ids, ends), longest first, in groups of at most `most` whose lengths differ by a tenth at most.

    On the zoo's networks twice as fast as groups of exactly one length, whose forward passes are many and small.
    """
    group: list[tuple] = []
    for row in rows:
        if group and (len(group) == most or len(row[0]) < 0.9 * len(group[0][0])):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def collate(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(input_ids (B, T), attention_mask (B, T), ends (B, S)) of rows (ids, ends), padded on the right; ends with -1."""
    width, steps = max(len(ids) for ids, _ in rows), max(len(ends) for _, ends in rows)
    ids_BT = torch.tensor([[*ids, *[pad] * (width - len(ids))] for ids, _ in rows], device=device)
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows], device=device)
    ends_BS = torch.tensor([[*ends, *[-1] * (steps - len(ends))] for _, ends in rows], device=device)
    return ids_BT, mask_BT, ends_BS


def encode(
    prm: ProcessRewardModel, chat: Chat, completion: str | Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """(the prompt's token ids, the completion's up to the end of its turn, the position of each step's last token in the latter)."""
    prompt = prm.tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, return_dict=False)
    ids = prm.tokenizer(completion, add_special_tokens=False).input_ids if isinstance(completion, str) else completion
    ids = prm.ends.cut(ids)
    return prompt, ids, prm.ends(ids)
