"""A discriminator that judges every pixel, on GanNeXt's own architecture."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gannext.networks.energy import energies, energy_channels
from gannext.networks.gannext import GanNeXt
from gannext.networks.padding import pad_to_multiple

PRIOR = -2.5  # the first logit, about one pixel in thirteen: what corruption covers of an image


EXPERTS = 2
"""How many networks look for defects, each of another shape."""


class Judge(nn.Module):
    """Says of every pixel whether it belongs there: (N, C, H, W) in [-1, 1] -> logits (N, K, H, W), positive for abnormal.

                                                                 ┌─> GanNeXt (patch 1) -> bilinear x2
        energies at half the side -> batch norm without weights ─┤
                                                                 └─> GanNeXt (patch 1) -> bilinear x2

    Each of the K experts learns to find regions of its own shape. One network for all of them learns the large ones, and
    hardly sees a scratch.

    Args:
        channels: image channels C.
        dim, depths, bottom, kernel: each GanNeXt's, at half the image's side.

    It is fully convolutional; sides that cannot be halved evenly are padded by repeating the border.
    """

    def __init__(
        self, channels: int = 3, dim: int = 12, depths: Sequence[int] = (1, 1), bottom: int = 1, kernel: int = 5
    ) -> None:
        super().__init__()
        inside = energy_channels(channels)
        self.norm = nn.BatchNorm2d(inside, affine=False)
        experts = [
            GanNeXt(inside, dim, depths, bottom, kernel, patch=1, outputs=1, scale=0.5, std=None) for _ in range(EXPERTS)
        ]
        for expert in experts:
            nn.init.constant_(expert.get_parameter("stem_out.1.bias"), PRIOR)
        self.experts = nn.ModuleList(experts)
        self.stride = 2 * experts[0].stride
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        maps = self._look(x)
        return self.enlarge(torch.cat([expert(maps) for expert in self.experts], 1))[..., :height, :width]

    def divided(self, x: Tensor, shares: list[int]) -> Tensor:
        """Logits (N, 1, H, W) of images that are dealt out: the first share is the first expert's alone, and so on."""
        height, width = x.shape[-2:]
        logits = [expert(maps) for expert, maps in zip(self.experts, self._look(x).split(shares), strict=True)]
        return self.enlarge(torch.cat(logits))[..., :height, :width]

    def _look(self, x: Tensor) -> Tensor:
        """What the experts see of images, padded so that they can be halved."""
        x = pad_to_multiple(x, self.stride)
        if torch.is_autocast_enabled(x.device.type):  # logarithms of small energies want 32 bits
            with torch.autocast(x.device.type, enabled=False):
                maps = energies(x)
        else:
            maps = energies(x)
        normed: Tensor = self.norm(maps)
        return normed
