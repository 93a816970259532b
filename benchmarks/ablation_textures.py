"""What each ingredient of the robust recipe for textures is worth, and whether it finds kinds of defect that it has not met.

    python benchmarks/ablation_textures.py --textures gravel,grass --seeds 0,1,2
    python benchmarks/ablation_textures.py --side 128 --budget 0 --only "all of it,windows" --output results/ablation/large.csv

The demo's test part of each photograph is never touched: defects are drawn into the right third of the part that the demo
trains on, and the left two thirds are trained on. Everything is trained again without each ingredient. Without a kind of
corruption, the drawn defect that is most like it is one that nothing in the training resembles: the second table tells how
much worse that is found. Large patches have defects of half the size too. A row that the table has already is not run again.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Generator, Tensor

from ablation import Without, chosen, report, trained
from gannext.cli.demo import BUDGET
from gannext.data import DataConfig, Split, load_split
from gannext.data import textures as drawing
from gannext.detection import Detector, JudgeScoring
from gannext.evaluation import inspect, measure
from gannext.training import RECIPES
from gannext.training.corruption import Corruption
from measuring import Table

DEMO = 64  # pixels of a patch's side
LARGE = 100  # pixels: a third of the demo's part is no wider
FULL = RECIPES["robust-textures"]
SPOTS, THIN = FULL.corruptions


class Both(Corruption):
    """Every other image is corrupted by spots, and the others by thin regions."""

    def __call__(self, x: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        y, mask = x.clone(), x.new_zeros(len(x), 1, *x.shape[-2:])
        for first, corrupt in enumerate((SPOTS, THIN)):
            y[first::2], mask[first::2] = corrupt(x[first::2], random)
        return y, mask


def without_fill(fill: str) -> Without:
    """A training whose regions are never filled like that."""
    less = (replace(one, fills=tuple(f for f in one.fills if f != fill)) for one in FULL.corruptions)
    return Without(replace(FULL, corruptions=tuple(less)))


def alike(mask: Tensor) -> Tensor:
    """Every pixel counts the same."""
    return torch.ones_like(mask)


def cells(x: Tensor) -> Tensor:
    """Pixels alone, at half the side."""
    return torch.cat([x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], 1)


TRAININGS = {
    "all of it": Without(FULL),
    "no lines": Without(replace(FULL, corruptions=(SPOTS, replace(THIN, shapes=("outline",))))),
    "no outlines": Without(replace(FULL, corruptions=(SPOTS, replace(THIN, shapes=("line",))))),
    "no thin regions": Without(replace(FULL, corruptions=(SPOTS,)), judge={"EXPERTS": 1}),
    "one network for spots and thin regions": Without(replace(FULL, corruptions=(Both(),)), judge={"EXPERTS": 1}),
    **{f"no `{fill}`": without_fill(fill) for fill in sorted(set(SPOTS.fills))},
    "pixels rather than energies": Without(FULL, judge={"energies": cells, "energy_channels": lambda channels: 4 * channels}),
    "thin regions' pixels count like others": Without(FULL, objective={"thinness": alike}),
    "the last weights, not their averages": Without(replace(FULL, averaging=0.0)),
    "score of the likeliest pixel": Without(replace(FULL, scoring=JudgeScoring())),
}
OF_LARGE = {"no windows": Without(replace(FULL, windows=()))}
NEAREST = (
    ("scratch", "no lines"),
    ("scratch", "no thin regions"),
    ("stain", "no `tone`"),
    ("hole", "no `flat`"),
    ("blur", "no `blur`"),
    ("foreign", "no `paste`"),
)
"""Kinds of defect, and the trainings that have not met what is most like them."""


def development_split(texture: str, seed: int, side: int, folder: Path) -> Split:
    """Patches of that side and drawn defects from the part of a photograph that the demo trains on."""
    cut = 0.4 if side <= LARGE else 0.6 - 1.02 * side / 512
    regions: dict[str, Any] = {"TRAIN": (0.0, 1.0, 0.0, cut), "VALIDATION": (0.0, 0.3, cut, 0.6), "TEST": (0.3, 1.0, cut, 0.6)}
    small = {f"small {kind}": half_as_large(painter) for kind, painter in drawing.DEFECTS.items()} if side > LARGE else {}
    with patch.multiple(drawing, **regions, DEFECTS={**drawing.DEFECTS, **small}):
        drawing.make_textures(folder, texture, seed, side=side)
    return load_split(DataConfig(texture, folder, None, (side, side), 1, seed=seed))


def demo_splits(textures: str, seeds: str) -> Iterator[tuple[dict[str, str], Split]]:
    """The demo's data sets of these textures and seeds, names with commas between them, each with its name and its seed."""
    for seed in seeds.split(","):
        for texture in textures.split(","):
            with TemporaryDirectory() as folder:
                drawing.make_textures(Path(folder), texture, int(seed))
                split = load_split(DataConfig(texture, Path(folder), None, (DEMO, DEMO), 1, seed=int(seed)))
                yield {"texture": texture, "seed": seed}, split


