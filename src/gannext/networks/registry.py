"""Generators by name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from gannext.networks.gannext import GanNeXt


def _gannext(size: tuple[int, int], channels: int, **options: Any) -> nn.Module:
    return GanNeXt(channels, **options)  # fully convolutional: any size


GENERATORS: dict[str, Callable[..., nn.Module]] = {"gannext": _gannext}


def create_generator(name: str, size: tuple[int, int], channels: int = 3, **options: Any) -> nn.Module:
    """A new generator by its registered name.

    Args:
        name: a key of GENERATORS.
        size: image height and width, for the generators that depend on it.
        channels: image channels, 1 or 3.
        options: further options of that generator's constructor.

    Raises:
        ValueError: no generator has that name.
    """
    if name not in GENERATORS:
        raise ValueError(f"model {name!r} is unknown: choose one of {', '.join(GENERATORS)}")
    return GENERATORS[name](size, channels, **options)
