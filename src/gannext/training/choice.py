"""The recipe and the size that suit a set of images, where nobody names them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gannext.data import DataConfig, Images, Split, normal_files, read_files
from gannext.runtime import BITS, evenly, find_bits, fitting_size, image_size
from gannext.training.kind import LOOKED_AT, THUMBNAIL, kind_of
from gannext.training.recipe import Recipe, find_recipe


def kind_of_split(split: Split) -> str:
    """As `kind_of` says of the images to train on; but "objects" where a class was left out of them, since what shall be found
    is another kind of thing then."""
    return "objects" if split.abnormal_class is not None else kind_of(split.train)


def choose_for_folder(config: DataConfig, name: str, model: str) -> tuple[Recipe, DataConfig]:
    """As `choose`, for a folder, by some of its training images; damaged ones do not count.

    Raises:
        InputError: as of `find_recipe` and `load_split`.
    """
    files = some_files(config)

    def few(size: tuple[int, int]) -> Images:
        bits = config.bits or find_bits(files) or BITS[1]
        return read_files(files, size, config.channels, bits, "memory", "a few images").images

    return choose(few, [image_size(file) for file in files], config, name, model)


def size_for_folder(config: DataConfig, side: int) -> tuple[int, int]:
    """Height and width that a folder's images are best looked at in, of no more pixels than side x side.

    Raises:
        InputError: as of `load_split`.
    """
    return fitting_size(map(image_size, some_files(config)), side)


def some_files(config: DataConfig) -> list[Path]:
    """Training images from the first to the last of a folder."""
    every = normal_files(config)
    return [every[i] for i in evenly(len(every), LOOKED_AT)]


def choose(
    few: Callable[[tuple[int, int]], Images], sizes: Sequence[tuple[int, int]], config: DataConfig, name: str, model: str
) -> tuple[Recipe, DataConfig]:
    """The recipe of that name, and the images in the size that it looks at them in.

    Args:
        few: reads some of the images, in a size, if "robust" has to choose.
        sizes: height and width of these as they are.
        config: the images; their size stays where the recipe's is the paper's.
        name, model: as of `find_recipe`.
    """
    recipe = find_recipe(name, model, lambda: kind_of(few(fitting_size(sizes, THUMBNAIL))))
    return recipe, replace(config, size=fitting_size(sizes, recipe.side)) if recipe.side else config
