"""A small inspection data set from real photographs: brick, gravel and grass with drawn-in defects.

Normal patches are cut from one part of a photograph of scikit-image's, test patches from another,
and the defects are drawn into test patches with their exact masks, in MVTec's layout:

    root/train/good/000.png   root/validation/good/000.png
    root/test/good/000.png    root/test/<defect>/000.png
    root/ground_truth/<defect>/000_mask.png

Outside its mask a defective patch is the photograph, bit by bit.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data, filters

Patch = NDArray[np.float64]  # grey levels 0..255, (side, side)
Mask = NDArray[np.bool_]  # (side, side)
Drawing = tuple[Patch, Patch]  # the defect, and how much of it shows in each pixel: 0..1
Painter = Callable[[Patch, Patch, np.random.Generator], Drawing]

TEXTURES = ("brick", "gravel", "grass")
Region = tuple[float, float, float, float]  # top, bottom, left, right, as fractions of the photograph

TRAIN: Region = (0.0, 1.0, 0.0, 0.6)
VALIDATION: Region = (0.0, 0.3, 0.6, 1.0)
TEST: Region = (0.3, 1.0, 0.6, 1.0)

_SUPERSAMPLE = 4
_SHOWS = 0.15  # a pixel of which less than this is covered is left as it was
_VISIBLE = 6.0  # grey levels that a defect changes its pixels by at least, on average
_ATTEMPTS = 50


def photograph(texture: str) -> Patch:
    """One of scikit-image's photographs as grey levels 0..255, (512, 512)."""
    if texture not in TEXTURES:
        raise ValueError(f"texture {texture!r} is unknown: choose one of {', '.join(TEXTURES)}")
    pixels: Patch = np.asarray(getattr(data, texture)(), dtype=np.float64)
    return pixels


def make_textures(root: Path, texture: str, seed: int, **sizes: int) -> None:
    """Writes the data set of one texture under `root`, the same for the same seed.

    Args:
        root: folder to write to; it is made if need be.
        texture: "brick", "gravel" or "grass".
        seed: chooses places and defects.
        sizes: `side`, `train`, `validation`, `good` and `each` of `make_surface`.
    """
    foreign = [photograph(name) for name in TEXTURES if name != texture]
    make_surface(root, photograph(texture), foreign, DEFECTS, (seed, TEXTURES.index(texture)), **sizes)


def make_surface(
    root: Path,
    whole: Patch,
    foreign: Sequence[Patch],
    defects: Mapping[str, Painter],
    seed: tuple[int, ...],
    *,
    side: int = 64,
    train: int = 400,
    validation: int = 100,
    good: int = 100,
    each: int = 40,
) -> None:
    """Writes the data set of any surface, the same for the same seed.

    Patches to train on, to calibrate on and to test on come from parts of the surface that do not touch.

    Args:
        root: folder to write to; it is made if need be.
        whole: greys 0..255 (H, W).
        foreign: other surfaces, of which pieces lie on this one, (H, W) each.
        defects: by name.
        seed: chooses places and defects.
        side: height and width of a patch.
        train, validation: normal patches to train on, and to calibrate on.
        good: normal patches to test on.
        each: test patches of each kind of defect.
    """
    tested = _part(whole, TEST)
    normal = (("train", TRAIN, train), ("validation", VALIDATION, validation), ("test", TEST, good))
    for index, (folder, region, count) in enumerate(normal):
        rng = np.random.default_rng((*seed, index))
        for number in range(count):
            _save(_cut(_part(whole, region), side, rng), root / folder / "good" / f"{number:03d}.png")
    for index, (kind, painter) in enumerate(defects.items(), start=len(normal)):
        rng = np.random.default_rng((*seed, index))
        for number in range(each):
            patch, mask = _damage(tested, foreign[number % len(foreign)], side, painter, rng)
            _save(patch, root / "test" / kind / f"{number:03d}.png")
            _save(mask * 255.0, root / "ground_truth" / kind / f"{number:03d}_mask.png")


def _damage(source: Patch, foreign: Patch, side: int, painter: Painter, rng: np.random.Generator) -> tuple[Patch, Mask]:
    """A patch with a defect that can be seen: one that a brick's plain face hides is drawn anew elsewhere."""
    for _ in range(_ATTEMPTS):
        patch = _cut(source, side, rng)
        defect, cover = painter(patch, foreign, rng)
        cover = np.where(cover < _SHOWS, 0.0, cover)
        mask = cover > 0
        damaged = np.rint(np.clip(patch + cover * (defect - patch), 0, 255))
        if mask.sum() >= side // 4 and np.abs(damaged - patch)[mask].mean() >= _VISIBLE:
            break
    return damaged, mask


