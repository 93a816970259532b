"""Which recipe finds defects in surfaces beside the demo's three, and which one `gannext train` would choose.

    python benchmarks/surfaces.py --seeds 0,1,2

Three are photographs of scikit-image's, whose patches differ in more than detail: stained tissue under a microscope, the moon,
and the Hubble telescope's deep field. Four are drawn: a weave, a perforated sheet, wood and leather. Into their test patches
the demo's defects are drawn, and ones of structure: a missing hole or thread, and a band that slipped. A row that the table
has already is not run again.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial import cKDTree
from skimage import data

from ablation import trained
from gannext.cli.demo import BUDGET
from gannext.data import DataConfig, load_split
from gannext.data import textures as drawing
from gannext.evaluation import inspect, measure
from gannext.training import RECIPES, kind_of
from kinds import greys
from measuring import Table

Pixels = NDArray[np.float64]
SIDE = 64
DRAWN = 640  # pixels of a drawn surface's side
PHOTOGRAPH = 512  # pixels of a photograph's side, at most
COMPARED = ("textures", "objects")


def photographed(name: str) -> Pixels:
    """A photograph of scikit-image's as greys 0..255."""
    return greys(getattr(data, name)())[:PHOTOGRAPH, :PHOTOGRAPH]


def rough(rng: np.random.Generator, sigma: float | tuple[float, float]) -> Pixels:
    """Smooth noise of deviation 1, (DRAWN, DRAWN), that goes on beyond its border."""
    noise: Pixels = gaussian_filter(rng.normal(size=(DRAWN, DRAWN)), sigma, mode="wrap")
    return noise / noise.std()


def weave(rng: np.random.Generator) -> Pixels:
    """Threads 8 pixels apart that go over and under one another, none of them quite straight."""
    rows, columns = np.mgrid[:DRAWN, :DRAWN] / 8 + 0.05 * np.stack([rough(rng, 25), rough(rng, 25)])
    along, across = np.sin(np.pi * (columns % 1)), np.sin(np.pi * (rows % 1))
    over = (np.floor(rows) + np.floor(columns)) % 2 == 0
    height = np.where(over, along * (0.7 + 0.3 * across), 0.85 * across * (0.7 + 0.3 * along))
    return 60 + 120 * height + 7 * rough(rng, 1)


def perforated(rng: np.random.Generator) -> Pixels:
    """A rolled sheet with round holes 12 pixels apart, each row of them shifted."""
    rows, columns = np.mgrid[:DRAWN, :DRAWN].astype(float)
    shifted = columns + np.floor(rows / 12) % 2 * 6
    hole = np.clip(4.1 - np.hypot(shifted % 12 - 6, rows % 12 - 6), 0, 1)
    return (165 + 8 * rough(rng, (0.5, 5))) * (1 - hole) + 25 * hole + rng.normal(0, 3, hole.shape)


def wood(rng: np.random.Generator) -> Pixels:
    """Year rings 14 pixels apart that wander, and fibres along them."""
    rings = np.sin(2 * np.pi * (np.arange(DRAWN) / 14 + 1.3 * rough(rng, (60, 12))))
    return 140 + 25 * rings + 12 * rough(rng, (8, 0.6)) + rng.normal(0, 2, rings.shape)


def leather(rng: np.random.Generator) -> Pixels:
    """Cells of no order with dark seams between them."""
    rows, columns = np.mgrid[:DRAWN, :DRAWN]
    centres = cKDTree(rng.uniform(0, DRAWN, (9000, 2)), boxsize=DRAWN)
    near = centres.query(np.column_stack((rows.ravel(), columns.ravel())), k=2)[0]
    from_seam = (near[:, 1] - near[:, 0]).reshape(rows.shape)
    return 70 + 45 * np.clip(from_seam / 3, 0, 1) + 3 * rough(rng, 8) + rng.normal(0, 3, rows.shape)


SURFACES: dict[str, Callable[[np.random.Generator], Pixels]] = {
    "tissue": lambda _: photographed("immunohistochemistry"),
    "moon": lambda _: photographed("moon"),
    "stars": lambda _: photographed("hubble_deep_field"),
    "weave": weave,
    "perforated": perforated,
    "wood": wood,
    "leather": leather,
}


