"""The process reward model R_φ: a language model's backbone with a linear head that scores each step of a trace.

Any causal language model of the project can be the backbone; the head is our own, because transformers has no token
classifier for Gemma 3. The score of a step is read at its last token (`step_ends`), from the hidden state there and,
with the features `hidden+logprob`, from how likely the network finds the step itself:

    R_φ(r_t) = w · h_t + b + u_1 mean log p + u_2 min log p,   over the tokens of r_t given all before it

The hidden state alone is the paper's. The log-probabilities are ours: a small network's hidden state does not tell
whether a line is right, and its likelihood does (docs/log.md); u starts at (1, 1). A score is not a probability: Eq. 7
orders steps and calibrates nothing (DECISIONS 16).
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from agentark import store
from agentark.engines.tokens import end_tokens
from agentark.models.load import load, load_tokenizer, revision

from .step_ends import StepEnds, end_of_turn, fingerprint, step_log_probs

TRAINED = "trained.safetensors"  # in place of all weights, of a network that is otherwise its base


class PrmError(ValueError):
    """A reward model that cannot be built, or a trace that it cannot score; the message says why and what to do."""


class ProcessRewardModel(torch.nn.Module):
    """A language model and a linear head from its last hidden state, and from log-probabilities, to one number.

    `card` records the origin: base, revision, seed, features, stops (the ids of the tokens that end a turn), stop (the
    one that the chat template writes), training parameters.
    """

    def __init__(self, network, head: torch.nn.Linear, tokenizer: PreTrainedTokenizerBase, card: dict):
        super().__init__()
        self.network, self.head, self.tokenizer, self.card = network, head, tokenizer, card
        if card["features"] == "hidden+logprob":
            self.log_prob_weights = torch.nn.Parameter(torch.ones(2, device=head.weight.device))
        self.context = network.config.get_text_config().max_position_embeddings

    @property
    def backbone(self):
        """The network without its output layer."""
        return self.network.base_model

    @cached_property
    def ends(self) -> StepEnds:
        return StepEnds(self.tokenizer, self.card["stops"])

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.tokenizer)

    @property
    def device(self) -> torch.device:
        return self.head.weight.device

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, ends: torch.Tensor, starts: torch.Tensor
    ) -> torch.Tensor:
        """Return the raw scores (B, S), before any sigmoid, of the steps that end at the positions `ends` (B, S).

        input_ids, attention_mask: (B, T). `ends` is padded with -1, where scores mean nothing. starts: (B,), where the
        completions start.
        """
        position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": position_ids}
        hidden_BTH = self.backbone(**inputs, use_cache=False).last_hidden_state
        index_BSH = ends.clamp(min=0).unsqueeze(-1).expand(-1, -1, hidden_BTH.shape[-1])
        with torch.autocast(self.device.type, enabled=False):
            scores_BS = self.head(hidden_BTH.gather(1, index_BSH).float()).squeeze(-1)
            if self.card["features"] == "hidden":
                return scores_BS
            _, mean_BS, lowest_BS = step_log_probs(self.network, hidden_BTH, input_ids, ends, starts)
            return scores_BS + self.log_prob_weights[0] * mean_BS + self.log_prob_weights[1] * lowest_BS

    def scores(self, **inputs: torch.Tensor) -> torch.Tensor:
        """Return σ of the raw scores (B, S), in (0, 1); `inputs` are those of `forward`."""
        return self(**inputs).sigmoid()

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters by name, each once even if it has two uses (embedding and output)."""
        return {name: parameter.detach().contiguous() for name, parameter in self.named_parameters()}

    def save(self, folder: str | Path) -> None:
        """Write the network (with its config and tokenizer), head.safetensors and card.json to `folder`.

        Of a network whose training had no stage II, only what stage I trained is written, to `TRAINED`: the rest is its
        base, of which a large one would take gigabytes again.
        """
        folder = Path(folder)
        if self.card.get("stage2_epochs") == 0:
            self.network.config.save_pretrained(folder)
            named = self.network.named_parameters()
            save_file({name: p.detach().cpu().contiguous() for name, p in named if p.requires_grad}, folder / TRAINED)
        else:
            self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        own = {name: value.cpu() for name, value in self.weights().items() if not name.startswith("network.")}
        save_file({name.removeprefix("head."): value for name, value in own.items()}, folder / "head.safetensors")
        (folder / "card.json").write_text(json.dumps(self.card, indent=1) + "\n")


