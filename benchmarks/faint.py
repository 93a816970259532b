"""What it is worth to stretch images of little contrast for the networks.

    python benchmarks/faint.py --seeds 0,1,2

The demo's folders and length, with the contrast of all images lowered, and trained on with and without levels. A row that the
table has already is not run again.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ablation import trained
from ablation_textures import DEMO, demo_splits
from gannext.cli.demo import BUDGET
from gannext.data import Images, MemoryImages
from gannext.evaluation import inspect, measure
from gannext.training import RECIPES
from measuring import Table

MIDDLE = 128  # a grey that stays as it is
TRAININGS = {"levels": RECIPES["robust-textures"], "no levels": replace(RECIPES["robust-textures"], stretched=False)}


def faint(images: Images, contrast: float) -> MemoryImages:
    """The images with so much of their contrast."""
    greys = images.__getitems__(range(len(images))).float()
    return MemoryImages((MIDDLE + contrast * (greys - MIDDLE)).round().to(torch.uint8))


def main() -> None:
    """Runs what is missing and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--textures", default="gravel,grass")
    parser.add_argument("--contrasts", default="0.1")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--output", type=Path, default=Path("results/ablation/faint.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    for which, whole in demo_splits(args.textures, args.seeds):
        for contrast in args.contrasts.split(","):
            train, held_out, test = (faint(x, float(contrast)) for x in (whole.train, whole.held_out, whole.test))
            split = replace(whole, train=train, held_out=held_out, test=test)
            for name, recipe in TRAININGS.items():
                key = {**which, "contrast": contrast, "training": name}
                if table.find(**key):
                    continue
                found = inspect(trained(recipe, split, DEMO, 1, int(which["seed"]), BUDGET), split)
                assert found.localisation
                auroc = measure(found.scores, split.labels, np.inf).auroc
                table.add({**key, "auroc": f"{auroc:.4f}", "pixel_auroc": f"{found.localisation.auroc:.4f}"})
    print("", "| texture | contrast | training | image AUROC | pixel AUROC |", "|---|---|---|---|---|", sep="\n")
    names = ("texture", "contrast", "training")
    for group in dict.fromkeys(tuple(row[name] for name in names) for row in table.rows):
        rows = [row for row in table.rows if tuple(row[name] for name in names) == group]
        numbers = [np.array([float(row[column]) for row in rows]) for column in ("auroc", "pixel_auroc")]
        print(f"| {' | '.join(group)} | {' | '.join(f'{n.mean():.3f} ± {n.std(ddof=len(n) > 1):.3f}' for n in numbers)} |")


if __name__ == "__main__":
    main()
