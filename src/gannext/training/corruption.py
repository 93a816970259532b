"""Corruptions of normal images: what a judge learns to find, in the place of the abnormal images that nobody has.

Each is a region with a soft, wavy outline, a spot or a line, that is filled with something that does not belong there.
None of them imitates a particular defect: what they share with real ones is that a part of the image no longer goes with
the rest.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from gannext.networks import gaussian_blur

UNIT = 64  # lengths below are in pixels of an image of this side, and grow with the image
LEAST_COVER = 0.15  # a pixel of which less is covered stays as it is, and counts as clean


@dataclass(frozen=True)
class Corruption:
    """How images are corrupted.

    Attributes:
        fills: keys of FILLS, each as likely as the others.
        sites: least and greatest number of regions in an image.
        clean: share of images that stay as they are.
        lines: whether the regions are long, thin, bent lines; they are spots otherwise.
        visible: a region whose pixels change by less on average, in [-1, 1], is left out.
    """

    fills: tuple[str, ...] = ("paste", "tone", "blur", "flat", "noise")
    sites: tuple[int, int] = (1, 4)
    clean: float = 0.1
    lines: bool = False
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
        cover = covers(len(image), (x.shape[-2], x.shape[-1]), device, self.lines)
        cover = torch.where(cover < LEAST_COVER, 0.0, cover)
        filled = self._fills(x, image)
        for number in range(most):
            chosen = torch.nonzero(site == number).flatten()
            target = image[chosen]
            y[target], region = self._cover(y[target], filled[chosen], cover[chosen])
            mask[target] = torch.maximum(mask[target], region)
        return y, mask

    def _fills(self, x: Tensor, image: Tensor) -> Tensor:
        """What each region is filled with, (R, C, H, W), given which of the images (N, C, H, W) it lies in (R,)."""
        filled = x[image]
        which = torch.randint(len(self.fills), image.shape, device=x.device)
        for index, name in enumerate(self.fills):
            chosen = torch.nonzero(which == index).flatten()
            if len(chosen):
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


def uniform(n: int, low: float, high: float, device: torch.device) -> Tensor:
    """Uniform numbers (n, 1, 1, 1)."""
    return torch.rand(n, 1, 1, 1, device=device) * (high - low) + low


def log_uniform(n: int, low: float, high: float, device: torch.device) -> Tensor:
    """Numbers (n, 1, 1, 1) whose logarithms are uniform."""
    return uniform(n, math.log(low), math.log(high), device).exp()


def chance(n: int, probability: float, device: torch.device) -> Tensor:
    """True (n, 1, 1, 1) with that probability."""
    return torch.rand(n, 1, 1, 1, device=device) < probability


def smooth_noise(n: int, size: tuple[int, int], bumps: tuple[int, int], device: torch.device) -> Tensor:
    """Noise (n, 1, H, W) of unit variance with about so many bumps down and across."""
    margin = 16  # interpolation leaves the grid's own lines in place: cut at a random offset
    coarse = torch.randn(n, 1, bumps[0] + 3, bumps[1] + 3, device=device)
    down, across = (bicubic(b + 3, s + margin, device) for b, s in zip(bumps, size, strict=True))
    top, left = torch.randint(0, margin + 1, (2,)).tolist()
    fine = down[top : top + size[0]] @ coarse @ across[left : left + size[1]].T
    fine = fine - fine.mean((2, 3), keepdim=True)
    return fine / fine.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-3)


def bicubic(few: int, many: int, device: torch.device) -> Tensor:
    """The matrix (many, few) that interpolates so many numbers between a few: images by two products with such are made in a
    quarter of the time that `F.interpolate` takes for them."""
    return F.interpolate(torch.eye(few, device=device)[None, None], (many, few), mode="bicubic", align_corners=True)[0, 0]


def covers(n: int, size: tuple[int, int], device: torch.device, lines: bool) -> Tensor:
    """How much of each pixel a region covers, (n, 1, H, W) in [0, 1].

    A region is a capsule, all within some distance of a segment, which is bent where it is a line; its outline is wavy,
    and more or less soft.
    """
    height, width = size
    unit = min(size) / UNIT
    if lines:
        radius, half_length = unit * log_uniform(n, 0.6, 1.4, device), unit * log_uniform(n, 10.0, 32.0, device)
        bend = uniform(n, -0.5, 0.5, device) / half_length.clamp(min=1.0)
        softness = uniform(n, 0.4, 0.8, device)
    else:
        radius, half_length = unit * log_uniform(n, 2.5, 16.0, device), unit * uniform(n, 0.0, 8.0, device)
        bend = torch.zeros_like(radius)
        softness = log_uniform(n, 0.4, 3.0, device)
    angle = uniform(n, 0.0, math.pi, device)
    rows = torch.arange(height, device=device)[:, None] + 0.5 - height * uniform(n, 0.05, 0.95, device)
    columns = torch.arange(width, device=device) + 0.5 - width * uniform(n, 0.05, 0.95, device)
    along = columns * angle.cos() + rows * angle.sin()
    across = rows * angle.cos() - columns * angle.sin() - bend * along.square()
    distance = torch.hypot((along.abs() - half_length).clamp(min=0.0), across) - radius
    bumps = int(torch.randint(2, 12, ()))
    distance = distance + smooth_noise(n, size, (bumps, bumps), device) * radius * uniform(n, 0.0, 0.35, device)
    return (0.5 - distance / (2.0 * softness)).clamp(0.0, 1.0)


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
    return mean + (y - mean) * uniform(n, 0.2, 1.6, device) + sign * uniform(n, 0.1, 0.8, device)


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
    """A made-up texture, of the image's own brightness or another."""
    n, device = len(y), y.device
    bumps = [int(torch.empty(()).uniform_(math.log(4.0), math.log(48.0)).exp()) for _ in range(2)]
    brightness = torch.rand(n, y.shape[1], 1, 1, device=device) * 1.6 - 0.8
    mean = torch.where(chance(n, 0.5, device), y.mean((2, 3), keepdim=True), brightness)
    bumpy = smooth_noise(n, (y.shape[-2], y.shape[-1]), (bumps[0], bumps[1]), device)
    return mean + bumpy * uniform(n, 0.08, 0.6, device)


FILLS: dict[str, Fill] = {"paste": paste, "tone": tone, "blur": blur, "flat": flat, "noise": noise}

SPOTS = Corruption()
LINES = Corruption(fills=("tone", "flat"), lines=True)