def slip(patch: Pixels, foreign: Pixels, rng: np.random.Generator) -> drawing.Drawing:
    """A band of it moved along itself."""
    start, width = int(rng.integers(12, 44)), int(rng.integers(6, 11))
    cover = np.zeros_like(patch)
    cover[start : start + width] = 1
    axis = int(rng.integers(2))
    return np.roll(patch, int(rng.integers(3, 6)), 1 - axis), cover if axis == 0 else cover.T


def missing_thread(patch: Pixels, foreign: Pixels, rng: np.random.Generator) -> drawing.Drawing:
    """A gap where a thread lay, straight across."""
    start, width = int(rng.integers(12, 52)), int(rng.integers(4, 8))
    cover = np.zeros_like(patch)
    cover[start : start + width] = 1
    return 0.75 * gaussian_filter(patch, 3), cover if rng.random() < 0.5 else cover.T


def missing_hole(patch: Pixels, foreign: Pixels, rng: np.random.Generator) -> drawing.Drawing:
    """The sheet where a hole should be."""
    darkness = uniform_filter(patch, 5)[14:-14, 14:-14]
    row, column = rng.choice(np.argwhere(darkness <= np.quantile(darkness, 0.05))) + 14
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.quantile(patch, 0.7) + rng.normal(0, 6, patch.shape), np.clip(5.7 - np.hypot(rows - row, columns - column), 0, 1)


OF_STRUCTURE: dict[str, dict[str, drawing.Painter]] = {
    "weave": {"slip": slip, "missing": missing_thread},
    "perforated": {"slip": slip, "missing": missing_hole},
    "wood": {"slip": slip},
}


def measured(root: Path, name: str, seed: int) -> Iterator[tuple[str, str]]:
    """What two recipes make of a surface's folder, in the demo's length or their own."""
    split = load_split(DataConfig(name, root, size=(SIDE, SIDE), channels=1, seed=seed))
    kinds = np.array(split.kinds)
    yield "chosen", kind_of(split.train)
    for kind in COMPARED:
        found = inspect(trained(RECIPES[f"robust-{kind}"], split, SIDE, 1, seed, BUDGET if kind == "textures" else None), split)
        assert found.localisation
        yield kind, f"{measure(found.scores, split.labels, np.inf).auroc:.4f}"
        yield f"{kind}_pixel", f"{found.localisation.auroc:.4f}"
        if kind == "textures":
            for defect in (*drawing.DEFECTS, "slip", "missing"):
                of_it = (kinds == defect) | ~split.labels.numpy()
                some = defect in kinds
                yield defect, f"{measure(found.scores[of_it], split.labels[of_it], np.inf).auroc:.4f}" if some else ""


def main() -> None:
    """Runs what is missing and writes the table after each surface."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", default=",".join(SURFACES))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--output", type=Path, default=Path("results/robust/surfaces.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    foreign = [drawing.photograph(texture) for texture in drawing.TEXTURES]
    for seed in args.seeds.split(","):
        for name in args.surfaces.split(","):
            key = {"surface": name, "seed": seed}
            if table.find(**key):
                continue
            whole = np.clip(SURFACES[name](np.random.default_rng(0)), 0, 255)
            defects = {**drawing.DEFECTS, **OF_STRUCTURE.get(name, {})}
            with TemporaryDirectory() as folder:
                place = (int(seed), len(drawing.TEXTURES) + list(SURFACES).index(name))
                drawing.make_surface(Path(folder), whole, foreign, defects, place, side=SIDE)
                table.add({**key, **dict(measured(Path(folder), name, int(seed)))})
    columns = [column for column in table.rows[0] if column not in ("surface", "seed", "chosen")]
    print("", f"| surface | {' | '.join(columns)} |", f"|{'---|' * (1 + len(columns))}", sep="\n")
    for name in args.surfaces.split(","):
        rows = [row for row in table.rows if row["surface"] == name]
        means = (np.mean([float(row[column]) for row in rows]) if rows[0][column] else None for column in columns)
        print(f"| {name} | {' | '.join('' if mean is None else f'{mean:.3f}' for mean in means)} |")


if __name__ == "__main__":
    main()
