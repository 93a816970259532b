"""From normal images to a Detector in one call."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from warnings import warn

from gannext.data import DataConfig, Images, Split, from_pixels, load_split, name_of, split_normal
from gannext.detection import Detector
from gannext.runtime import BATCH_SIZE, BITS, InputError, OneImage, check_side, evenly, own_size, prepare, spread
from gannext.training.choice import choose, choose_for_folder, kind_of_split
from gannext.training.cost import length_of_training
from gannext.training.fit import TrainConfig, fit
from gannext.training.kind import LOOKED_AT
from gannext.training.recipe import Recipe, find_recipe


def train(
    images: "OneImage | Iterable[OneImage]",
    *,
    image_size: int | tuple[int, int] | None = None,
    recipe: str = "robust",
    channels: int = 3,
    bits: int | None = None,
    epochs: int | None = None,
    budget: float | None = None,
    batch_size: int | None = None,
    light: float = 0.0,
    focus: float = 0.0,
    fpr: float = 0.05,
    pixel_fpr: float = 0.01,
    seed: int = 0,
    device: str = "auto",
    output: str | Path | None = None,
) -> Detector:
    """Trains on normal images and calibrates on some that are held out of training, as `gannext train` does.

    Args:
        images: of normal things: a folder, laid out in any of the ways that `gannext train --data-root` takes; or paths, PIL
            images, arrays (H, W[, C]) and tensors (C, H, W) of bytes or of floats in [0, 1], or a batch of either.
        image_size: side, or height and width, in pixels, that images are resized to: 32 to 1024. By default as large as they
            are, or smaller, so that a training takes minutes: up to as many pixels as 128x128 has for textures and parts, 64x64
            for objects; and 32x32 by the published recipe.
        recipe: "robust", which chooses "robust-objects", "robust-parts" or "robust-textures" by the images, one of these, or
            "published".
        channels: 3 for colour, 1 for grey.
        bits: how many bits the greys of 16-bit images have, 8 to 16, as they may have 12 in a file of 16; by default what
            those of a folder reach, and 16 where images are given one by one.
        epochs: passes over the training images, instead of the recipe's own length.
        budget: likewise, multiply-accumulates in all, such as 1e12.
        batch_size: images a step, instead of the recipe's own.
        light: by what share the light may be brighter or darker where images are judged, such as 0.1; for "robust-textures"
            and "robust-parts".
        focus: likewise, by a Gaussian of how many pixels' standard deviation images may be blurred there, such as 0.7, in the
            size that they are looked at in.
        fpr: share of normal images that the threshold may call abnormal; `predict` takes another.
        pixel_fpr: share of normal pixels that the threshold of the anomaly maps may.
        seed: of all randomness; torch's global generator is seeded by it.
        device: "auto", "cpu" or "gpu".
        output: a folder for the losses, pictures and the detector; by default nothing is kept but what is returned.

    Raises:
        InputError: no image, or too few; one of a list cannot be read; or an argument is out of range. In a folder, what
            cannot be read is left out, with a warning.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size or DataConfig.size
    if len(size) != 2:
        raise InputError(f"an image size of {len(size)} numbers is none: give one side, or height and width")
    for side in size:
        check_side(side)
    for name, value in (("epochs", epochs), ("budget", budget), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name}={value:g} is impossible: give 1 or more, or leave it out")
    if channels not in (1, 3):
        raise InputError(f"images of {channels} channels are not supported: give 3 for colour, or 1 for grey")
    if bits is not None and not BITS[0] <= bits <= BITS[1]:
        raise InputError(f"greys of {bits} bits are not supported: give 8 to 16, or leave bits out")
    config = DataConfig(size=size, channels=channels, seed=seed, bits=bits)
    if isinstance(images, (str, Path)):
        config = replace(config, dataset=name_of(Path(images)), root=Path(images))
    chosen = None
    if image_size is None:
        images = images if isinstance(images, (str, Path)) else list(spread(images))
        chosen, config = choose_for_given(images, config, recipe)
    split, provenance = split_of(images, config)
    if split.unreadable:
        warn(f"images left out: {len(split.unreadable)}, the first of them as {split.unreadable[0]}", stacklevel=2)
    for sentence in split.remarks:
        warn(sentence, stacklevel=2)
    chosen = (chosen or find_recipe(recipe, "gannext", lambda: kind_of_split(split))).for_images(len(split.train))
    if batch_size is not None:
        chosen = replace(chosen, batch_size=batch_size)
    chosen = chosen.varied(light, focus)
    networks = chosen.networks("gannext", config.size, channels, {})
    length, steps = length_of_training(networks, chosen, "", len(split.train), epochs, budget)
    training = TrainConfig(
        networks, chosen, length, fpr, seed, device, max_steps=steps, pixel_fpr=pixel_fpr, provenance=provenance
    )
    with TemporaryDirectory() as unwanted:
        return fit(training, split, Path(output or unwanted))


def choose_for_given(images: "str | Path | list[OneImage]", config: DataConfig, name: str) -> tuple[Recipe, DataConfig]:
    """As `choose`, for a folder or for images given one by one."""
    if isinstance(images, (str, Path)):
        return choose_for_folder(config, name, "gannext")
    some = [images[i] for i in evenly(len(images), LOOKED_AT)]
    sizes = [own_size(image) for image in some]
    return choose(lambda size: read(some, replace(config, size=size)), sizes, config, name, "gannext")


def split_of(images: "OneImage | Iterable[OneImage]", config: DataConfig) -> tuple[Split, dict[str, Any]]:
    """Images to train on and to calibrate on, and what the detector's file shall say of them: where a folder is found again.

    `config` says how they are read and split.
    """
    if isinstance(images, (str, Path)):
        root = str(Path(images).resolve())
        return load_split(config), {"data": {"dataset": config.dataset, "data_root": root, "seed": config.seed}}
    return replace(split_normal(read(images, config), config.seed), bits=config.bits), {}


def read(images: "OneImage | Iterable[OneImage]", config: DataConfig) -> Images:
    """Images given one by one, in the size and channels asked for; raises InputError of one that cannot be read."""
    pixels = []
    for prepared in prepare(spread(images), config.size, config.channels, config.bits or BITS[1], ahead=BATCH_SIZE):
        if isinstance(prepared.pixels, InputError):
            raise prepared.pixels
        pixels.append(prepared.pixels)
    return from_pixels(pixels, config.size, config.channels)
