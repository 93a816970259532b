"""The description from which a pair of networks can be built again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from torch import nn

from gannext.networks.registry import DISCRIMINATORS, MODELS, create_generator

Levels: TypeAlias = tuple[tuple[float, float], ...]
"""For each channel, the bytes that the networks see as -1 and 1; what lies beyond is seen as these. Empty for 0 and 255."""


@dataclass(frozen=True)
class NetworkConfig:
    """A generator and its discriminator, as plain data that JSON can hold.

    Attributes:
        model: its registered name.
        size: image height and width that the networks work at.
        channels: image channels, 1 or 3.
        generator: further options of the generator's constructor.
        ndf: width of the discriminator's first layer.
        nz: number of the discriminator's features; of GANomaly's, of the generator's latents.
        discriminator: a key of DISCRIMINATORS; empty for the model's own.
        levels: which bytes the networks see as -1 and 1.
    """

    model: str = "gannext"
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    generator: Mapping[str, Any] = field(default_factory=dict)
    ndf: int = 64
    nz: int = 100
    discriminator: str = ""
    levels: Levels = ()

    def build_generator(self) -> nn.Module:
        """A new generator with fresh weights."""
        shared = {"nz": self.nz} if self.model in MODELS and "nz" in MODELS[self.model].options else {}
        return create_generator(self.model, size=self.size, channels=self.channels, **shared, **self.generator)

    def build_discriminator(self) -> nn.Module:
        """A new discriminator with fresh weights."""
        build = DISCRIMINATORS[self.discriminator] if self.discriminator else MODELS[self.model].discriminator
        return build(self.size, self.channels, self.ndf, self.nz)
