"""Corruptions of normal images: what a judge learns to find, in the place of the abnormal images that nobody has.

Each is a region with a soft, wavy edge, a spot, a line or an outline, that is filled with something that does not belong
there. None of them imitates a particular defect: what they share with real ones is that a part of the image no longer goes with
the rest.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from gannext.networks import gaussian_blur
from gannext.training.regions import SHAPES, chance, log_uniform, smooth_noise, uniform

LEAST_COVER = 0.15  # a pixel of which less is covered stays as it is, and counts as clean


@dataclass(frozen=True)
class Corruption:
    """How images are corrupted.

    Attributes:
        fills: keys of FILLS, each as likely as the others; one that is named twice is twice as likely.
        shapes: keys of SHAPES, likewise.
        sites: least and greatest number of regions in an image.
        clean: share of images that stay as they are.
        visible: a region whose pixels change by less on average, in [-1, 1], is left out.
    """

    fills: tuple[str, ...] = 2 * ("paste", "blur", "flat", "noise") + ("tone",)
    shapes: tuple[str, ...] = ("spot",)
    sites: tuple[int, int] = (1, 4)
    clean: float = 0.1
    visible: float = 0.03

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) in [-1, 1] to corrupted images alike, and masks (N, 1, H, W) of 0 and 1.

        All randomness is torch's own.
        """
        n, device = len(x), x.device
        least, most = self.sites
        count = torch.randint(least, most + 1, (n,), device=device)
        count[torch.rand(n, device=device) < self.clean] = 0
        # All regions of all images (R, ...) are drawn at once: a processor would spend its time on many small steps.
        image, site = torch.nonzero(torch.arange(most, device=device) < count[:, None], as_tuple=True)  # (R,) each
        y, mask = x.clone(), x.new_zeros(n, 1, *x.shape[-2:])
        if not len(image):
            return y, mask
        cover = self._regions(len(image), (x.shape[-2], x.shape[-1]), device)
        filled = self._fills(x, image)
        for number in range(most):
            chosen = torch.nonzero(site == number).flatten()
            target = image[chosen]
            y[target], region = self._cover(y[target], filled[chosen], cover[chosen])
            mask[target] = torch.maximum(mask[target], region)
        return y, mask

    def _regions(self, regions: int, size: tuple[int, int], device: torch.device) -> Tensor:
        """How much of each pixel each region covers, (R, 1, H, W) in [0, 1]."""
        cover = torch.zeros(regions, 1, *size, device=device)
        for name, chosen in assigned(self.shapes, regions, device):
            cover[chosen] = SHAPES[name](len(chosen), size, device)
        return torch.where(cover < LEAST_COVER, 0.0, cover)

    def _fills(self, x: Tensor, image: Tensor) -> Tensor:
        """What each region is filled with, (R, C, H, W), given which of the images (N, C, H, W) it lies in (R,)."""
        filled = x[image]
        for name, chosen in assigned(self.fills, len(image), x.device):
            filled[chosen] = FILLS[name](filled[chosen], x)
        return filled

    def _cover(self, y: Tensor, filled: Tensor, cover: Tensor) -> tuple[Tensor, Tensor]:
        """Images with one more region filled, and those regions (n, 1, H, W); what would not be visible is not done."""
        opacity = uniform(len(y), 0.6, 1.0, y.device)
        filled = (y + cover * opacity * (filled - y)).clamp(-1.0, 1.0)
        region = (cover > 0).float()
        change = ((filled - y).abs().mean(1, keepdim=True) * region).sum((2, 3), keepdim=True)
        shows = change >= self.visible * region.sum((2, 3), keepdim=True).clamp(min=1.0)
        return torch.where(shows, filled, y), region * shows


