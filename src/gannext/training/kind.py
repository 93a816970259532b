"""What a set of normal images shows, objects or textures, told by the images alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gannext.data import Images
from gannext.runtime import evenly

LOOKED_AT = 256
THUMBNAIL = 64  # pixels of the longer side, where images are larger
LAYOUT = 4
LEAST_SHARE = 0.25
ONE_KIND = 0.7
EXAMPLES = 8
TURNS = 24
OUTLINE = 32  # pixels of the longer side, where things are laid over one another


def kind_of(images: Images) -> str:
    """ "parts" where normal images show one kind of thing, "objects" where several kinds, "textures" where a surface.

    One kind of thing may lie in many positions; but lay one over another, turned and moved as fits best, and they are
    alike (`likeness`). A surface's images differ in their detail and not in their layout (`layout_share`).
    """
    x = thumbnails(images)
    if likeness(x) >= ONE_KIND:
        return "parts"
    return "objects" if layout_share(x) > LEAST_SHARE else "textures"


def thumbnails(images: Images) -> Tensor:
    """Up to 256 images spread evenly over all, small, as greys 0..255, (N, 1, H, W)."""
    return shrunk(images.__getitems__(evenly(len(images), LOOKED_AT)).float().mean(1, keepdim=True), THUMBNAIL)


def shrunk(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) whose longer side is at most `side`."""
    scale = side / max(x.shape[-2:])
    return x if scale >= 1 else F.interpolate(x, [max(1, round(s * scale)) for s in x.shape[-2:]], mode="area")


def layout_share(x: Tensor) -> float:
    """Of all that tells thumbnails, each levelled, from their mean, the share that is left in 4x4 pixels, from 0 to 1.

    Measured: photographs of brick, gravel and grass 0.17, 0.11 and 0.09; parts that lie straight 0.05 to 0.17, and at any
    angle 0.13 to 0.27; digits 0.43 to 0.46 and clothes 0.37 to 0.40, whichever class is left out; cuttings of six ordinary
    photographs 0.28 to 0.46.
    """
    x = levelled(x)
    differing = x - x.mean(0)
    layout = F.adaptive_avg_pool2d(differing, LAYOUT)
    return float(layout.square().mean() / differing.square().mean().clamp_min(1e-12))


def levelled(x: Tensor) -> Tensor:
    """Images (N, C, H, W) without their brightness and its slope, the plane that fits each best: light from one side is
    no layout, and on a smooth surface it is nearly all that tells one image from another."""
    height, width = x.shape[-2:]
    x = x - x.mean((2, 3), keepdim=True)
    for along in (torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)):
        x = x - (x * along).mean((2, 3), keepdim=True) / along.square().mean() * along
    return x


def likeness(x: Tensor) -> float:
    """The share of a thumbnail that an example among them explains, turned and moved as fits best, from 0 to 1: the squared
    correlation, on average over eight examples and all other thumbnails.

    Measured: parts 0.88 to 0.96; digits 0.55 to 0.63 and clothes 0.37 to 0.46, whichever class is left out; photographs of
    brick, gravel and grass 0.32, 0.10 and 0.07.

    What leaves one side comes in from the other, so that all shifts are one product of Fourier transforms.
    """
    if len(x) < 2:  # which is too few to train on, as will be said
        return 0.0
    x = unit(shrunk(x, OUTLINE))
    chosen = torch.tensor(evenly(len(x), EXAMPLES))
    examples = x[chosen]
    spectrum = torch.fft.rfft2(x)  # (N, 1, H, W / 2 + 1)
    best = torch.zeros(len(x), len(chosen))
    for turn in range(TURNS):
        turned = torch.fft.rfft2(unit(rotated(examples, 2 * math.pi * turn / TURNS)).squeeze(1)).conj()
        correlation = torch.fft.irfft2(spectrum * turned, s=x.shape[-2:])  # (N, 8, H, W)
        best = best.maximum(correlation.amax((2, 3)))
    others = torch.arange(len(x))[:, None] != chosen
    return float(best[others].square().mean())


def unit(x: Tensor) -> Tensor:
    """Images (N, 1, H, W) of mean 0 and length 1; those of a single grey are 0."""
    x = x - x.mean((2, 3), keepdim=True)
    return x / x.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-6)


def rotated(x: Tensor, angle: float) -> Tensor:
    """Images (N, C, H, W) turned about their middle, their border going on beyond them."""
    height, width = x.shape[-2:]
    cos, sin = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = F.affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
