"""Recipes: everything about a training that is a number rather than code."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gannext.detection import Scoring
from gannext.runtime import unknown


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
        scoring: weights of the anomaly score.
        map: kind of anomaly map, a key of `gannext.detection.MAPS`.
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
    scoring: Scoring = field(default_factory=Scoring)
    map: str = "reconstruction"


RECIPES: dict[str, Recipe] = {
    "published": Recipe("published", epochs_of={"stl10": 80}),
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
