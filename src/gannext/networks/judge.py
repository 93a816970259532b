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

    Each of the K experts learns to find regions of its own shape. One network for all of them sees less of the thin ones.

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
        maps = self._look(x)
        return self._enlarged(torch.cat([expert(maps) for expert in self.experts], 1), x)

    def divided(self, x: Tensor) -> Tensor:
        """Logits (K N, 1, H, W) of images (K N, C, H, W), of which the first N are the first expert's alone, and so on."""
        return self._enlarged(torch.cat(self.apart(self._look(x).chunk(len(self.experts)))), x)

    def apart(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each expert's logits at half the side, (N, 1, h, w), of maps (N, E, h, w) of its own."""
        return tuple(expert(share) for expert, share in zip(self.experts, maps, strict=True))

    def _enlarged(self, logits: Tensor, x: Tensor) -> Tensor:
        """Logits at half the side as those of the pixels of images x."""
        whole: Tensor = self.enlarge(logits)
        return whole[..., : x.shape[-2], : x.shape[-1]]

    def _look(self, x: Tensor) -> Tensor:
        """What the experts see of images, padded so that they can be halved."""
        x = pad_to_multiple(x, self.stride)
        if torch.is_autocast_enabled(x.device.type):  # logarithms of small energies want 32 bits
            with torch.autocast(x.device.type, enabled=False):
                maps = self.filtered(x)
        else:
            maps = self.filtered(x)
        normed: Tensor = self.norm(maps)
        return normed

    def filtered(self, x: Tensor) -> Tensor:
        """What the fixed filters make of images (N, C, H, W) with even sides, each channel by itself: (N, E, H/2, W/2)."""
        return energies(x)
