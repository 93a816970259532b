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
from torch import Generator, Tensor

from gannext.networks import gaussian_blur
from gannext.training.regions import SHAPES, chance, log_uniform, smooth_noise, uniform, whole_number

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

    def __call__(self, x: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) in [-1, 1] to corrupted images alike, and masks (N, 1, H, W) of 0 and 1.

        All randomness is that generator's, which is on the images' device.
        """
        n, device = len(x), x.device
        least, most = self.sites
        count = torch.randint(least, most + 1, (n,), device=device, generator=random)
        count[chance(n, self.clean, random).flatten()] = 0
        # All regions of all images (R, ...) are drawn at once: a processor would spend its time on many small steps.
        image, site = torch.nonzero(torch.arange(most, device=device) < count[:, None], as_tuple=True)  # (R,) each
        y, mask = x.clone(), x.new_zeros(n, 1, *x.shape[-2:])
        if not len(image):
            return y, mask
        cover = self._regions(len(image), (x.shape[-2], x.shape[-1]), random)
        filled = self._fills(x, image, random)
        for number in range(most):
            chosen = torch.nonzero(site == number).flatten()
            target = image[chosen]
            y[target], region = self._cover(y[target], filled[chosen], cover[chosen], random)
            mask[target] = torch.maximum(mask[target], region)
        return y, mask

    def _regions(self, regions: int, size: tuple[int, int], random: Generator) -> Tensor:
        """How much of each pixel each region covers, (R, 1, H, W) in [0, 1]."""
        cover = torch.zeros(regions, 1, *size, device=random.device)
        for name, chosen in assigned(self.shapes, regions, random):
            cover[chosen] = SHAPES[name](len(chosen), size, random)
        return torch.where(cover < LEAST_COVER, 0.0, cover)

    def _fills(self, x: Tensor, image: Tensor, random: Generator) -> Tensor:
        """What each region is filled with, (R, C, H, W), given which of the images (N, C, H, W) it lies in (R,)."""
        filled = x[image]
        for name, chosen in assigned(self.fills, len(image), random):
            filled[chosen] = FILLS[name](filled[chosen], x, random)
        return filled

    def _cover(self, y: Tensor, filled: Tensor, cover: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
        """Images with one more region filled, and those regions (n, 1, H, W); what would not be visible is not done."""
        opacity = uniform(len(y), 0.6, 1.0, random)
        filled = (y + cover * opacity * (filled - y)).clamp(-1.0, 1.0)
        region = (cover > 0).float()
        change = ((filled - y).abs().mean(1, keepdim=True) * region).sum((2, 3), keepdim=True)
        shows = change >= self.visible * region.sum((2, 3), keepdim=True).clamp(min=1.0)
        return torch.where(shows, filled, y), region * shows


def assigned(names: tuple[str, ...], n: int, random: Generator) -> Iterator[tuple[str, Tensor]]:
    """Each name that one of n has drawn, with the indices of those that have, (k,)."""
    which = torch.randint(len(names), (n,), device=random.device, generator=random)
    for index, name in enumerate(names):
        chosen = torch.nonzero(which == index).flatten()
        if len(chosen):
            yield name, chosen


Fill: TypeAlias = Callable[[Tensor, Tensor, Generator], Tensor]
"""From images (n, C, H, W), a pool of normal ones (N, C, H, W) and random numbers to what may fill a region of each."""


def paste(y: Tensor, pool: Tensor, random: Generator) -> Tensor:
    """Another normal image at another scale and angle, half of the time with other contrast and brightness."""
    n, device = len(y), y.device
    source = pool[torch.randint(len(pool), (n,), device=device, generator=random)]
    zoom = torch.where(chance(n, 0.5, random), log_uniform(n, 1.5, 3.0, random), log_uniform(n, 0.3, 0.7, random))
    turn = uniform(n, 0.0, 2.0 * math.pi, random)
    cos, sin = (zoom * turn.cos()).view(n, 1), (zoom * turn.sin()).view(n, 1)
    shift = torch.rand(n, 2, device=device, generator=random) - 0.5
    affine = torch.stack([torch.cat([cos, sin, shift[:, :1]], 1), torch.cat([-sin, cos, shift[:, 1:]], 1)], 1)  # (n, 2, 3)
    grid = F.affine_grid(affine, list(source.shape), align_corners=False)
    pasted = F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)
    mean = pasted.mean((2, 3), keepdim=True)
    toned = mean + (pasted - mean) * uniform(n, 0.4, 1.8, random) + uniform(n, -0.4, 0.4, random)
    return torch.where(chance(n, 0.5, random), toned, pasted)


def tone(y: Tensor, pool: Tensor, random: Generator) -> Tensor:
    """The image itself, lighter or darker and with other contrast."""
    n = len(y)
    mean = gaussian_blur(y, 3.0)
    sign = torch.where(chance(n, 0.5, random), -1.0, 1.0)
    contrast = 1.6 * uniform(n, 0.0, 1.0, random).square()  # little of it more often than much
    return mean + (y - mean) * contrast + sign * uniform(n, 0.1, 1.0, random)


def blur(y: Tensor, pool: Tensor, random: Generator) -> Tensor:
    """The image itself, blurred, or, one time in four, sharpened."""
    blurred = gaussian_blur(y, float(uniform(1, 0.9, 3.0, random)))
    if chance(1, 0.75, random):
        return blurred
    return y + uniform(1, 1.0, 3.0, random) * (y - blurred)


def flat(y: Tensor, pool: Tensor, random: Generator) -> Tensor:
    """One colour, shaded and a little noisy."""
    n = len(y)
    colour = any_colour(y, random)
    bumps = whole_number(1, 6, random)
    shade = smooth_noise(n, (y.shape[-2], y.shape[-1]), (bumps, bumps), random) * uniform(n, 0.0, 0.25, random)
    return colour + shade + torch.randn(y.shape, device=y.device, generator=random) * uniform(n, 0.0, 0.06, random)


def noise(y: Tensor, pool: Tensor, random: Generator) -> Tensor:
    """A made-up texture, faint or strong, of the image's own brightness or another."""
    n = len(y)
    bumps = [int(log_uniform(1, 4.0, 48.0, random)) for _ in range(2)]
    colour = any_colour(y, random)
    mean = torch.where(chance(n, 0.5, random), y.mean((2, 3), keepdim=True), colour)
    bumpy = smooth_noise(n, (y.shape[-2], y.shape[-1]), (bumps[0], bumps[1]), random)
    return mean + bumpy * log_uniform(n, 0.02, 0.6, random)


def any_colour(y: Tensor, random: Generator) -> Tensor:
    """A colour (n, C, 1, 1) for each image (n, C, H, W), from black to white; a little beyond, so that these are met too."""
    return torch.rand(len(y), y.shape[1], 1, 1, device=y.device, generator=random) * 2.2 - 1.1


FILLS: dict[str, Fill] = {"paste": paste, "tone": tone, "blur": blur, "flat": flat, "noise": noise}

SPOTS = Corruption()
THIN = Corruption(fills=("tone", "flat"), shapes=("line", "line", "outline"))
