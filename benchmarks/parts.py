"""Which recipe finds defects in one kind of part, lying straight or at any angle, and which one `gannext train` would choose.

    python benchmarks/parts.py --seeds 0
    python benchmarks/parts.py --side 128 --parts cup,wheel,screw --positions "any angle" --output results/robust/parts_128.csv

Parts are cut from scikit-image's photographs, or drawn: each image shows the same one, moved, turned, in another light and with
noise of its own, and test images have the texture demo's defects drawn into the part. Large images have defects of half the
size too, and tell what it is worth to train on whole images rather than on windows of them. A row that the table has already
is not run again.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data, transform

from ablation import trained
from ablation_textures import LARGE, half_as_large
from gannext.data import DataConfig, load_split
from gannext.data import textures as drawing
from gannext.evaluation import inspect, measure
from gannext.training import RECIPES, kind_of
from gannext.training.kind import agreement, layout_share, likeness, thumbnails
from kinds import greys
from measuring import Table

Pixels = NDArray[np.float64]
DRAWN = 240  # pixels of a part's side, before it is placed
FINER = 2  # times as many pixels while it is turned
BACKGROUND = 40.0
NOISE = 3.0
LEAST_CHANGE = 8.0  # grey levels that a defect changes its pixels by, on average
SMALL = "small "
ANGLES = {"straight": 4.0, "any angle": 180.0}
COUNTS = {"train": 300, "validation": 100, "test": 100}
EACH = 30


def photographed(name: str) -> Pixels:
    """A round cutting of a photograph's part, as greys 0..255, (DRAWN, DRAWN)."""
    pixels, (top, left, side) = {
        "cup": (data.coffee, (40, 140, 320)),
        "coin": (data.coins, (18, 20, 60)),
        "retina": (data.retina, (0, 0, 1411)),
        "wheel": (lambda: data.stereo_motorcycle()[0], (240, 22, 250)),
    }[name]
    cut = greys(pixels())[top : top + side, left : left + side]
    return transform.resize(cut, (DRAWN, DRAWN), anti_aliasing=True)


def part(name: str) -> tuple[Pixels, Pixels]:
    """A part as greys 0..255, and how much of each pixel it covers, (DRAWN, DRAWN) each."""
    rows, columns = np.mgrid[:DRAWN, :DRAWN] + 0.5 - DRAWN / 2
    radius, angle = np.hypot(rows, columns) / DRAWN, np.arctan2(rows, columns)
    if name == "nut":
        outside = radius * np.cos(np.mod(angle, np.pi / 3) - np.pi / 6)
        inside = (outside < 0.42) & (radius > 0.2)
        slopes = 40 * np.clip((radius - 0.3) / 0.12, 0, 1) - 50 * np.clip((0.24 - radius) / 0.04, 0, 1)
        mark = (abs(rows / DRAWN + 0.36) < 0.02) & (abs(columns / DRAWN) < 0.05)
        surface = 150 + 15 * np.cos(angle) + slopes - 60 * mark
        return surface + 0.25 * grain("brick"), inside.astype(float)
    if name == "screw":
        down, across = rows / DRAWN, columns / DRAWN
        shaft, head = (abs(across) < 0.09) & (abs(down - 0.065) < 0.315), (abs(across) < 0.2) & (abs(down + 0.325) < 0.075)
        threads = 40 * np.sin((rows + 0.3 * columns) / 4.8) * (down > -0.2)
        return 140 + 60 * np.cos(7.5 * across) + threads + 0.15 * grain("gravel"), (shaft | head).astype(float)
    return photographed(name), np.clip((0.47 - radius) * DRAWN, 0, 1)


def grain(texture: str) -> Pixels:
    """How a surface differs from its mean."""
    pixels = drawing.photograph(texture)[:DRAWN, :DRAWN]
    return pixels - pixels.mean()


PARTS = ("cup", "coin", "retina", "wheel", "nut", "screw")


def placed(surface: Pixels, cover: Pixels, most: float, side: int, rng: np.random.Generator) -> tuple[Pixels, Pixels]:
    """An image of the part, turned by up to so many degrees, and where it is, (side, side) each."""
    large = FINER * side
    middle = transform.SimilarityTransform(translation=(-DRAWN / 2, -DRAWN / 2))
    turn = transform.SimilarityTransform(
        scale=0.92 * large / DRAWN * rng.uniform(0.97, 1.03), rotation=np.deg2rad(rng.uniform(-most, most))
    )
    to_place = transform.SimilarityTransform(translation=large * (0.5 + rng.uniform(-0.05, 0.05, 2)))
    inverse = (middle + turn + to_place).inverse

    def moved(pixels: Pixels) -> Pixels:
        turned = transform.warp(pixels, inverse, output_shape=(large, large), preserve_range=True)
        return transform.resize(turned, (side, side), anti_aliasing=True)

    where = np.clip(moved(cover), 0, 1)
    light = rng.uniform(0.92, 1.08)
    return light * (moved(surface * cover) + (1 - where) * BACKGROUND), where


