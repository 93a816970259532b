"""A discriminator that describes whole images: what it learns beside real and fake makes its features worth comparing."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.networks.discriminator import Halvings

TURNS = 4
PROJECTED = 64
HIDDEN = 128


class Describer(nn.Module):
    """Judges images and describes them: (N, C, H, W) -> logits (N,) and features (N, nz).

        Halvings -> conv -> features f -> real     one logit: an image, or the generator's
                                       -> project  z (N, 64): where the image is among all others
                                       -> turn     logits (N, 4): by how many quarters it was turned

    The three heads train one body. To tell real from restored it needs the details; to tell images apart, and by
    how much each was turned, it needs their shapes (CSI, NeurIPS 2020).

    Args:
        size, channels, ndf, nz: as of `Discriminator`.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, ndf: int = 16, nz: int = 128) -> None:
        super().__init__()
        self.body = Halvings(size, channels, ndf)
        self.to_features = nn.Conv2d(self.body.width, nz, self.body.size, bias=False)

        def head(*layers: nn.Module) -> nn.Sequential:
            return nn.Sequential(nn.LeakyReLU(0.2), *layers)

        self.real = head(nn.Linear(nz, 1))
        self.project = head(nn.Linear(nz, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTED))
        self.turn = head(nn.Linear(nz, TURNS))

    def features(self, x: Tensor) -> Tensor:
        """f (N, nz) of images."""
        return self.to_features(self.body(x)).flatten(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        f = self.features(x)
        return self.real(f).flatten(), f

    def describe(self, x: Tensor) -> Tensor:
        """All that is known of images, (N, 4, nz + 65): for each quarter turn f, z of unit length, and the logit."""
        views = []
        for quarters in range(TURNS):
            f = self.features(turned(x, quarters))
            views.append(torch.cat((f, F.normalize(self.project(f), dim=1), self.real(f)), 1))
        return torch.stack(views, 1)


def turned(x: Tensor, quarters: int) -> Tensor:
    """Images (N, C, H, W) turned by so many quarters; where they are not square, what was turned is resized to fit."""
    if quarters == 0:
        return x
    # A turn as flips and a transposition: ONNX has these, and no rot90.
    if quarters == 2:
        return x.flip(2, 3)
    y = x.transpose(2, 3).flip(2 if quarters == 1 else 3)
    return y if y.shape == x.shape else F.interpolate(y, x.shape[-2:], mode="bilinear", align_corners=False)
