"""Other views of an image that show the same thing: what a discriminator has to see through."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gannext.networks import gaussian_blur, turned


def jittered(x: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], moved so little that they are as normal as before."""
    return moved(x, scale=(0.93, 1.07), shift=0.06, degrees=4.0, aspect=0.05)


def view(x: Tensor) -> Tensor:
    """Views of images (N, C, H, W) in [-1, 1]: moved, in another light, partly hidden and noisy."""
    x = moved(x, scale=(0.8, 1.1), shift=0.12, degrees=10.0, aspect=0.1)
    light = (x + 1.0).div(2.0).clamp_min(1e-4) ** each(x, -0.4, 0.4).exp() * each(x, 0.6, 1.2)
    x = hidden(light.clamp(0.0, 1.0).mul(2.0).sub(1.0))
    return x + torch.randn_like(x) * each(x, 0.0, 0.1)


def relit(x: Tensor, light: float) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], each by up to that share brighter or darker in all, and by that share of half the greys
    lighter or darker everywhere; without a share they are as they were."""
    if not light:
        return x
    return ((x + 1.0) * each(x, 1.0 - light, 1.0 + light) + each(x, -light, light) - 1.0).clamp(-1.0, 1.0)


def refocused(x: Tensor, focus: float) -> Tensor:
    """Images (N, C, H, W), each mixed in a proportion of its own with what a Gaussian of that standard deviation, in pixels,
    makes of it; without one they are as they were."""
    return x + each(x, 0.0, 1.0) * (gaussian_blur(x, focus) - x) if focus else x


def turned_copies(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W), each turned by one to three quarters in rotation, and by how many, (N,)."""
    y = x.clone()
    quarters = torch.arange(len(x), device=x.device) % 3 + 1
    for k in (1, 2, 3):
        y[k - 1 :: 3] = turned(x[k - 1 :: 3], k)
    return y, quarters


def each(x: Tensor, low: float, high: float) -> Tensor:
    """A number of its own for each image, (N, 1, 1, 1)."""
    return torch.rand(len(x), 1, 1, 1, device=x.device) * (high - low) + low


def moved(x: Tensor, scale: tuple[float, float], shift: float, degrees: float, aspect: float) -> Tensor:
    """Images scaled by a factor between the two, shifted by up to that share of half their side, turned, and stretched by
    up to exp(aspect); what comes in from outside is black."""
    angle, size = each(x, -degrees, degrees) * math.pi / 180.0, each(x, *scale)
    stretch, right, down = each(x, -aspect, aspect).exp(), each(x, -shift, shift), each(x, -shift, shift)
    rows = (angle.cos() / size * stretch, -angle.sin() / size, right, angle.sin() / size, angle.cos() / size / stretch, down)
    grid = F.affine_grid(torch.cat(rows, 1).view(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x + 1.0, grid, align_corners=False) - 1.0


def hidden(x: Tensor) -> Tensor:
    """Images with a box of one grey in each, at most 0.44 of the side high and wide (random erasing, AAAI 2020)."""
    inside = []
    for axis in (2, 3):
        side = x.shape[axis]
        shape = [side if i == axis else 1 for i in range(4)]
        places = torch.arange(side, device=x.device, dtype=x.dtype).view(shape)
        inside.append((places - each(x, 0.0, side)).abs() < each(x, 0.0, 0.22 * side))
    return torch.where(inside[0] & inside[1], each(x, -1.0, 1.0), x)
