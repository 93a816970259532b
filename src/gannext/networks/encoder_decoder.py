"""GANomaly's networks (ACCV 2018): encoder, decoder and a second encoder, and a discriminator that is an encoder cut short.

    x -> encoder -> z (nz) -> decoder -> reconstruction -> second encoder -> latent of the reconstruction

There are no skip connections: all that the decoder knows of the image is z. The two latents are what
the anomaly score compares.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gannext.networks.discriminator import Halvings
from gannext.networks.gannext import initialise
from gannext.networks.padding import pad_to_multiple


class Encoded(NamedTuple):
    """A reconstruction x̂ (N, C, H, W), and the latents (N, nz) of the image and of the reconstruction."""

    x_hat: Tensor
    z: Tensor
    z_hat: Tensor


class Encoder(nn.Module):
    """DCGAN's body and a convolution over all of its last map: (N, C, H, W) -> latents (N, nz, 1, 1)."""

    def __init__(self, size: tuple[int, int], channels: int, width: int, nz: int) -> None:
        super().__init__()
        self.body = Halvings(size, channels, width)
        self.to_latent = nn.Conv2d(self.body.width, nz, self.body.size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_latent(self.body(x))


class Decoder(nn.Sequential):
    """The encoder in reverse, with ReLU, and a tanh at the end: (N, nz, 1, 1) -> (N, C, H, W)."""

    def __init__(self, body: Halvings, channels: int, nz: int) -> None:
        width = body.width
        layers: list[nn.Module] = [nn.ConvTranspose2d(nz, width, body.size, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for _ in range(body.count - 1):
            layers += [nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU()]
            width //= 2
        super().__init__(*layers, nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh())


class EncoderDecoder(nn.Module):
    """GANomaly's generator: (N, C, H, W) in [-1, 1] -> Encoded.

    Args:
        size: image height and width H, W; sides that cannot be halved evenly are padded by repeating
            the border, and cropped back.
        channels: image channels C.
        dim: width of the first layer; it doubles with every further one.
        nz: number of latents.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dim: int = 64, nz: int = 100) -> None:
        super().__init__()
        self.multiple = 2 ** Halvings(size, 1, 1).count
        height, width = (side + -side % self.multiple for side in size)
        self.encoder = Encoder((height, width), channels, dim, nz)
        self.decoder = Decoder(self.encoder.body, channels, nz)
        self.second_encoder = Encoder((height, width), channels, dim, nz)
        self.apply(initialise)

    def forward(self, x: Tensor) -> Encoded:
        height, width = x.shape[-2:]
        z = self.encoder(pad_to_multiple(x, self.multiple))  # (N, nz, 1, 1)
        x_hat = self.decoder(z)
        z_hat = self.second_encoder(x_hat)
        return Encoded(x_hat[..., :height, :width], z.flatten(1), z_hat.flatten(1))


class EncoderDiscriminator(nn.Module):
    """GANomaly's discriminator: (N, C, H, W) -> logits (N,) and features (N, F), the body's last map.

    Args:
        size: image height and width.
        channels: image channels.
        ndf: width of the first layer.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, ndf: int = 64) -> None:
        super().__init__()
        self.body = Halvings(size, channels, ndf)
        self.to_logit = nn.Conv2d(self.body.width, 1, self.body.size, bias=False)
        self.apply(initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)
        return self.to_logit(features).flatten(), features.flatten(1)


def reconstruct(generator: nn.Module, x: Tensor) -> Tensor:
    """The reconstruction (N, C, H, W) alone, of any registered generator."""
    made = generator(x)
    return made if isinstance(made, torch.Tensor) else made.x_hat
