"""From an image and its reconstruction to one number a pixel: the anomaly map.

A map is made of parts, each of them a map of its own kind of difference. The parts have no common
unit, so each is divided by its mean over the held-out normal images, and the map is their weighted average: 1
is what a normal pixel has on average, in every image and with every detector. No test image is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from gannext.detection.score import Description, surprise
from gannext.runtime import PixelCalibration, unknown

SMALLEST_SCALE = 1e-12  # of a part that is 0 in all held-out images

MapParts: TypeAlias = Callable[[nn.Module, Tensor, Description], Tensor]
"""From a discriminator, images x (N, C, H, W) in [-1, 1] and what their score was made of, to parts
(N, K, H, W): at least 0, larger where more is wrong, and the part that says best where it is comes first."""


def reconstruction_parts(discriminator: nn.Module, x: Tensor, described: Description) -> Tensor:
    """How far the pixels are apart, and the discriminator's maps at each of its scales, from the finest to the coarsest.

    Each is a root mean square over the channels; the discriminator's are enlarged to the image's size.
    """
    x_hat = described.x_hat
    pairs = [(x, x_hat), *zip(feature_maps(discriminator, x), feature_maps(discriminator, x_hat), strict=True)]
    parts = []
    for of_x, of_x_hat in pairs:
        difference = (of_x - of_x_hat).square().mean(1, keepdim=True).sqrt()
        parts.append(F.interpolate(difference, x.shape[-2:], mode="bilinear", align_corners=False))
    return torch.cat(parts, dim=1)


def feature_maps(discriminator: nn.Module, x: Tensor) -> list[Tensor]:
    """The discriminator's map after each activation of its body, from the finest to the coarsest."""
    maps = []
    for layer in discriminator.get_submodule("body").children():
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            maps.append(x)
    return maps


def judged_parts(discriminator: nn.Module, x: Tensor, described: Description) -> Tensor:
    """A judge's -log(1 - p) at each pixel, where the experts' odds add up to p / (1 - p): one part."""
    return surprise(described.f)[:, None]


@dataclass(frozen=True)
class MapKind:
    """A kind of anomaly map.

    Attributes:
        parts: makes its parts.
        fading: each part weighs so many times what the one before it weighs. A map at half the side
            says half as well where the difference is.
        smooth: whether a Gaussian smooths the map.
    """

    parts: MapParts
    fading: float = 0.5
    smooth: bool = True


MAPS: dict[str, MapKind] = {
    "reconstruction": MapKind(reconstruction_parts),
    "judge": MapKind(judged_parts, smooth=False),  # smoothing took from its accuracy
}
"""The kinds of anomaly map by name. A recipe that knows a better one adds it here and names it in its `map`."""


@dataclass(frozen=True)
class AnomalyMap:
    """How a detector makes an anomaly map, and from what value on a pixel is abnormal.

    Attributes:
        kind: a key of MAPS.
        scales: each part's mean over the held-out normal images.
        smoothing: standard deviation of the Gaussian that smooths the map, in pixels at the networks' size; or 0.
        pixels: calibration of the map's values on held-out normal images.
    """

    kind: str
    scales: tuple[float, ...]
    smoothing: float
    pixels: PixelCalibration

    def __post_init__(self) -> None:
        if self.kind not in MAPS:
            raise unknown("kind of anomaly map", self.kind, tuple(MAPS))

    def combine(self, parts: Tensor) -> NDArray[np.float32]:
        """Maps (N, H, W) of parts (N, K, H, W), in units of a normal pixel's average."""
        return np.asarray(self.blend(parts).cpu().numpy())

    def blend(self, parts: Tensor) -> Tensor:
        """As `combine`, as a tensor; an exported file holds these operations."""
        from torchvision.transforms.functional import gaussian_blur

        weights = MAPS[self.kind].fading ** torch.arange(len(self.scales), dtype=torch.float64)
        factors = weights / weights.sum() / torch.tensor(self.scales, dtype=torch.float64).clamp_min(SMALLEST_SCALE)
        maps = torch.einsum("nkhw,k->nhw", parts.float(), factors.to(parts.device, torch.float32))
        if not self.smoothing:
            return maps
        reach = min(math.ceil(3 * self.smoothing), min(maps.shape[-2:]) - 1)  # the border is mirrored, at most once
        return gaussian_blur(maps[:, None], [2 * reach + 1] * 2, [self.smoothing] * 2)[:, 0]


def default_smoothing(kind: str, size: tuple[int, int]) -> float:
    """The Gaussian's standard deviation for networks of that height and width: 4 pixels at 256, as others use; or 0."""
    return max(1.0, min(size) / 64) if MAPS[kind].smooth else 0.0
