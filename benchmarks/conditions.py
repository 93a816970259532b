"""What other light, focus and noise than in training do to the false alarms on surfaces, and what `gannext train --light` and
`--focus` do about it.

    python benchmarks/conditions.py --seeds 0,1,2

The demo's folders and length. Normal and defective test patches are judged as they are, and once more with their greys
multiplied or shifted, blurred or noisy, always by the threshold that was set in the conditions of the training. A row that the
table has already is not run again.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ablation import trained
from ablation_textures import DEMO, demo_splits
from gannext.cli.demo import BUDGET
from gannext.data import MemoryImages, Split
from gannext.data.textures import TEXTURES
from gannext.detection import Detector
from gannext.evaluation import measure, scores_of_test
from gannext.networks import gaussian_blur
from gannext.training import RECIPES
from measuring import Table

CONDITIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "as trained": lambda greys: greys,
    "1.1 times": lambda greys: 1.1 * greys,
    "0.9 times": lambda greys: 0.9 * greys,
    "25 lighter": lambda greys: greys + 25,
    "25 darker": lambda greys: greys - 25,
    "blur of 0.4 pixels": lambda greys: gaussian_blur(greys, 0.4),
    "0.5 pixels": lambda greys: gaussian_blur(greys, 0.5),
    "0.6 pixels": lambda greys: gaussian_blur(greys, 0.6),
    "noise of 3 greys": lambda greys: greys + 3 * torch.randn(greys.shape, generator=torch.Generator().manual_seed(0)),
}
TRAININGS = {"": (0.0, 0.0), "--light 0.1": (0.1, 0.0), "--focus 0.7": (0.0, 0.7)}


def measured(detector: Detector, split: Split) -> dict[str, str]:
    """AUROC, and shares of false alarms and of defects found at the threshold, in each condition."""
    row: dict[str, str] = {}
    greys = split.test.__getitems__(range(len(split.test))).float()
    for name, changed in CONDITIONS.items():
        test = MemoryImages(changed(greys).round().clamp(0, 255).to(torch.uint8))
        scores = scores_of_test(detector, replace(split, test=test))
        found = measure(scores, split.labels, detector.calibration.threshold)
        row |= {name: f"{found.auroc:.4f}", f"{name}, FPR": f"{found.fpr:.3f}", f"{name}, TPR": f"{found.tpr:.3f}"}
    return row


def main() -> None:
    """Runs what is missing and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", default=",".join(TEXTURES))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--output", type=Path, default=Path("results/robust/conditions.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    for which, split in demo_splits(args.textures, args.seeds):
        for name, (light, focus) in TRAININGS.items():
            key = {**which, "training": name}
            if not table.find(**key):
                recipe = RECIPES["robust-textures"].varied(light, focus)
                detector = trained(recipe, split, DEMO, 1, int(which["seed"]), BUDGET)
                table.add({**key, **measured(detector, split)})
    print("", f"| texture | training | {' | '.join(CONDITIONS)} |", f"|{'---|' * (2 + len(CONDITIONS))}", sep="\n")
    for texture in args.textures.split(","):
        for training in TRAININGS:
            rows = [row for row in table.rows if (row["texture"], row["training"]) == (texture, training)]
            means = [[np.mean([float(row[c]) for row in rows]) for c in (name, f"{name}, FPR")] for name in CONDITIONS]
            print(f"| {texture} | {training} | {' | '.join(f'{auroc:.3f} ({fpr:.2f})' for auroc, fpr in means)} |")


if __name__ == "__main__":
    main()
