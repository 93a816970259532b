"""The recipe and the size that suit a set of images, where nobody names them."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from gannext.data import DataConfig, Images, glance, own_sizes
from gannext.runtime import fitting_size
from gannext.training.kind import THUMBNAIL, kind_of
from gannext.training.recipe import Recipe, find_recipe


def choose_for_folder(config: DataConfig, name: str, model: str) -> tuple[Recipe, DataConfig]:
    """The recipe of that name and the size for a folder's images, by a glance at some of them.

    Args:
        config: the folder; the size in it stays where the recipe has one of its own.
        name, model: as of `find_recipe`.

    Raises:
        InputError: as of `find_recipe` and `load_split`.
    """
    recipe, size = choose(lambda: glance(config, THUMBNAIL), own_sizes(config), name, model)
    return recipe, replace(config, size=size or config.size)


def choose(
    few: Callable[[], Images], sizes: Iterable[tuple[int, int]], name: str, model: str
) -> tuple[Recipe, tuple[int, int] | None]:
    """The recipe of that name, and the size that it looks at images in; None where that is the paper's.

    Args:
        few: reads some of the images, small, if "robust" has to choose.
        sizes: height and width of the images as they are.
        name, model: as of `find_recipe`.
    """
    recipe = find_recipe(name, model, lambda: kind_of(few()))
    return recipe, fitting_size(sizes, recipe.side) if recipe.side else None
