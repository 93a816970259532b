"""Where an image is corrupted: regions of random shape, place and size."""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

UNIT = 64  # lengths below are in pixels of an image of this side, and grow with the image, but for the least

Shape: TypeAlias = Callable[[int, tuple[int, int], Generator], Tensor]
"""From a number n, an image's size and random numbers to how much of each pixel n regions cover, (n, 1, H, W) in [0, 1]."""


def spot(n: int, size: tuple[int, int], random: Generator) -> Tensor:
    """A round or longish spot, its edge sharp or soft."""
    return within(spot_distance(n, size, random), log_uniform(n, 0.4, 3.0, random))


def line(n: int, size: tuple[int, int], random: Generator) -> Tensor:
    """A long, thin, bent line."""
    half_length = min(size) / UNIT * log_uniform(n, 10.0, 32.0, random)
    bend = uniform(n, -0.5, 0.5, random) / half_length.clamp(min=1.0)
    distance = capsule_distance(n, size, random, thin_radius(n, size, random), half_length, bend)
    return within(distance, uniform(n, 0.4, 0.8, random))


def outline(n: int, size: tuple[int, int], random: Generator) -> Tensor:
    """The edge of a spot, and nothing of its inside: a ring, or, cut off or wavy, a bent crack."""
    distance = spot_distance(n, size, random).abs() - thin_radius(n, size, random)
    return within(distance, uniform(n, 0.4, 0.8, random))


def within(distance: Tensor, softness: Tensor) -> Tensor:
    """1 within a region, 0 outside it, and between them over so many pixels on either side, given the distance to its edge."""
    return (0.5 - distance / (2.0 * softness)).clamp(0.0, 1.0)


def thin_radius(n: int, size: tuple[int, int], random: Generator) -> Tensor:
    """Half the width of a thin region, in pixels (n, 1, 1, 1)."""
    return extent(n, 0.6, 1.4, size, random)


def extent(n: int, low: float, high: float, size: tuple[int, int], random: Generator) -> Tensor:
    """A length in pixels (n, 1, 1, 1), of which the least does not grow with the image: in a large one, defects of a few pixels
    are looked for too."""
    scale = min(size) / UNIT
    return log_uniform(n, low * min(1.0, scale), high * scale, random)


def spot_distance(n: int, size: tuple[int, int], random: Generator) -> Tensor:
    """Each pixel's distance to a spot's edge, (n, 1, H, W), negative inside."""
    radius, half_length = extent(n, 2.5, 16.0, size, random), min(size) / UNIT * uniform(n, 0.0, 8.0, random)
    return capsule_distance(n, size, random, radius, half_length, torch.zeros_like(radius))


def capsule_distance(
    n: int, size: tuple[int, int], random: Generator, radius: Tensor, half_length: Tensor, bend: Tensor
) -> Tensor:
    """Each pixel's distance to the edge of a capsule, (n, 1, H, W), negative inside.

    A capsule is all that lies within a radius of a segment, at some place and angle; with a bend, of a parabola. Its edge is
    wavy. Radius, half the length and the inverse of the bend are in pixels, (n, 1, 1, 1).
    """
    height, width = size
    angle = uniform(n, 0.0, math.pi, random)
    rows = torch.arange(height, device=random.device)[:, None] + 0.5 - height * uniform(n, 0.05, 0.95, random)
    columns = torch.arange(width, device=random.device) + 0.5 - width * uniform(n, 0.05, 0.95, random)
    along = columns * angle.cos() + rows * angle.sin()
    across = rows * angle.cos() - columns * angle.sin() - bend * along.square()
    distance = torch.hypot((along.abs() - half_length).clamp(min=0.0), across) - radius
    bumps = whole_number(2, 12, random)
    return distance + smooth_noise(n, size, (bumps, bumps), random) * radius * uniform(n, 0.0, 0.35, random)


SHAPES: dict[str, Shape] = {"spot": spot, "line": line, "outline": outline}


def uniform(n: int, low: float, high: float, random: Generator) -> Tensor:
    """Uniform numbers (n, 1, 1, 1)."""
    return torch.rand(n, 1, 1, 1, device=random.device, generator=random) * (high - low) + low


def log_uniform(n: int, low: float, high: float, random: Generator) -> Tensor:
    """Numbers (n, 1, 1, 1) whose logarithms are uniform."""
    return uniform(n, math.log(low), math.log(high), random).exp()


def chance(n: int, probability: float, random: Generator) -> Tensor:
    """True (n, 1, 1, 1) with that probability."""
    return torch.rand(n, 1, 1, 1, device=random.device, generator=random) < probability


def whole_number(low: int, high: int, random: Generator) -> int:
    """A number from `low` to `high` - 1, each as likely."""
    return int(torch.randint(low, high, (), device=random.device, generator=random))


def smooth_noise(n: int, size: tuple[int, int], bumps: tuple[int, int], random: Generator) -> Tensor:
    """Noise (n, 1, H, W) of unit variance with about so many bumps down and across."""
    margin = 16  # interpolation leaves the grid's own lines in place: cut at a random offset
    coarse = torch.randn(n, 1, bumps[0] + 3, bumps[1] + 3, device=random.device, generator=random)
    down, across = (bicubic(b + 3, s + margin, random.device) for b, s in zip(bumps, size, strict=True))
    top, left = (whole_number(0, margin + 1, random) for _ in range(2))
    fine = down[top : top + size[0]] @ coarse @ across[left : left + size[1]].T
    fine = fine - fine.mean((2, 3), keepdim=True)
    return fine / fine.square().mean((2, 3), keepdim=True).sqrt().clamp(min=1e-3)


def bicubic(few: int, many: int, device: torch.device) -> Tensor:
    """The matrix (many, few) that interpolates so many numbers between a few: images by two products with such are made in a
    quarter of the time that `F.interpolate` takes for them."""
    return F.interpolate(torch.eye(few, device=device)[None, None], (many, few), mode="bicubic", align_corners=True)[0, 0]
