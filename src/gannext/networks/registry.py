"""Models by name: a generator, the discriminator that goes with it, and the options that the generator takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from gannext.networks.describer import Describer
from gannext.networks.discriminator import Discriminator
from gannext.networks.encoder_decoder import EncoderDecoder, EncoderDiscriminator
from gannext.networks.gannext import GanNeXt
from gannext.networks.judge import Judge
from gannext.networks.swin_unet import SwinUNet
from gannext.networks.unet import UNet


@dataclass(frozen=True)
class Model:
    """How to build a pair of networks.

    Attributes:
        generator: called with the image's size (height, width), its channels and the options; what it
            builds returns a reconstruction, or `Encoded`, which holds one.
        options: names of the further options that `generator` takes.
        discriminator: called with size, channels, ndf and nz.
    """

    generator: Callable[..., nn.Module]
    options: tuple[str, ...] = ("dim",)
    discriminator: Callable[[tuple[int, int], int, int, int], nn.Module] = Discriminator


def _gannext(size: tuple[int, int], channels: int, **options: Any) -> nn.Module:
    return GanNeXt(channels, **options)  # fully convolutional: any size


def _cut_encoder(size: tuple[int, int], channels: int, ndf: int, nz: int) -> nn.Module:
    return EncoderDiscriminator(size, channels, ndf)  # its features are a whole map, not nz numbers


MODELS: dict[str, Model] = {
    "gannext": Model(_gannext, ("dim", "depths", "bottom", "kernel", "norm", "patch", "scale", "std", "thumbnail")),
    "skipganomaly": Model(UNet),
    "ganomaly": Model(EncoderDecoder, ("dim", "nz"), _cut_encoder),
    "anotrans": Model(SwinUNet),
}


def _judge(size: tuple[int, int], channels: int, ndf: int, nz: int) -> nn.Module:
    return Judge(channels)  # it has no widths in common with DCGAN's, and judges any size


DISCRIMINATORS: dict[str, Callable[[tuple[int, int], int, int, int], nn.Module]] = {"describer": Describer, "judge": _judge}
"""Discriminators that a recipe may ask for instead of the model's own, called as `Model.discriminator` is."""


def create_generator(name: str, size: tuple[int, int], channels: int = 3, **options: Any) -> nn.Module:
    """A new generator by its registered name.

    Args:
        name: a key of MODELS.
        size: image height and width, for the generators that depend on it.
        channels: image channels, 1 or 3.
        options: further options of that generator's constructor.

    Raises:
        ValueError: no model has that name, or it has no such option.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown: choose one of {', '.join(MODELS)}")
    known = MODELS[name].options
    for option in options:
        if option not in known:
            raise ValueError(f"model {name} has no option {option!r}: it takes {', '.join(known)}")
    return MODELS[name].generator(size, channels, **options)
