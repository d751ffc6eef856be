"""Batches of similar length, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import Sampler

POOL = 50  # batches that are drawn together and sorted by length: TRL's number


class ByLength(Sampler[int]):
    """The indices of examples in random order, with those of similar length side by side.

    lengths: the tokens of each example.  epoch: a function that returns the number of the present epoch, on which,
    with the seed, the order depends and on nothing else: a resumed training sees the order of an uninterrupted one.
    (transformers' own sampler draws from a generator whose state is restored only later.)
    """

    def __init__(self, lengths: list[int], batch: int, seed: int, epoch: Callable[[], int]):
        self.lengths, self.batch, self.seed, self.epoch = torch.tensor(lengths), batch, seed, epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + self.epoch())
        pools = torch.randperm(len(self), generator=generator).split(POOL * self.batch)
        pools = [pool[self.lengths[pool].argsort(descending=True, stable=True)] for pool in pools]
        batches = [batch for pool in pools for batch in pool.split(self.batch)]
        partial = [batches.pop()] if len(batches[-1]) < self.batch else []  # stays last: batches are cut anew
        order = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return iter(torch.cat(order + partial).tolist())
