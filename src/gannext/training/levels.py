"""Which greys the networks see as black and white: images that fill little of 0..255 are stretched for them."""

from collections.abc import Iterable

import torch
from torch import Tensor

from gannext.data import Images
from gannext.networks import Levels
from gannext.runtime import evenly

LOOKED_AT = 256
TOGETHER = 16
OUTLYING = 0.001  # share of a channel's pixels that are darker than its range, and share that are lighter
LEAST_RANGE = 128.0  # bytes
FLATTEST = 8.0  # bytes; what varies by less is noise, which shall not fill the networks' range


def find_levels(images: Images) -> Levels:
    """The levels for networks that see images like these; empty where they fill half of 0..255 or more.

    Corruptions, and the filters in front of a judge, are made for images that do. Of others the widest channel's range, but for
    outlying pixels, is stretched to the middle half of [-1, 1], and all channels alike, each about the middle of its own.
    """
    chosen = evenly(len(images), LOOKED_AT)
    batches = (images.__getitems__(chosen[i : i + TOGETHER]) for i in range(0, len(chosen), TOGETHER))
    ranges = [range_of(counts) for counts in histograms(batches)]
    widest = max((high - low for low, high in ranges), default=LEAST_RANGE)
    if widest >= LEAST_RANGE:
        return ()
    half = max(widest, FLATTEST)
    return tuple(((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ranges)


def histograms(batches: Iterable[Tensor]) -> Tensor:
    """How many pixels of each channel of batches of bytes (n, C, H, W) have each value, (C, 256)."""
    counts = [torch.stack([of.flatten().bincount(minlength=256) for of in batch.unbind(1)]) for batch in batches]
    return torch.stack(counts).sum(0) if counts else torch.empty(0, 256, dtype=torch.int64)


def range_of(counts: Tensor) -> tuple[int, int]:
    """The least and the greatest byte of a histogram (256,), but for outlying pixels."""
    share = counts.cumsum(0) / counts.sum()
    low, high = torch.searchsorted(share, torch.tensor([OUTLYING, 1.0 - OUTLYING])).tolist()
    return low, high