def make_parts(root: Path, name: str, most: float, side: int, seed: int) -> None:
    """Writes a folder in MVTec AD's layout, as `gannext.data.textures.make_textures` does."""
    surface, cover = part(name)
    for index, (folder, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng((seed, index))
        for number in range(count):
            save(placed(surface, cover, most, side, rng)[0], root / folder / "good" / f"{number:03d}.png", rng)
    foreign = [drawing.photograph(texture) for texture in drawing.TEXTURES]
    for index, (kind, painter) in enumerate(defects(side).items(), start=len(COUNTS)):
        rng = np.random.default_rng((seed, index))
        for number in range(EACH):
            for _ in range(100):  # until it can be seen on the part
                image, where = placed(surface, cover, most, side, rng)
                defect, shows = painter(np.clip(image, 0, 255), foreign[number % len(foreign)], rng)
                shows = np.where((where > 0.9) & (shows >= 0.15), shows, 0.0)
                mask, damaged = shows > 0, image + shows * (defect - image)
                if mask.sum() >= side // 2 and abs(damaged - image)[mask].mean() >= LEAST_CHANGE:
                    break
            save(damaged, root / "test" / kind / f"{number:03d}.png", rng)
            save(np.where(mask, 255.0, 0.0), root / "ground_truth" / kind / f"{number:03d}_mask.png")


def defects(side: int) -> dict[str, drawing.Painter]:
    """The demo's, and in large images the same at half the size."""
    small = {f"{SMALL}{kind}": half_as_large(painter) for kind, painter in drawing.DEFECTS.items()} if side > LARGE else {}
    return {**drawing.DEFECTS, **small}


def save(pixels: Pixels, path: Path, rng: np.random.Generator | None = None) -> None:
    """A grey PNG file, noisy where there is a generator of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = pixels + rng.normal(0, NOISE, pixels.shape) if rng else pixels
    Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8)).save(path)


def measured(root: Path, side: int, seed: int) -> Iterator[tuple[str, str]]:
    """What normal images show, and what two robust recipes make of the rest, in their own numbers of steps."""
    split = load_split(DataConfig("parts", root, size=(side, side), channels=1, seed=seed))
    x, kinds = thumbnails(split.train), np.array(split.kinds)
    for look in (layout_share, agreement, likeness):
        yield look.__name__.removesuffix("_share"), f"{look(x):.3f}"
    yield "chosen", kind_of(split.train)
    small = np.char.startswith(kinds, SMALL)
    for kind in compared(side):
        detector = trained(RECIPES[f"robust-{kind}"], split, side, 1, seed)
        found = inspect(detector, split)
        assert found.localisation
        for name, some in ((kind, ~small), *(((f"{kind}_small", small | ~split.labels.numpy()),) if small.any() else ())):
            yield name, f"{measure(found.scores[some], split.labels[some], np.inf).auroc:.4f}"
        yield f"{kind}_pixel", f"{found.localisation.auroc:.4f}"


def compared(side: int) -> tuple[str, str]:
    """The recipe for parts and another: of large images the one that is trained on windows, of small ones that is the same."""
    return ("parts", "textures") if side > LARGE else ("parts", "objects")


def main() -> None:
    """Runs what is missing and writes the table after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--positions", default=",".join(ANGLES))
    parser.add_argument("--side", type=int, default=64, help="of the images")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--output", type=Path, default=Path("results/robust/parts.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    for seed in args.seeds.split(","):
        for name in args.parts.split(","):
            for position in args.positions.split(","):
                key = {"part": name, "position": position, "seed": seed}
                if not table.find(**key):
                    with TemporaryDirectory() as folder:
                        make_parts(Path(folder), name, ANGLES[position], args.side, int(seed))
                        table.add({**key, **dict(measured(Path(folder), args.side, int(seed)))})
    columns = [column for column in table.rows[0] if column not in ("part", "position", "seed", "chosen")]
    print("", f"| part | position | {' | '.join(columns)} |", f"|{'---|' * (2 + len(columns))}", sep="\n")
    for name in args.parts.split(","):
        for position in args.positions.split(","):
            rows = [row for row in table.rows if (row["part"], row["position"]) == (name, position)]
            means = (f"{np.mean([float(row[column]) for row in rows]):.3f}" for column in columns)
            print(f"| {name} | {position} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