def make(base: str, seed: int, features: str = "hidden", **about) -> ProcessRewardModel:
    """Return an untrained reward model on the weights of network `base` (DECISIONS 19: the student's, or any other).

    `seed` determines the initial head; `features`: see `params.Prm`; `about` is added to the card. Torch's global
    generator is not changed. Raises PrmError if the backbone is not a text-only model, ModelError if it cannot be
    loaded.
    """
    network, tokenizer = load(base)
    if hasattr(network.config, "vision_config"):
        kind = network.config.model_type
        raise PrmError(f"{base} also takes images ({kind}): take a text model as backbone of the reward model")
    backbone = network.base_model
    if not (hasattr(backbone, "layers") and hasattr(backbone, "norm")):
        lacks = "has no `layers` and final `norm`, the parts that stage I trains"
        raise PrmError(f"{base} ({network.config.model_type}) {lacks}: take another backbone")
    stops = end_tokens(tokenizer, network.generation_config.eos_token_id)
    with torch.random.fork_rng():
        torch.manual_seed(store.chunk_seed(seed, "prm head"))
        head = torch.nn.Linear(backbone.config.hidden_size, 1).to(network.device)
    card = {"base": base, "revision": revision(base), "features": features, "stops": stops, "seed": seed, **about}
    return ProcessRewardModel(network, head, tokenizer, {**card, "stop": end_of_turn(tokenizer, stops)}).eval()


def load_prm(folder: str | Path) -> ProcessRewardModel:
    """Return a saved reward model, in evaluation mode.

    Raises PrmError if `folder` does not contain one, or if the base that it needs has other weights by now.

    Torch's global generator is not changed, so that a training can load its reward model at any time.
    """
    folder = Path(folder)
    parts = (folder / TRAINED).exists()
    network_file = TRAINED if parts else "model.safetensors"
    needed = ("card.json", "head.safetensors", "config.json", network_file, "tokenizer.json")
    missing = [name for name in needed if not (folder / name).exists()]
    if "model.safetensors" in missing and (folder / "model.safetensors.index.json").exists():  # a large one, in pieces
        missing.remove("model.safetensors")
    if missing:
        raise PrmError(f"{folder} is not a process reward model: {', '.join(missing)} missing; train one first")
    card, values = json.loads((folder / "card.json").read_text()), load_file(folder / "head.safetensors")
    if "stop" not in card:
        raise PrmError(f"{folder} was trained by an earlier version, which read the last score before the turn had "
                       "ended: delete it and train it again (notebook 06_prm)")  # fmt: skip
    if parts and revision(card["base"]) != card["revision"]:
        raise PrmError(f"{folder} has only what was trained of {card['base']}, whose weights are others by now: delete "
                       "the folder and train it again (notebook 06_prm)")  # fmt: skip
    with torch.random.fork_rng():
        if parts:
            network = load(card["base"])[0]
            network.load_state_dict(load_file(folder / TRAINED, device=str(network.device)), strict=False)
        else:
            network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        head = torch.nn.Linear(values["weight"].shape[1], 1)
    prm = ProcessRewardModel(network, head, load_tokenizer(str(folder)), card)
    head.load_state_dict({name: values[name] for name in ("weight", "bias")})
    if "log_prob_weights" in values:
        prm.log_prob_weights.data.copy_(values["log_prob_weights"])
    return prm.to("cuda" if torch.cuda.is_available() else "cpu").eval()
