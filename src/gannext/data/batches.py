"""Batches of images: shuffled by seed and epoch for training, in order for everything else."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from gannext.data.images import Images


class EpochSampler(Sampler[int]):
    """A permutation that depends on nothing but the seed and the epoch, so that a resumed run repeats it.

    Args:
        length: number of images.
        seed: seed of the run.
        rank, world_size: of several processes, each takes every `world_size`-th image.
        shuffle: gives the epoch's positions, as `Images.shuffle`; a plain permutation by default.

    `start` skips that many images of the current epoch, for a run that goes on in its middle.
    """

    def __init__(
        self,
        length: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        shuffle: Callable[[torch.Generator], list[int]] | None = None,
    ) -> None:
        self.length = length
        self.shuffle = shuffle
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch; another epoch than the last one starts at its beginning."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def __len__(self) -> int:
        return self.length // self.world_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = self.shuffle(generator) if self.shuffle else torch.randperm(self.length, generator=generator).tolist()
        mine = order[self.rank : len(self) * self.world_size : self.world_size]
        return iter(mine[self.start :])


def _as_they_come(batch: Any) -> Any:
    return batch  # `Images.__getitems__` has stacked it


def make_loader(
    images: Images,
    batch_size: int,
    sampler: EpochSampler | None = None,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Tensor]:
    """Batches of bytes (N, C, H, W): in order, or by `sampler` and then without the last partial batch.

    Images in memory need no worker: handing a batch to another process costs more than indexing it.
    """
    workers = workers if images.streams else 0
    return DataLoader(
        images,
        batch_size,
        sampler=sampler,
        drop_last=sampler is not None,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_as_they_come,
        pin_memory=pin_memory,
    )
