"""Training: recipes, the objective, and `fit`, which makes a Detector; `train` does so in one call."""

from gannext.training.callbacks import LAST, Interrupted, reconstruction_grid
from gannext.training.choice import choose_for_folder, kind_of_split, size_for_folder
from gannext.training.cost import length_of_training, training_macs
from gannext.training.fit import TrainConfig, check_training, device_count, fit
from gannext.training.from_images import train
from gannext.training.kind import kind_of
from gannext.training.module import Diverged, GanModule
from gannext.training.recipe import RECIPES, Recipe, check_recipe, find_recipe

__all__ = [
    "LAST",
    "RECIPES",
    "Diverged",
    "GanModule",
    "Interrupted",
    "Recipe",
    "TrainConfig",
    "check_recipe",
    "check_training",
    "choose_for_folder",
    "device_count",
    "find_recipe",
    "fit",
    "kind_of",
    "kind_of_split",
    "length_of_training",
    "reconstruction_grid",
    "size_for_folder",
    "train",
    "training_macs",
]
