"""Skip-GANomaly's generator (IJCNN 2019): pix2pix's U-Net, down to one pixel and up again.

    x -- conv 64 -- conv 128 -- conv 256 -- conv 512 -- ... -- conv 512 (1x1)
          |           |           |           |                    |
    x^ -- up ------- up -------- up -------- up ------- ... ----- up        skips by concatenation

Every convolution is 4x4 with stride 2. With the default width 64 it has 16,659,075 parameters and
86,245,376 multiply-accumulates at 3x32x32.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.networks.gannext import initialise
from gannext.networks.padding import pad_to_multiple


class Down(nn.Module):
    """LeakyReLU, conv 4x4 stride 2, batch norm: halves the side. The outermost has neither activation nor norm, the
    innermost no norm."""

    def __init__(self, inside: int, outside: int, *, outermost: bool = False, innermost: bool = False) -> None:
        super().__init__()
        self.activation = nn.Identity() if outermost else nn.LeakyReLU(0.2)
        self.conv = nn.Conv2d(inside, outside, 4, 2, 1, bias=False)
        self.norm = nn.Identity() if outermost or innermost else nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.activation(x)))


class Up(nn.Module):
    """ReLU, transposed conv 4x4 stride 2, batch norm: doubles the side. The outermost has a bias and no norm."""

    def __init__(self, inside: int, outside: int, *, outermost: bool = False) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inside, outside, 4, 2, 1, bias=outermost)
        self.norm = nn.Identity() if outermost else nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(F.relu(x)))


class UNet(nn.Module):
    """Reconstructs images: (N, C, H, W) in [-1, 1] -> the same shape, through a final tanh.

    Args:
        size: image height and width; the shorter side is halved down to one pixel, and sides that
            cannot be are padded by repeating the border and cropped back.
        channels: image channels C, 1 or 3.
        dim: width of the first level; it doubles up to eight times that.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dim: int = 64) -> None:
        super().__init__()
        levels = min(size).bit_length() - 1
        self.stride = 2**levels
        widths = [channels, *(dim * min(2**level, 8) for level in range(levels))]
        self.downs = nn.ModuleList(
            Down(inside, outside, outermost=i == 0, innermost=i == levels - 1)
            for i, (inside, outside) in enumerate(pairwise(widths))
        )
        self.ups = nn.ModuleList(
            Up(inside if i == levels - 1 else 2 * inside, outside, outermost=i == 0)
            for i, (outside, inside) in reversed(list(enumerate(pairwise(widths))))
        )
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = pad_to_multiple(x, self.stride)
        skips: list[Tensor] = []
        for down in self.downs:
            y = down(y)
            skips.append(y)
        y = self.ups[0](skips.pop())
        for up in list(self.ups)[1:]:
            y = up(torch.cat((skips.pop(), y), dim=1))
        return torch.tanh(y)[..., :height, :width]
