"""The description from which a pair of networks can be built again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gannext.networks.registry import DISCRIMINATORS, MODELS, create_generator


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
    """

    model: str = "gannext"
    size: tuple[int, int] = (32, 32)
    channels: int = 3
    generator: Mapping[str, Any] = field(default_factory=dict)
    ndf: int = 64
    nz: int = 100
    discriminator: str = ""

    def build_generator(self) -> nn.Module:
        """A new generator with fresh weights."""
        shared = {"nz": self.nz} if self.model in MODELS and "nz" in MODELS[self.model].options else {}
        return create_generator(self.model, size=self.size, channels=self.channels, **shared, **self.generator)

    def build_discriminator(self) -> nn.Module:
        """A new discriminator with fresh weights."""
        build = DISCRIMINATORS[self.discriminator] if self.discriminator else MODELS[self.model].discriminator
        return build(self.size, self.channels, self.ndf, self.nz)
