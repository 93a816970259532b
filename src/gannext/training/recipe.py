"""Recipes: everything about a training that is a number rather than code."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gannext.detection import JudgeScoring, Neighbours, Scoring, ScoringPlan
from gannext.networks import NetworkConfig
from gannext.runtime import MOST_FOCUS, MOST_LIGHT, InputError, unknown
from gannext.training.corruption import SPOTS, THIN, Corruption


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
        steps: how many instead, however many images there are; 0 where epochs count.
        restart_below: the discriminator is initialised anew when its loss falls under this.
        scoring: the anomaly score.
        map: kind of anomaly map, a key of `gannext.detection.MAPS`.
        generator: options of the generator instead of its own defaults.
        discriminator: a key of DISCRIMINATORS; empty for the model's own.
        widths: NetworkConfig's ndf and nz instead of its own defaults.
        corruptions: what is done to the images that the networks see in training, where anything is; of a judge,
            for each of its experts.
        warm_up: steps in which the learning rate rises to `lr`.
        cosine: whether it then falls to nothing, along half a cosine, until the last step.
        windows: sides, the least first, of the windows that larger images are trained on by; none for whole images.
            Each size of them has as many steps.
        light: of a judge's, how much brighter or darker images are made in training, as `relit` says.
        focus: likewise, how much they are blurred, as `refocused` says.
        stretched: whether images that fill little of 0..255 are stretched for the networks, as `find_levels` says.
        averaging: decay of the weights' running average, which is what detects; 0 for the last weights.
        side: a folder's images are looked at in side x side pixels at most, where nobody names a size, so that training and
            judging are fast on two processor cores; 0 where the size is the paper's, whatever the images'.
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
    steps: int = 0
    restart_below: float = 1e-5
    scoring: ScoringPlan = field(default_factory=Scoring)
    map: str = "reconstruction"
    generator: Mapping[str, Any] = field(default_factory=dict)
    discriminator: str = ""
    widths: Mapping[str, int] = field(default_factory=dict)
    corruptions: tuple[Corruption, ...] = ()
    warm_up: int = 0
    cosine: bool = False
    windows: tuple[int, ...] = ()
    light: float = 0.0
    focus: float = 0.0
    stretched: bool = False
    averaging: float = 0.0
    side: int = 0

    def networks(
        self, model: str, size: tuple[int, int], channels: int, options: Mapping[str, Any], **widths: int
    ) -> NetworkConfig:
        """The networks that the recipe trains.

        Args:
            model, size, channels: as in NetworkConfig.
            options: of the generator, before the recipe's own.
            widths: NetworkConfig's ndf and nz, before the recipe's own.
        """
        generator = {**self.generator, **options}
        of_discriminator: dict[str, Any] = {**self.widths, **widths, "discriminator": self.discriminator}
        return NetworkConfig(model, size, channels, generator, **of_discriminator)

    def for_images(self, count: int) -> "Recipe":
        """The recipe for so many training images: where it counts steps, few images make small batches, and no obstacle."""
        return replace(self, batch_size=min(self.batch_size, count)) if self.steps and count else self

    def varied(self, light: float, focus: float) -> "Recipe":
        """The recipe for light that varies by up to that share, from 0 to 0.5, and a blur of up to so many pixels, from 0 to 2.

        Raises:
            InputError: it is no judge's, or they vary by more.
        """
        for name, much, most in (("light", light, MOST_LIGHT), ("focus", focus, MOST_FOCUS)):
            if not 0.0 <= much <= most:
                raise InputError(f"{name} that varies by {much:g} is too much to train with: give from 0 to {most:g}")
            if much and self.objective != "judge":
                raise InputError(
                    f"the {self.name} recipe does not train in other {name}: leave {name} out, or take robust-textures"
                )
        return replace(self, light=light, focus=focus)

    def learning_rate(self, step: int, steps: int) -> float:
        """The learning rate of step number `step`, from 0, of so many in all."""
        risen = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        fallen = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / max(1, steps))) if self.cosine else 1.0
        return self.lr * risen * fallen


TEXTURES = Recipe(
    "robust-textures",
    objective="judge",
    w_adv=0.0,
    w_con=1.0,
    w_lat=0.0,
    lr=1.2e-2,
    beta1=0.9,
    beta2=0.99,
    batch_size=16,
    steps=600,
    restart_below=0.0,
    scoring=JudgeScoring(pixels=32),
    map="judge",
    generator={"dim": 12, "depths": (1, 1), "bottom": 1, "patch": 4, "scale": 0.1},
    discriminator="judge",
    corruptions=(SPOTS, THIN),
    windows=(64, 128),
    stretched=True,
    averaging=0.995,
    side=128,
)

RECIPES: dict[str, Recipe] = {
    "published": Recipe("published", epochs_of={"stl10": 80}),
    "robust-objects": Recipe(
        "robust-objects",
        objective="describer",
        w_adv=0.2,
        w_con=10.0,
        w_lat=1.0,
        lr=2e-3,
        beta1=0.9,
        beta2=0.99,
        batch_size=96,
        steps=220,
        restart_below=0.0,
        scoring=Neighbours(),
        generator={"dim": 16, "depths": (1, 1), "bottom": 1, "patch": 4, "scale": 0.1, "std": None, "thumbnail": 8},
        discriminator="describer",
        widths={"ndf": 16, "nz": 128},
        warm_up=30,
        cosine=True,
        stretched=True,
        side=64,
    ),
    "robust-textures": TEXTURES,
    "robust-parts": replace(TEXTURES, name="robust-parts", windows=()),
}
"""`published` is Skip-GANomaly's (IJCNN 2019), which GanNeXt and the transformer GAN share. The robust ones are GanNeXt's
own: for images of whole objects, any of which may be of a kind never seen, for surfaces with defects, and for parts of one kind
with defects, which are better learnt from whole images where these are large."""

ROBUST = "robust"
ROBUST_MODEL = "gannext"

RECIPES_OF_MODELS: dict[tuple[str, str], Recipe] = {
    ("published", "ganomaly"): Recipe(
        "published", objective="ganomaly", epochs_of={"stl10": 80}, scoring=Scoring(pixel=0.0, feature=1.0)
    ),
}
"""By recipe and model, where a model's paper published a recipe of its own."""


def find_recipe(name: str, model: str, kind: Callable[[], str]) -> Recipe:
    """The recipe of that name for a model.

    Args:
        name: a key of RECIPES, or "robust"; empty for "robust" of GanNeXt, and "published" of all others.
        model: a key of MODELS.
        kind: says what the normal images show, "objects", "parts" or "textures", if "robust" has to choose.

    Raises:
        InputError: there is no such recipe, or it is not for that model.
    """
    check_recipe(name, model)
    name = name or default_recipe(model)
    return RECIPES_OF_MODELS.get((name, model)) or RECIPES[f"{ROBUST}-{kind()}" if name == ROBUST else name]


def check_recipe(name: str, model: str) -> None:
    """Raises InputError as `find_recipe` does."""
    if name and name != ROBUST and name not in RECIPES:
        raise unknown("recipe", name, (ROBUST, *RECIPES))
    if name.startswith(ROBUST) and model != ROBUST_MODEL:
        raise InputError(f"the {name} recipe is made for {ROBUST_MODEL}, not {model}: pass --recipe published")


def default_recipe(model: str) -> str:
    """The name of the recipe that a model is trained by where none is asked for."""
    return ROBUST if model == ROBUST_MODEL else "published"
