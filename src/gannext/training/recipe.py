"""Recipes: everything about a training that is a number rather than code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gannext.detection import AnyScoring, JudgeScoring, Scoring
from gannext.networks import NetworkConfig
from gannext.runtime import unknown
from gannext.training.corruption import Corruption


@dataclass(frozen=True)
class Recipe:
    """How a pair of networks is trained and scored.

    Attributes:
        name: the recipe's name.
        objective: a key of OBJECTIVES: what the networks minimise.
        w_adv, w_con, w_lat: weights of the generator's adversarial, reconstruction and latent losses.
        lr: Adam's learning rate, of both networks.
        beta1, beta2: Adam's decay rates.
        batch_size: images a step; the last partial batch of an epoch is dropped.
        epochs: passes over the training images.
        epochs_of: data sets that take another number of epochs.
        restart_below: the discriminator is initialised anew when its loss falls under this.
        scoring: the anomaly score.
        map: kind of anomaly map, a key of `gannext.detection.MAPS`.
        generator: options of the generator instead of its own defaults.
        discriminator: a key of DISCRIMINATORS; empty for the model's own.
        corruption: what is done to the images that the networks see in training, where anything is.
        warm_up: steps in which the learning rate rises to `lr`.
        cosine: whether it then falls to nothing, along half a cosine, until the last step.
        averaging: decay of the weights' running average, which is what detects; 0 for the last weights.
    """

    name: str
    objective: str = "skip-gan"
    w_adv: float = 1.0
    w_con: float = 50.0
    w_lat: float = 1.0
    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    batch_size: int = 128
    epochs: int = 40
    epochs_of: Mapping[str, int] = field(default_factory=dict)
    restart_below: float = 1e-5
    scoring: AnyScoring = field(default_factory=Scoring)
    map: str = "reconstruction"
    generator: Mapping[str, Any] = field(default_factory=dict)
    discriminator: str = ""
    corruption: Corruption | None = None
    warm_up: int = 0
    cosine: bool = False
    averaging: float = 0.0

    def networks(
        self, model: str, size: tuple[int, int], channels: int, options: Mapping[str, Any], **widths: int
    ) -> NetworkConfig:
        """The networks that the recipe trains.

        Args:
            model, size, channels: as in NetworkConfig.
            options: of the generator, before the recipe's own.
            widths: NetworkConfig's ndf and nz, where they differ from its defaults.
        """
        return NetworkConfig(model, size, channels, {**self.generator, **options}, discriminator=self.discriminator, **widths)

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of step number `step`, from 0, of so many in all."""
        risen = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        fallen = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(1, steps))) if self.cosine else 1.0
        return self.lr * risen * fallen


RECIPES: dict[str, Recipe] = {
    "published": Recipe("published", epochs_of={"stl10": 80}),
    "robust": Recipe(
        "robust",
        objective="judge",
        w_adv=0.0,
        w_con=1.0,
        w_lat=0.0,
        lr=8e-3,
        beta1=0.9,
        beta2=0.99,
        batch_size=16,
        restart_below=0.0,
        scoring=JudgeScoring(),
        map="judge",
        generator={"dim": 12, "depths": (1, 1), "bottom": 1, "patch": 4, "scale": 0.1},
        discriminator="judge",
        corruption=Corruption(),
        warm_up=30,
        cosine=True,
        averaging=0.99,
    ),
}
"""`published` is Skip-GANomaly's (IJCNN 2019), which GanNeXt and the transformer GAN share."""

RECIPES_OF_MODELS: dict[tuple[str, str], Recipe] = {
    ("published", "ganomaly"): Recipe(
        "published", objective="ganomaly", epochs_of={"stl10": 80}, scoring=Scoring(pixel=0.0, feature=1.0)
    ),
}
"""By recipe and model, where a model's paper published a recipe of its own."""


def find_recipe(name: str, model: str) -> Recipe:
    """The recipe of that name for a model; raises InputError where there is none."""
    if name not in RECIPES:
        raise unknown("recipe", name, tuple(RECIPES))
    return RECIPES_OF_MODELS.get((name, model), RECIPES[name])
