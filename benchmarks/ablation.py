"""What each ingredient of the robust recipe for objects is worth, on a development split of Fashion-MNIST.

    python benchmarks/ablation.py
    python benchmarks/ablation.py --classes trouser,pullover,dress,sandal,bag,ankle-boot --seeds 0,1 --only all,NT-Xent,quarter

The test split is never touched: stand-in anomalies are the left-out class's images of the training split, and the normal
images come from there too. A part of the score is left out of a finished detector; whatever concerns the training is
trained again without it. A row that the table has already is not run again.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gannext.data import DATASETS, DataConfig, Split, find_class, load_split
from gannext.detection import Detector, Neighbours, NeighbourScoring
from gannext.evaluation import measure
from gannext.networks import judge
from gannext.training import RECIPES, Recipe, TrainConfig, fit, length_of_training, objective
from gannext.training.contrast import contrastive_loss
from gannext.training.views import jittered
from measuring import Table

SIDE = 32
TRAIN, NORMAL, ABNORMAL = 5120, 1500, 1000
FULL = RECIPES["robust-objects"]
HARD = ("t-shirt", "coat", "shirt", "sneaker")
PARTS = ("features", "detail", "real", "restored")


@dataclass(frozen=True)
class Without:
    """A training that lacks something: by another recipe, or by something else under names in
    `gannext.training.objective` or `gannext.networks.judge`."""

    recipe: Recipe = FULL
    objective: Mapping[str, Any] = field(default_factory=dict)
    judge: Mapping[str, Any] = field(default_factory=dict)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """What stands under those names, for as long as it is trained and scored."""
        with ExitStack() as stack:
            for module, instead in ((objective, self.objective), (judge, self.judge)):
                for name, value in instead.items():
                    stack.enter_context(patch.object(module, name, value))
            yield


def no_contrast(z: Tensor, identities: Tensor, others: Tensor) -> Tensor:
    """Nothing attracts or repels."""
    return 0.0 * z.sum()


def upright_alone(z: Tensor, identities: Tensor, others: Tensor) -> Tensor:
    """Turned copies, the second half of the views, neither attract nor repel."""
    half = len(z) // 2
    return contrastive_loss(z[:half], identities[:half], others)


def no_restorations(z: Tensor, identities: Tensor, others: Tensor) -> Tensor:
    """The generator's restorations do not repel."""
    return contrastive_loss(z, identities, others[:0])


NO_TURNS = SimpleNamespace(**{**vars(F), "cross_entropy": lambda logits, target: 0.0 * logits.sum()})
WHOLE = {**FULL.generator, "thumbnail": 0}
NO_LOGIT = Neighbours(real=0.0)
TRAININGS: dict[str, Without] = {
    "all of it": Without(),
    "D: no views to attract or repel (NT-Xent)": Without(objective={"contrastive_loss": no_contrast}),
    "D: turned copies do not repel": Without(objective={"contrastive_loss": upright_alone}),
    "D: restorations do not repel": Without(objective={"contrastive_loss": no_restorations}),
    "D: no quarter turns to count": Without(objective={"F": NO_TURNS}),
    "D: no real or restored to tell (nor G to fool it)": Without(replace(FULL, w_adv=0.0, scoring=NO_LOGIT), {"REAL": 0.0}),
    "D: views moved a little, and nothing else": Without(objective={"view": jittered}),
    "G: does not care for D (adversarial, latent)": Without(replace(FULL, w_adv=0.0, w_lat=0.0)),
    "G: sees the whole image, not a thumbnail": Without(replace(FULL, generator=WHOLE)),
    "no warm-up, no cosine": Without(replace(FULL, warm_up=0, cosine=False)),
}


def development_split(dataset: str, abnormal_class: str) -> Split:
    """The same for all seeds: 5,120 images to train on, and 1,500 normal and 1,000 abnormal ones of the training split."""
    config = DataConfig(dataset, None, abnormal_class, (SIDE, SIDE), DATASETS[dataset].channels, TRAIN + NORMAL)
    whole = load_split(config)
    train = whole.train.subset(range(TRAIN))
    normal, abnormal = whole.train.subset(range(TRAIN, TRAIN + NORMAL)), whole.abnormal_train
    pixels = torch.cat((normal.__getitems__(range(NORMAL)), abnormal.__getitems__(range(min(ABNORMAL, len(abnormal))))))
    test = type(normal)(pixels)  # type: ignore[call-arg]
    labels = torch.arange(len(pixels)) >= NORMAL
    return replace(whole, train=train, test=test, labels=labels, kinds=["" for _ in labels])


