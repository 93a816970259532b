"""Large pictures are judged in overlapping tiles, whose maps are blended so that no seam shows."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gannext.runtime.errors import InputError

OVERLAPS = (0.0, 0.75)
SMALLEST_TILE = 32  # side of a tile that a command takes


@dataclass(frozen=True)
class Box:
    """One tile: its row and column in the grid, and its upper left pixel."""

    row: int
    column: int
    top: int
    left: int


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into square tiles.

    Attributes:
        side: of a tile, in the picture's pixels.
        overlap: share of a tile's side that its neighbour covers too, at least; 0 to 0.75. With 0,
            seams show.
    """

    side: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.side < 1 or not OVERLAPS[0] <= self.overlap <= OVERLAPS[1]:
            raise InputError(f"tiles of side {self.side} that overlap by {self.overlap:g} are impossible: give 0 to 0.75")

    def check(self, size: tuple[int, int], name: str) -> None:
        """Raises InputError where a picture of that height and width is smaller than a tile."""
        height, width = size
        if min(height, width) < self.side:
            smaller = f", or train with a --tile of at most {min(size)}" if min(size) >= SMALLEST_TILE else ""
            raise InputError(
                f"{name} is {height}x{width} pixels, smaller than a tile of {self.side}x{self.side}: leave it out{smaller}"
            )

    def starts(self, length: int) -> list[int]:
        """Where the tiles begin along an axis of so many pixels: evenly spaced, the last one ending at the edge."""
        room = length - self.side
        stride = max(1, round(self.side * (1 - self.overlap)))
        last = math.ceil(room / stride)
        return [round(i * room / last) for i in range(last + 1)] if last else [0]

    def boxes(self, size: tuple[int, int]) -> Iterator[Box]:
        """The tiles of a picture of that height and width, row by row."""
        lefts = self.starts(size[1])
        for row, top in enumerate(self.starts(size[0])):
            for column, left in enumerate(lefts):
                yield Box(row, column, top, left)

    def windows(self, length: int) -> NDArray[np.float32]:
        """The weights (tiles, side) of every tile's pixels along an axis; over each pixel they add up to 1.

        They rise and fall as sin^2 where tiles overlap, so that a map and its slope go on without a step.
        """
        starts = self.starts(length)
        weights = np.ones((len(starts), self.side))
        for index, (start, following) in enumerate(pairwise(starts)):
            shared = start + self.side - following
            ramp = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / max(shared, 1)) ** 2
            weights[index + 1, :shared] *= ramp
            weights[index, self.side - shared :] *= ramp[::-1]
        total = np.zeros(length)
        for start, weight in zip(starts, weights, strict=True):
            total[start : start + self.side] += weight
        return np.stack([w / total[s : s + self.side] for s, w in zip(starts, weights, strict=True)]).astype(np.float32)


class Blend:
    """Puts tiles together into one array, holding no more than one row of tiles in floats.

    Args:
        tiling: how the picture was cut.
        out: (height, width, channels), of floats or bytes; it is filled from the top down.

    Tiles are added in the order of `Tiling.boxes`; `out` is complete after `finish`.
    """

    def __init__(self, tiling: Tiling, out: NDArray[Any]) -> None:
        height, width, channels = out.shape
        self.out = out
        self.tops = tiling.starts(height)
        self.down, self.across = tiling.windows(height), tiling.windows(width)
        self.band = np.zeros((tiling.side, width, channels), np.float32)
        self.row = 0

    def add(self, box: Box, tile: NDArray[np.generic]) -> None:
        """Adds one tile (side, side, channels)."""
        if box.row != self.row:
            self._hand_over(box.top - self.tops[self.row])
            self.row = box.row
        weight = self.down[box.row][:, None, None] * self.across[box.column][None, :, None]
        self.band[:, box.left : box.left + tile.shape[1]] += weight * tile

    def finish(self) -> None:
        """Hands over what the last row of tiles holds."""
        self._hand_over(len(self.band))

    def _hand_over(self, rows: int) -> None:
        """Moves so many complete rows into the output, and the band down by as many."""
        top = self.tops[self.row]
        done = self.band[:rows]
        self.out[top : top + rows] = np.clip(np.rint(done), 0, 255) if self.out.dtype == np.uint8 else done
        self.band[: len(self.band) - rows] = self.band[rows:].copy()
        self.band[len(self.band) - rows :] = 0