def half_as_large(painter: drawing.Painter) -> drawing.Painter:
    """A painter of the same defect at half the size, somewhere in the patch."""

    def paint(pixels: drawing.Patch, foreign: drawing.Patch, rng: np.random.Generator) -> drawing.Drawing:
        side = len(pixels) // 2
        top, left = rng.integers(0, len(pixels) - side + 1, 2)
        part = np.s_[top : top + side, left : left + side]
        whole, cover = pixels.copy(), np.zeros_like(pixels)
        whole[part], cover[part] = painter(pixels[part], foreign, rng)
        return whole, cover

    return paint


def main() -> None:
    """Runs what is missing and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", default="gravel,grass")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="trainings whose names contain one of these words, by commas; all")
    parser.add_argument("--side", type=int, default=64, help="of the patches")
    parser.add_argument("--budget", type=float, default=BUDGET, help="multiply-accumulates a training; 0: its own steps")
    parser.add_argument("--output", type=Path, default=Path("results/ablation/textures.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    trainings = {**TRAININGS, **(OF_LARGE if args.side > LARGE else {})}
    for seed in args.seeds.split(","):
        for texture in args.textures.split(","):
            with TemporaryDirectory() as folder:
                split = development_split(texture, int(seed), args.side, Path(folder))
                for training, without in chosen(trainings, args.only):
                    key = {"texture": texture, "seed": seed, "recipe": training}
                    if not table.find(**key):
                        with without.in_place():
                            detector = trained(without.recipe, split, args.side, 1, int(seed), args.budget or None)
                        table.add({**key, **measured(detector, split, args.side)})
    textures = tuple(args.textures.split(","))
    report(table.rows, "texture", {"all": textures, **{texture: (texture,) for texture in textures}})
    if not args.only:
        unseen(table.rows)


def measured(detector: Detector, split: Split, side: int) -> dict[str, str]:
    """How well defects are found, each kind by itself too; in large patches, also their pixels."""
    found, kinds = inspect(detector, split), np.array(split.kinds)
    row = {"auroc": f"{measure(found.scores, split.labels, np.inf).auroc:.4f}"}
    for kind in dict.fromkeys(kinds[split.labels]):
        some = ~split.labels.numpy() | (kinds == kind)
        row[kind] = f"{measure(found.scores[some], split.labels[some], np.inf).auroc:.4f}"
    if side > LARGE and found.localisation:
        row |= {"pixel_auroc": f"{found.localisation.auroc:.4f}", "aupro": f"{found.localisation.aupro:.4f}"}
    return row


def unseen(rows: list[dict[str, str]]) -> None:
    """Prints how well each kind of defect is found by trainings that have met the like of it, and by those that have not."""
    print("", "| defect | not met in training | AUROC, met | not met |", "|---|---|---|---|", sep="\n")
    for kind, without in NEAREST:
        met, not_met = ([float(row[kind]) for row in rows if row["recipe"] == recipe] for recipe in ("all of it", without))
        print(f"| {kind} | {without.removeprefix('no ')} | {np.mean(met):.3f} | {np.mean(not_met):.3f} |")


if __name__ == "__main__":
    main()
