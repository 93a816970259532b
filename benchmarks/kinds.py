"""What `gannext train` takes sets of normal images for: how much they differ in their layout, and how alike they are.

    python benchmarks/kinds.py

Digits and clothes, each class left out in turn, cuttings of photographs, and surfaces in even light and in light from one side,
another one in each image; the last two also as lenses show them that make the corners dark. Parts are in parts.py.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage import color, data

from gannext.data import DATASETS, DataConfig, Images, MemoryImages, load_split
from gannext.data import textures as drawing
from gannext.training import kind_of
from gannext.training.kind import agreement, layout_share, likeness, thumbnails
from measuring import Table

Pixels = NDArray[np.float64]
SIDE = 64
COUNT = 200
SLOPES = (0.0, 0.1, 0.5)  # how much lighter or darker the border is than the middle, at most
FALL = 0.3  # how much darker the corners are than the middle, in every image
PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "moon", "rocket")
CUTTING = 96  # pixels of a photograph


def sets() -> Iterator[tuple[str, Images]]:
    """Sets of normal images, by name."""
    for name in ("digits", "fashion_mnist"):
        for abnormal in DATASETS[name].classes:
            yield f"{name} without {abnormal}", load_split(DataConfig(name, None, abnormal, channels=1)).train
    rng = np.random.default_rng(0)
    for name in PHOTOGRAPHS:
        whole = greys(getattr(data, name)())
        cuttings = [cut(whole, CUTTING, rng) for _ in range(COUNT)]
        yield f"cuttings of {name}", as_images(cuttings)
        yield f"cuttings of {name}, corners darker by {FALL:g}", as_images(with_dark_corners(cuttings))
    for name in (*drawing.TEXTURES, "brushed metal"):
        for slope in SLOPES:
            lit = [light(slope, rng) * surface(name, rng) for _ in range(COUNT)]
            yield f"{name}, light that slopes by up to {slope:g}", as_images(lit)
        yield f"{name}, light that slopes by up to {slope:g}, corners darker by {FALL:g}", as_images(with_dark_corners(lit))


def greys(photograph: ArrayLike) -> Pixels:
    """A photograph of bytes, (H, W) or (H, W, 3), as greys 0..255, (H, W)."""
    pixels = np.asarray(photograph)
    grey: Pixels = pixels.astype(float) if pixels.ndim == 2 else color.rgb2gray(pixels) * 255
    return grey


def surface(name: str, rng: np.random.Generator) -> Pixels:
    """A piece of it in even light, greys (SIDE, SIDE)."""
    if name in drawing.TEXTURES:
        return cut(drawing.photograph(name), SIDE, rng)
    lines: Pixels = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), (0.5, 4))
    return 140 + 6 * lines / lines.std() + rng.normal(0, 3, lines.shape)


def cut(whole: Pixels, side: int, rng: np.random.Generator) -> Pixels:
    """A square of it from a random place."""
    row, column = (int(rng.integers(0, extent - side + 1)) for extent in whole.shape)
    return whole[row : row + side, column : column + side]


def light(slope: float, rng: np.random.Generator) -> Pixels:
    """A factor for each pixel, 1 in the middle, that grows in a direction of its own."""
    rows, columns = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    return 1 + slope * rng.uniform(0, 1) * (rows * np.sin(angle) + columns * np.cos(angle))


def with_dark_corners(pixels: Sequence[Pixels]) -> list[Pixels]:
    """The same, as a lens shows them whose light falls with the square of the distance from the middle."""
    side = pixels[0].shape[0]
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    return [one * (1 - FALL * (rows**2 + columns**2) / 2) for one in pixels]


def as_images(pixels: Sequence[Pixels]) -> Images:
    """Greys 0..255 as images to train on."""
    every = np.clip(np.rint(np.stack(pixels)), 0, 255).astype(np.uint8)
    return MemoryImages(torch.from_numpy(every)[:, None])


def main() -> None:
    """Measures every set and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/robust/kinds.csv"))
    args = parser.parse_args()
    args.output.unlink(missing_ok=True)
    table = Table(args.output)
    for name, images in sets():
        x = thumbnails(images)
        measured = {"layout": layout_share(x), "agreement": agreement(x), "likeness": likeness(x)}
        row = {column: f"{value:.3f}" for column, value in measured.items()}
        table.add({"images": name, **row, "chosen": kind_of(images)})


if __name__ == "__main__":
    main()
