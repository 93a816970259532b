"""Random tiles of pictures that are larger than a tile, to train on."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from gannext.data.images import MEMORY_LIMIT, Cache, Images, MemoryImages, stack
from gannext.runtime import InputError, Pixels, Tiling, decode_image, image_size, resize

AT_HAND = 4  # decoded pictures that are kept where not all of them fit into memory


class TileImages(Images):
    """Tiles at random places of pictures, each resized to the networks' size.

    An epoch takes as many tiles of a picture as it takes to cover it once without overlap, rounded
    up: 4 of a picture of 300x300 with tiles of 256. Where a tile lies follows from its position alone, and each
    epoch has positions of its own, so that a run that is resumed repeats them.

    Args:
        paths: the pictures' files.
        sizes: their heights and widths.
        pixels: their bytes (H, W, C), or None to decode them as they are needed.
        tile: side of a tile, in the pictures' pixels.
        size: height and width that tiles are resized to.
        channels: 3 for RGB, 1 for grey.
        bits: of greys deeper than eight bits.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        pixels: Sequence[Pixels] | None,
        tile: int,
        size: tuple[int, int],
        channels: int,
        bits: int,
    ) -> None:
        self.paths, self.sizes, self.pixels = list(paths), list(sizes), pixels
        self.tile, self.size, self.channels, self.bits = tile, size, channels, bits
        self.streams = pixels is None
        self.ends = np.cumsum([-(-height // tile) * -(-width // tile) for height, width in sizes])
        self.at_hand: OrderedDict[int, Pixels] = OrderedDict()

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        """Positions beyond the length are further draws of the same pictures."""
        tiles = []
        for index in indices:
            picture = int(np.searchsorted(self.ends, index % len(self), side="right"))
            height, width = self.sizes[picture]
            place = np.random.default_rng(index)
            top, left = (int(place.integers(side - self.tile + 1)) for side in (height, width))
            tile = self._decoded(picture)[top : top + self.tile, left : left + self.tile]
            tiles.append(resize(tile, self.size))
        return stack(tiles, self.size, self.channels)

    def shuffle(self, generator: torch.Generator) -> list[int]:
        """Streamed pictures come a few at a time, their tiles mixed: one decoding serves all tiles of a picture."""
        draw = int(torch.randint(2**31, (1,), generator=generator))
        together = AT_HAND if self.streams else len(self.paths)
        pictures = torch.randperm(len(self.paths), generator=generator).tolist()
        starts = [0, *self.ends[:-1].tolist()]
        order: list[int] = []
        for first in range(0, len(pictures), together):
            group = [i for p in pictures[first : first + together] for i in range(starts[p], int(self.ends[p]))]
            order += [group[i] for i in torch.randperm(len(group), generator=generator).tolist()]
        return [draw * len(self) + i for i in order]

    def subset(self, indices: Sequence[int]) -> "TileImages":
        """The pictures, not the tiles, at these positions."""
        return TileImages(
            [self.paths[i] for i in indices],
            [self.sizes[i] for i in indices],
            None if self.pixels is None else [self.pixels[i] for i in indices],
            self.tile,
            self.size,
            self.channels,
            self.bits,
        )

    def source(self, index: int) -> Path | Pixels:
        """The file of the picture, not of the tile, at this position."""
        return self.paths[index]

    def _decoded(self, picture: int) -> Pixels:
        if self.pixels is not None:
            return self.pixels[picture]
        if picture not in self.at_hand:
            while len(self.at_hand) >= AT_HAND:
                self.at_hand.popitem(last=False)
            self.at_hand[picture] = decode_image(self.paths[picture], self.channels, self.bits, large=True)
        self.at_hand.move_to_end(picture)
        return self.at_hand[picture]


@dataclass(frozen=True)
class ReadPictures:
    """Pictures read from files, the positions among the files of those that can be used, and why the others cannot.

    Attributes:
        tiles: random tiles of them.
        centres: of each, the tile in its middle, to look at.
    """

    tiles: TileImages
    centres: MemoryImages
    kept: list[int]
    unusable: list[str]


def read_pictures(
    paths: Sequence[Path],
    tile: int,
    size: tuple[int, int],
    channels: int,
    bits: int,
    cache: Cache = "auto",
    what: str = "pictures",
) -> ReadPictures:
    """Reads pictures to be tiled, each of them once; one that is damaged or smaller than a tile is left out and named.

    Args: as `read_files`; tile: side of a tile, in the pictures' pixels.
    """
    total = channels * sum(height * width for height, width in map(image_size, paths)) if cache == "auto" else 0
    keep = cache == "memory" or (cache == "auto" and total <= MEMORY_LIMIT)

    def read(path: Path) -> tuple[Pixels, tuple[int, int], Pixels | None] | InputError:
        try:
            pixels = decode_image(path, channels, bits, large=True)
            shape = pixels.shape[0], pixels.shape[1]
            Tiling(tile).check(shape, str(path))
        except InputError as error:
            return error
        top, left = ((side - tile) // 2 for side in shape)
        centre = resize(pixels[top : top + tile, left : left + tile], size)
        return centre, shape, pixels if keep else None

    with ThreadPoolExecutor(min(os.cpu_count() or 1, AT_HAND)) as pool:
        progress = tqdm(pool.map(read, paths), total=len(paths), desc=f"Reading {what}", leave=False, disable=None)
        results = list(progress)
    kept = [i for i, result in enumerate(results) if not isinstance(result, InputError)]
    good = [result for result in results if not isinstance(result, InputError)]
    files = [paths[i] for i in kept]
    whole = [pixels for _, _, pixels in good if pixels is not None] if keep else None
    return ReadPictures(
        TileImages(files, [shape for _, shape, _ in good], whole, tile, size, channels, bits),
        MemoryImages(stack([centre for centre, _, _ in good], size, channels), files),
        kept,
        [str(result) for result in results if isinstance(result, InputError)],
    )