def _scratch(patch: Patch, foreign: Patch, rng: np.random.Generator) -> Drawing:
    """A thin, slightly bent line, lighter or darker than what it crosses, fading at its ends."""
    side = patch.shape[0]
    start = rng.uniform(0.15, 0.85, 2) * side
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 0.9) * side
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    t = np.linspace(0, 1, 24)
    bend = rng.uniform(-0.12, 0.12) * length
    points = start + np.outer(t - 0.5, length * along) + np.outer(4 * bend * t * (1 - t), across)
    pressure = np.clip(np.minimum(t, 1 - t) * 6, 0.35, 1.0) * rng.uniform(1.4, 2.6)  # the line's width, in pixels
    canvas = Image.new("L", (side * _SUPERSAMPLE,) * 2)
    draw = ImageDraw.Draw(canvas)
    scaled = points * _SUPERSAMPLE
    for (x0, y0), (x1, y1), width in zip(scaled[:-1], scaled[1:], pressure[1:], strict=True):
        draw.line((x0, y0, x1, y1), fill=255, width=max(1, round(width * _SUPERSAMPLE)))
    cover = np.asarray(canvas.resize((side, side), Image.Resampling.BOX), dtype=np.float64) / 255
    sign = rng.choice((-1.0, 1.0))
    return _smooth(patch, 2) + sign * rng.uniform(60, 95), cover * 0.95


def _stain(patch: Patch, foreign: Patch, rng: np.random.Generator) -> Drawing:
    """A soft-edged spot that darkens (moisture) or bleaches the surface, which stays visible under it."""
    cover = _blob(patch.shape[0], rng, radius=(0.13, 0.23), roughness=0.2, edge=1.5)
    if rng.random() < 0.7:
        return patch * rng.uniform(0.4, 0.6), cover
    strength = rng.uniform(0.4, 0.6)
    return patch + strength * (235 - patch), cover


def _hole(patch: Patch, foreign: Patch, rng: np.random.Generator) -> Drawing:
    """A pit: dark, with a lit edge on the side away from the light."""
    side = patch.shape[0]
    cover = _blob(side, rng, radius=(0.08, 0.15), roughness=0.2, edge=0.6)
    depth = _smooth(cover, 1.0)
    light = rng.uniform(0, 2 * np.pi)
    rows, columns = np.gradient(_smooth(cover, 1.5))
    lit = 110 * np.clip(-(columns * np.cos(light) + rows * np.sin(light)), 0, None)
    bottom = rng.uniform(8, 35) + 0.12 * (patch - patch.mean()) + rng.normal(0, 3, patch.shape)
    return patch + depth * (bottom - patch) + lit, cover


def _blur(patch: Patch, foreign: Patch, rng: np.random.Generator) -> Drawing:
    """A smeared part of the surface."""
    cover = _blob(patch.shape[0], rng, radius=(0.15, 0.26), roughness=0.2, edge=1.0)
    return _smooth(patch, rng.uniform(1.6, 2.8)), cover


def _foreign(patch: Patch, foreign: Patch, rng: np.random.Generator) -> Drawing:
    """A piece of another surface lying on this one, about as light as what it covers."""
    side = patch.shape[0]
    cover = _blob(side, rng, radius=(0.13, 0.23), roughness=0.2, edge=0.6)
    piece = _cut(foreign, side, rng)
    inside = cover > 0.5
    shift = patch[inside].mean() - piece[inside].mean()
    return piece + rng.uniform(0.5, 1.0) * shift, cover


DEFECTS: Mapping[str, Painter] = MappingProxyType(
    {"scratch": _scratch, "stain": _stain, "hole": _hole, "blur": _blur, "foreign": _foreign}
)


def _blob(side: int, rng: np.random.Generator, radius: tuple[float, float], roughness: float, edge: float) -> Patch:
    """An irregular spot's cover, 1 inside to 0 outside over about 2 * `edge` pixels; radii in sides."""
    centre = rng.uniform(0.2, 0.8, 2) * side
    size = rng.uniform(*radius) * side
    stretch, turn = rng.uniform(0.7, 1.0), rng.uniform(0, np.pi)
    rows, columns = np.mgrid[:side, :side] + 0.5
    dy, dx = rows - centre[0], columns - centre[1]
    u = dx * np.cos(turn) + dy * np.sin(turn)
    v = (dy * np.cos(turn) - dx * np.sin(turn)) / stretch
    phase = np.arctan2(v, u)
    waves = sum(rng.normal() / k * np.cos(k * phase + rng.uniform(0, 2 * np.pi)) for k in range(2, 7))
    distance = np.hypot(u, v) - size * np.clip(1 + roughness * waves, 0.5, 1.5)
    cover: Patch = np.clip(0.5 - distance / (2 * edge), 0, 1)
    return cover


def _smooth(pixels: Patch, sigma: float) -> Patch:
    smoothed: Patch = filters.gaussian(pixels, sigma, mode="reflect")
    return smoothed


def _part(pixels: Patch, region: Region) -> Patch:
    height, width = pixels.shape
    top, bottom, left, right = region
    return pixels[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


def _cut(pixels: Patch, side: int, rng: np.random.Generator) -> Patch:
    """A square from a random place."""
    if min(pixels.shape) < side:
        raise ValueError(f"a patch of {side} pixels does not fit into {pixels.shape[0]}x{pixels.shape[1]}")
    row, column = (int(rng.integers(0, extent - side + 1)) for extent in pixels.shape)
    return pixels[row : row + side, column : column + side].copy()


def _save(pixels: NDArray[np.floating], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