def assigned(names: tuple[str, ...], n: int, device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """Each name that one of n has drawn, with the indices of those that have, (k,)."""
    which = torch.randint(len(names), (n,), device=device)
    for index, name in enumerate(names):
        chosen = torch.nonzero(which == index).flatten()
        if len(chosen):
            yield name, chosen


Fill: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""From images (n, C, H, W) and a pool of normal ones (N, C, H, W) to what may fill a region of each."""


def paste(y: Tensor, pool: Tensor) -> Tensor:
    """Another normal image at another scale and angle, half of the time with other contrast and brightness."""
    n, device = len(y), y.device
    source = pool[torch.randint(len(pool), (n,), device=device)]
    zoom = torch.where(chance(n, 0.5, device), log_uniform(n, 1.5, 3.0, device), log_uniform(n, 0.3, 0.7, device))
    turn = uniform(n, 0.0, 2.0 * math.pi, device)
    cos, sin = (zoom * turn.cos()).view(n, 1), (zoom * turn.sin()).view(n, 1)
    shift = torch.rand(n, 2, device=device) - 0.5
    affine = torch.stack([torch.cat([cos, sin, shift[:, :1]], 1), torch.cat([-sin, cos, shift[:, 1:]], 1)], 1)  # (n, 2, 3)
    grid = F.affine_grid(affine, list(source.shape), align_corners=False)
    pasted = F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    mean = pasted.mean((2, 3), keepdim=True)
    toned = mean + (pasted - mean) * uniform(n, 0.4, 1.8, device) + uniform(n, -0.4, 0.4, device)
    return torch.where(chance(n, 0.5, device), toned, pasted)


def tone(y: Tensor, pool: Tensor) -> Tensor:
    """The image itself, lighter or darker and with other contrast."""
    n, device = len(y), y.device
    mean = gaussian_blur(y, 3.0)
    sign = torch.where(chance(n, 0.5, device), -1.0, 1.0)
    contrast = 1.6 * uniform(n, 0.0, 1.0, device).square()  # little of it more often than much
    return mean + (y - mean) * contrast + sign * uniform(n, 0.1, 1.0, device)


def blur(y: Tensor, pool: Tensor) -> Tensor:
    """The image itself, blurred, or, one time in four, sharpened."""
    blurred = gaussian_blur(y, float(torch.empty(()).uniform_(0.9, 3.0)))
    if torch.rand(()) < 0.75:
        return blurred
    return y + float(torch.empty(()).uniform_(1.0, 3.0)) * (y - blurred)


def flat(y: Tensor, pool: Tensor) -> Tensor:
    """One colour, shaded and a little noisy."""
    n, device = len(y), y.device
    colour = torch.rand(n, y.shape[1], 1, 1, device=device) * 2.2 - 1.1
    bumps = int(torch.randint(1, 6, ()))
    shade = smooth_noise(n, (y.shape[-2], y.shape[-1]), (bumps, bumps), device) * uniform(n, 0.0, 0.25, device)
    return colour + shade + torch.randn_like(y) * uniform(n, 0.0, 0.06, device)


def noise(y: Tensor, pool: Tensor) -> Tensor:
    """A made-up texture, faint or strong, of the image's own brightness or another."""
    n, device = len(y), y.device
    bumps = [int(torch.empty(()).uniform_(math.log(4.0), math.log(48.0)).exp()) for _ in range(2)]
    brightness = torch.rand(n, y.shape[1], 1, 1, device=device) * 1.6 - 0.8
    mean = torch.where(chance(n, 0.5, device), y.mean((2, 3), keepdim=True), brightness)
    bumpy = smooth_noise(n, (y.shape[-2], y.shape[-1]), (bumps[0], bumps[1]), device)
    return mean + bumpy * log_uniform(n, 0.02, 0.6, device)


FILLS: dict[str, Fill] = {"paste": paste, "tone": tone, "blur": blur, "flat": flat, "noise": noise}

SPOTS = Corruption()
THIN = Corruption(fills=("tone", "flat"), shapes=("line", "line", "outline"))
