"""What each ingredient of the robust recipe for textures is worth, and whether it finds kinds of defect that it has not met.

    python benchmarks/ablation_textures.py --textures gravel,grass --seeds 0,1,2

The demo's test part of each photograph is never touched: defects are drawn into the right third of the part that the demo
trains on, and the left two thirds are trained on. Everything is trained again without each ingredient. Without a kind of
corruption, the drawn defect that is most like it is one that nothing in the training resembles: the second table tells how
much worse that is found. A row that the table has already is not run again.
"""

import argparse
import csv
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ablation import Without, report, write
from gannext.cli.demo import BUDGET
from gannext.data import DataConfig, Split, load_split
from gannext.data import textures as drawing
from gannext.evaluation import measure, scores_of_test
from gannext.networks import judge
from gannext.training import RECIPES, TrainConfig, fit, length_of_training
from gannext.training.corruption import Corruption

SIDE = (64, 64)
REGIONS: dict[str, Any] = {"TRAIN": (0.0, 1.0, 0.0, 0.4), "VALIDATION": (0.0, 0.3, 0.4, 0.6), "TEST": (0.3, 1.0, 0.4, 0.6)}
FULL = RECIPES["robust-textures"]
FILLS = Corruption().fills


@dataclass(frozen=True)
class Lacking(Without):
    """A training that lacks something; `networks` is what stands under other names in `gannext.networks.judge`."""

    networks: dict[str, Any] = field(default_factory=dict)


def corrupted_otherwise(**changes: Any) -> Lacking:
    """A training with other corruptions."""
    return Lacking(replace(FULL, corruption=replace(Corruption(), **changes)))


def alike(mask: Tensor) -> Tensor:
    """Every pixel counts the same."""
    return torch.ones_like(mask)


def cells(x: Tensor) -> Tensor:
    """Pixels alone, at half the side."""
    return torch.cat([x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)], 1)


TRAININGS = {
    "all of it": Lacking(FULL),
    "no lines": corrupted_otherwise(lines=0.0),
    **{f"no `{fill}`": corrupted_otherwise(fills=tuple(f for f in FILLS if f != fill)) for fill in FILLS},
    "pixels rather than energies": Lacking(
        FULL, networks={"energies": cells, "energy_channels": lambda channels: 4 * channels}
    ),
    "thin regions' pixels count like others": Lacking(FULL, objective={"thinness": alike}),
    "the last weights, not their averages": Lacking(replace(FULL, averaging=0.0)),
    "no warm-up": Lacking(replace(FULL, warm_up=0)),
}
NEAREST = {"scratch": "no lines", "stain": "no `tone`", "hole": "no `flat`", "blur": "no `blur`", "foreign": "no `paste`"}
"""By the kind of defect, the training that has met nothing like it."""


def development_split(texture: str, seed: int, folder: Path) -> Split:
    """Patches and drawn defects from the part of a photograph that the demo trains on."""
    with patch.multiple(drawing, **REGIONS):
        drawing.make_textures(folder, texture, seed)
    return load_split(DataConfig(texture, folder, None, SIDE, 1, seed=seed))


def scored(lacking: Lacking, split: Split, seed: int, texture: str, budget: float) -> NDArray[np.float64]:
    """The scores of the test images, after a training that may lack something."""
    with (
        TemporaryDirectory() as folder,
        patch.multiple("gannext.training.objective", **lacking.objective) if lacking.objective else nullcontext(),
        patch.multiple(judge, **lacking.networks) if lacking.networks else nullcontext(),
    ):
        networks = FULL.networks("gannext", SIDE, 1, {})
        epochs, steps = length_of_training(networks, FULL, texture, len(split.train), None, budget)
        config = TrainConfig(networks, lacking.recipe, epochs, seed=seed, accelerator="cpu", max_steps=steps)
        return scores_of_test(fit(config, split, Path(folder), progress=False), split)


def main() -> None:
    """Runs what is missing and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", default="gravel,grass")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="trainings whose names contain one of these words, by commas; all")
    parser.add_argument("--budget", type=float, default=BUDGET / 2, help="multiply-accumulates a training; half of the demo's")
    parser.add_argument("--output", type=Path, default=Path("results/ablation/textures.csv"))
    args = parser.parse_args()
    rows: list[dict[str, str]] = []
    if args.output.exists():
        with args.output.open(newline="") as file:
            rows = list(csv.DictReader(file))
    for seed in args.seeds.split(","):
        for texture in args.textures.split(","):
            with TemporaryDirectory() as folder:
                split = development_split(texture, int(seed), Path(folder))
                kinds = np.array(split.kinds)
                for training, lacking in TRAININGS.items():
                    if not any(word in training for word in args.only.split(",")):
                        continue
                    key = {"texture": texture, "seed": seed, "recipe": training}
                    if any(row == {**row, **key} for row in rows):
                        continue
                    scores = scored(lacking, split, int(seed), texture, args.budget)
                    row = {**key, "auroc": f"{measure(scores, split.labels, np.inf).auroc:.4f}"}
                    for kind in drawing.DEFECTS:
                        some = ~split.labels.numpy() | (kinds == kind)
                        row[kind] = f"{measure(scores[some], split.labels[some], np.inf).auroc:.4f}"
                    rows.append(row)
                    print(*row.values(), sep="  ", flush=True)
                    write(args.output, rows)
    textures = tuple(args.textures.split(","))
    report(rows, "texture", {"all": textures, **{texture: (texture,) for texture in textures}})
    if not args.only:
        unseen(rows)


def unseen(rows: list[dict[str, str]]) -> None:
    """Prints how well each kind of defect is found by trainings that have met the like of it, and by those that have not."""
    print("", "| defect | not met in training | AUROC, met | not met |", "|---|---|---|---|", sep="\n")
    for kind, without in NEAREST.items():
        met, not_met = ([float(row[kind]) for row in rows if row["recipe"] == recipe] for recipe in ("all of it", without))
        print(f"| {kind} | {without.removeprefix('no ')} | {np.mean(met):.3f} | {np.mean(not_met):.3f} |")


if __name__ == "__main__":
    main()