def trained(recipe: Recipe, split: Split, side: int, channels: int, seed: int, budget: float | None = None) -> Detector:
    """A detector by a recipe, in its own number of steps or a budget's."""
    networks = recipe.networks("gannext", (side, side), channels, {})
    epochs, steps = length_of_training(networks, recipe, "", len(split.train), None, budget)
    with TemporaryDirectory() as folder:
        config = TrainConfig(networks, recipe, epochs, seed=seed, accelerator="cpu", max_steps=steps)
        return fit(config, split, Path(folder), progress=False)


def variants(name: str, detector: Detector) -> Iterator[tuple[str, Detector]]:
    """The detector, and if nothing is missing yet, each part of its score taken away."""
    yield name, detector
    scoring = detector.scoring
    if name != "all of it" or not isinstance(scoring, NeighbourScoring):
        return
    for part in PARTS:
        plan: Neighbours = replace(scoring.plan, **{part: 0.0})  # type: ignore[arg-type]
        less = NeighbourScoring(plan, {n: getattr(scoring, n) for n in NeighbourScoring.TENSORS})
        yield (
            f"score without `{part}`",
            Detector(detector.config, detector.generator, detector.discriminator, less, detector.calibration),
        )


def main() -> None:
    """Runs what is missing and writes the table after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--classes", default=",".join(HARD))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--only", default="", help="trainings whose names contain one of these words, by commas; all")
    parser.add_argument("--output", type=Path, default=Path("results/ablation/objects.csv"))
    args = parser.parse_args()
    table = Table(args.output)
    for seed in args.seeds.split(","):
        for name in args.classes.split(","):
            abnormal = DATASETS[args.dataset].classes[find_class(args.dataset, name)]
            split = development_split(args.dataset, abnormal)
            key = {"dataset": args.dataset, "class": abnormal, "seed": seed}
            for training, without in chosen(TRAININGS, args.only):
                if table.find(**key, recipe=training):
                    continue
                with without.in_place():
                    detector = trained(without.recipe, split, SIDE, DATASETS[args.dataset].channels, int(seed))
                for variant, one in [*variants(training, detector)][::-1]:  # the whole one last: the others are then there
                    metrics = measure(one.score_batches(split.test.pixels.split(500)), split.labels, np.inf)  # type: ignore[attr-defined]
                    table.add({**key, "recipe": variant, "auroc": f"{metrics.auroc:.4f}"})
    others = tuple(name for name in DATASETS[args.dataset].classes if name not in HARD)
    report(table.rows, "class", {", ".join(HARD): HARD, "the others": others})


Trained = TypeVar("Trained")


def chosen(trainings: Mapping[str, Trained], only: str) -> Iterator[tuple[str, Trained]]:
    """Those whose names contain one of the words in `only`, between commas."""
    return ((name, training) for name, training in trainings.items() if any(word in name for word in only.split(",")))


def report(rows: list[dict[str, str]], column: str, groups: Mapping[str, tuple[str, ...]]) -> None:
    """Prints a table in Markdown: for each training and group, the mean over the group's members, and that over seeds.

    Args:
        rows: the table's.
        column: where the members stand, such as "class".
        groups: by name, their members. A seed that lacks one of them does not count.
    """
    print("", f"| without | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|", sep="\n")
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        found = {(row["seed"], row[column]): float(row["auroc"]) for row in rows if row["recipe"] == recipe}
        cells = []
        for members in groups.values():
            seeds = [seed for seed in sorted({seed for seed, _ in found}) if all((seed, m) in found for m in members)]
            means = [np.mean([found[seed, member] for member in members]) for seed in seeds]
            spread = f" ± {np.std(means, ddof=1):.3f}" if len(means) > 1 else ""
            cells.append(f"{np.mean(means):.3f}{spread} ({len(seeds)})" if seeds else "")
        print(f"| {recipe} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
