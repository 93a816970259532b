"""Sets of images: small ones as one tensor of bytes in memory, large ones decoded as they are needed."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from gannext.runtime import InputError, Pixels, array_to_pixels, decode_image, resize

Cache: TypeAlias = Literal["auto", "memory", "stream"]
MEMORY_LIMIT = 2 * 2**30  # bytes of decoded, resized images that "auto" keeps in memory


class Images(Dataset[Tensor], ABC):
    """A set of images at one size. `images[i]` is bytes (C, H, W); a list of positions gives (N, C, H, W)."""

    streams = False

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    @abstractmethod
    def __getitems__(self, indices: Sequence[int]) -> Tensor: ...

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> "Images":
        """The images at these positions, in this order."""

    @abstractmethod
    def source(self, index: int) -> Path | Pixels:
        """The image before it was resized or cut: its file, or where it has none, its bytes (H, W, C)."""

    def shuffle(self, generator: torch.Generator) -> list[int]:
        """The positions of one epoch of training, in random order."""
        return torch.randperm(len(self), generator=generator).tolist()


class MemoryImages(Images):
    """Images that are one tensor of bytes (N, C, H, W): a batch is one indexing. `paths` are their files, if any."""

    def __init__(self, pixels: Tensor, paths: Sequence[Path] | None = None) -> None:
        self.pixels = pixels
        self.paths = paths

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        return self.pixels[torch.as_tensor(indices, dtype=torch.long)]

    def subset(self, indices: Sequence[int]) -> "MemoryImages":
        paths = None if self.paths is None else [self.paths[i] for i in indices]
        return MemoryImages(self.__getitems__(indices), paths)

    def source(self, index: int) -> Path | Pixels:
        if self.paths is not None:
            return self.paths[index]
        return np.ascontiguousarray(self.pixels[index].permute(1, 2, 0).numpy())


class FileImages(Images):
    """Images that stay in their files and are decoded whenever they are asked for."""

    streams = True

    def __init__(self, paths: Sequence[Path], size: tuple[int, int], channels: int, bits: int) -> None:
        self.paths = list(paths)
        self.size, self.channels, self.bits = size, channels, bits

    def __len__(self) -> int:
        return len(self.paths)

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        pixels = [resize(decode_image(self.paths[i], self.channels, self.bits), self.size) for i in indices]
        return stack(pixels, self.size, self.channels)

    def subset(self, indices: Sequence[int]) -> "FileImages":
        return FileImages([self.paths[i] for i in indices], self.size, self.channels, self.bits)

    def source(self, index: int) -> Path | Pixels:
        return self.paths[index]


@dataclass(frozen=True)
class ReadFiles:
    """Images read from files, the positions among the files of those that could be read, and why the others not."""

    images: Images
    kept: list[int]
    unreadable: list[str]


def read_files(
    paths: Sequence[Path], size: tuple[int, int], channels: int, bits: int, cache: Cache = "auto", what: str = "images"
) -> ReadFiles:
    """Reads image files, each of them once; a damaged one is left out and named.

    Args:
        paths: the files.
        size: height and width that they are resized to.
        channels: 3 for RGB, 1 for grey.
        bits: of greys deeper than eight bits; see `gannext.runtime.to_pixels`.
        cache: "memory" keeps the decoded bytes, "stream" only the paths, "auto" decides by the bytes' sum.
        what: names the files on the progress bar.

    The reading goes through all files under "stream" too: a damaged file is better named now than
    in the middle of the night.
    """
    total = len(paths) * channels * size[0] * size[1]
    keep = cache == "memory" or (cache == "auto" and total <= MEMORY_LIMIT)

    def read(path: Path) -> Pixels | InputError | None:
        try:
            pixels = decode_image(path, channels, bits)
            return resize(pixels, size) if keep else None
        except InputError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        progress = tqdm(pool.map(read, paths), total=len(paths), desc=f"Reading {what}", leave=False, disable=None)
        results = list(progress)
    kept = [i for i, result in enumerate(results) if not isinstance(result, InputError)]
    unreadable = [str(result) for result in results if isinstance(result, InputError)]
    good = [paths[i] for i in kept]
    if keep:
        arrays = [result for result in results if isinstance(result, np.ndarray)]
        return ReadFiles(MemoryImages(stack(arrays, size, channels), good), kept, unreadable)
    return ReadFiles(FileImages(good, size, channels, bits), kept, unreadable)


def from_arrays(arrays: NDArray[np.uint8], size: tuple[int, int], channels: int) -> MemoryImages:
    """Bytes (N, h, w) or (N, h, w, C) as images of one size."""
    return from_pixels([resize(array_to_pixels(a, channels), size) for a in arrays], size, channels)


def from_pixels(pixels: Sequence[Pixels], size: tuple[int, int], channels: int) -> MemoryImages:
    """Bytes (H, W, C) of that size as images."""
    return MemoryImages(stack(pixels, size, channels))


def stack(pixels: Sequence[Pixels], size: tuple[int, int], channels: int) -> Tensor:
    """Arrays (H, W, C) as one tensor (N, C, H, W), of none too."""
    if not pixels:
        return torch.empty(0, channels, *size, dtype=torch.uint8)
    return torch.from_numpy(np.ascontiguousarray(np.stack(pixels).transpose(0, 3, 1, 2)))
