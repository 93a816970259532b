"""Generators by name, and the options that each of them takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from gannext.networks.gannext import GanNeXt
from gannext.networks.swin_unet import SwinUNet
from gannext.networks.unet import UNet


@dataclass(frozen=True)
class Generator:
    """How to build a generator.

    Attributes:
        build: called with the image's size (height, width), its channels and the options.
        options: names of the further options that `build` takes.
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ("dim",)


def _gannext(size: tuple[int, int], channels: int, **options: Any) -> nn.Module:
    return GanNeXt(channels, **options)  # fully convolutional: any size


GENERATORS: dict[str, Generator] = {
    "gannext": Generator(_gannext, ("dim", "depths", "bottom", "kernel", "norm", "patch")),
    "skipganomaly": Generator(UNet),
    "anotrans": Generator(SwinUNet),
}


def create_generator(name: str, size: tuple[int, int], channels: int = 3, **options: Any) -> nn.Module:
    """A new generator by its registered name.

    Args:
        name: a key of GENERATORS.
        size: image height and width, for the generators that depend on it.
        channels: image channels, 1 or 3.
        options: further options of that generator's constructor.

    Raises:
        ValueError: no generator has that name, or it has no such option.
    """
    if name not in GENERATORS:
        raise ValueError(f"model {name!r} is unknown: choose one of {', '.join(GENERATORS)}")
    known = GENERATORS[name].options
    for option in options:
        if option not in known:
            raise ValueError(f"model {name} has no option {option!r}: it takes {', '.join(known)}")
    return GENERATORS[name].build(size, channels, **options)
