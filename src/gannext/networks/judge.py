"""A discriminator that judges every pixel, on GanNeXt's own architecture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gannext.networks.energy import energies, energy_channels
from gannext.networks.gannext import GanNeXt
from gannext.networks.padding import pad_to_multiple

PRIOR = -2.5  # the first logit, about one pixel in thirteen: what corruption covers of an image


class Judge(nn.Module):
    """Says of every pixel whether it belongs there: (N, C, H, W) in [-1, 1] -> logits (N, 1, H, W), positive for abnormal.

        energies at half the side -> batch norm without weights -> GanNeXt (patch 1) -> bilinear x2

    Args:
        channels: image channels C.
        dim, depths, bottom, kernel: GanNeXt's, at half the image's side.

    It is fully convolutional; sides that cannot be halved evenly are padded by repeating the border.
    """

    def __init__(
        self, channels: int = 3, dim: int = 12, depths: Sequence[int] = (1, 1, 2), bottom: int = 2, kernel: int = 5
    ) -> None:
        super().__init__()
        inside = energy_channels(channels)
        self.norm = nn.BatchNorm2d(inside, affine=False)
        self.body = GanNeXt(inside, dim, depths, bottom, kernel, patch=1, outputs=1, scale=0.5, std=None)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        last = self.body.stem_out[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, PRIOR)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pad_to_multiple(x, 2 * self.body.stride)
        if torch.is_autocast_enabled(x.device.type):  # logarithms of small energies want 32 bits
            with torch.autocast(x.device.type, enabled=False):
                maps = energies(x)
        else:
            maps = energies(x)
        return self.enlarge(self.body(self.norm(maps)))[..., :height, :width]
