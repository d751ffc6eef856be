"""Pictures in prompts of Qwen2.5-VL-like networks: from the keys in chats to what the network sees.

The chat template writes one image token for a picture.  Here it is repeated once for each merged patch, and at these
places the network sees the features of its vision tower instead of an embedding.  Its positions are in three
dimensions (M-RoPE): all three count the tokens of a text, but within a picture they are those of the patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from agentark import pictures
from agentark.models import load as models

from . import Chat, EngineError

IMAGE = "<|image_pad|>"  # the text of the image token
KINDS = ("qwen2_5_vl",)  # of networks whose pictures are prepared as here
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of Qwen2.5-VL, from CLIP
AT_ONCE = 128  # pictures of one forward pass of the vision tower


@dataclass(frozen=True)
class Sight:
    """What a network sees of a prompt besides its token ids, L of them with n image tokens."""

    places_n: torch.Tensor
    features_nD: torch.Tensor
    positions_3L: torch.Tensor

    @property
    def delta(self) -> int:
        """The position of a token after the prompt less its place; a prompt does not end with a picture."""
        return int(self.positions_3L[0, -1]) + 1 - self.positions_3L.shape[1]


def patches(picture: str, vision) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The patches of a picture for a vision config, in the order of Qwen2.5-VL, and its grid (1, height, width).

    A patch is a row of (colours, frames, height, width); a picture is a film of equal frames.  Patches that are merged
    are neighbours.  Raises ValueError if the picture cannot be divided into merged patches.
    """
    side, merge, frames = vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size
    if pictures.SIDE % (side * merge):
        raise ValueError(f"a picture of {pictures.SIDE} pixels cannot be cut into patches of {side} pixels of which "
                         f"{merge} by {merge} are merged: choose a vision_config with others")  # fmt: skip
    pixels = (pictures.draw(picture).astype(np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    blocks, n = pictures.SIDE // (side * merge), pictures.SIDE // side
    parts = pixels.reshape(blocks, merge, side, blocks, merge, side, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    films = np.repeat(parts[..., None, :, :], frames, axis=-3)
    return films.reshape(n * n, -1), (1, n, n)


def tokens_of(vision) -> int:
    """The number of image tokens of a picture."""
    return (pictures.SIDE // (vision.patch_size * vision.spatial_merge_size)) ** 2


def tokens_of_network(name: str) -> int:
    """The number of image tokens of a picture for the network of a name; 0 if it cannot see pictures."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(models.folder(name, weights=False))
    return tokens_of(config.vision_config) if config.model_type in KINDS else 0


def keys(chat: Chat) -> list[str]:
    """The keys of the pictures in a chat, in order."""
    return [turn["image"] for turn in chat if turn.get("image")]


def expand(ids: list[int], image_token: int, repeats: Sequence[int | Sequence[int]]) -> list[int]:
    """Token ids with each image token replaced by others, or repeated so many times: one entry for each."""
    rest = iter(repeats)

    def written(token: int) -> Iterator[int]:
        other = next(rest) if token == image_token else [token]
        yield from [token] * other if isinstance(other, int) else other

    return [token for old in ids for token in written(old)]


def check(model, tokenizer, chats: Sequence[Chat]) -> None:
    """Raises EngineError if a chat has a picture that the network cannot see."""
    index = next((index for index, chat in enumerate(chats) if keys(chat)), None)
    if index is None:
        return
    if model.config.model_type not in KINDS:
        raise EngineError(f"prompt {index} has a picture, which a network of the kind {model.config.model_type} cannot "
                          f"see: use one of the kind {' or '.join(KINDS)}, or a task without pictures")  # fmt: skip
    if model.config.image_token_id >= len(tokenizer):
        raise EngineError(f"prompt {index} has a picture, but the tokenizer of the network has no image token (number "
                          f"{model.config.image_token_id}): it was trained without pictures; train it again, or use "
                          "another one")  # fmt: skip


def tensors(pictures_: Sequence[str], vision) -> dict[str, torch.Tensor]:
    """pixel_values and image_grid_thw of pictures for a vision config; {} if there are none."""
    if not pictures_:
        return {}
    drawn, grids = zip(*(patches(key, vision) for key in pictures_), strict=True)
    return {"pixel_values": torch.from_numpy(np.concatenate(drawn)), "image_grid_thw": torch.tensor(grids)}


def look(
    model, chats: Sequence[Chat], prompts: list[list[int]]
) -> tuple[list[list[int]], list[list[int]], list[Sight | None]]:
    """The prompts with an image token for each merged patch, the same with other tokens, and the sights.

    In the second list, image tokens are negative numbers, the same ones for the same picture only: prompts have the
    keys and values of a prefix in common if they have these tokens in common.  A prompt without a picture is not
    changed and has no sight.  Raises EngineError if a prompt has more or fewer image tokens than pictures.
    """
    every = list(dict.fromkeys(key for chat in chats for key in keys(chat)))
    if not every:
        return prompts, prompts, [None] * len(prompts)
    image_token, n = model.config.image_token_id, tokens_of(model.config.vision_config)
    features = dict(zip(every, _features(model, every), strict=True))
    numbers = {key: -1 - number for number, key in enumerate(every)}

    @cache
    def sight(ids: tuple[int, ...], shown: tuple[str, ...]) -> Sight:
        ids_1L = torch.tensor([ids], device=model.device)
        is_image_1L, grid = ids_1L == image_token, _grid(model).expand(len(shown), -1)
        positions, _ = model.base_model.get_rope_index(ids_1L, is_image_1L.int(), image_grid_thw=grid)
        return Sight(is_image_1L[0].nonzero()[:, 0], torch.cat([features[key] for key in shown]), positions[:, 0])

    seen: list[list[int]] = []
    shared: list[list[int]] = []
    sights: list[Sight | None] = []
    for index, (chat, prompt) in enumerate(zip(chats, prompts, strict=True)):
        shown = keys(chat)
        if shown and prompt.count(image_token) != len(shown):
            raise EngineError(f"prompt {index} has {prompt.count(image_token)} image tokens for {len(shown)} pictures: "
                              "its text must not have any, and the chat template must write one for each")  # fmt: skip
        seen.append(expand(prompt, image_token, [n] * len(shown)) if shown else prompt)
        shared.append(expand(prompt, image_token, [[numbers[key]] * n for key in shown]) if shown else prompt)
        sights.append(sight(tuple(seen[-1]), tuple(shown)) if shown else None)
    return seen, shared, sights


def _grid(model) -> torch.Tensor:
    n = pictures.SIDE // model.config.vision_config.patch_size
    return torch.tensor([[1, n, n]], device=model.device)


@torch.inference_mode()
def _features(model, every: list[str]) -> list[torch.Tensor]:
    """The features (n, D) of each picture."""
    found: list[torch.Tensor] = []
    for start in range(0, len(every), AT_ONCE):
        part = tensors(every[start : start + AT_ONCE], model.config.vision_config)
        inputs = {name: tensor.to(model.device) for name, tensor in part.items()}
        found += model.get_image_features(**inputs).pooler_output
    return found
