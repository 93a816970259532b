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
LEAST_AGREEMENT = 0.03
ONE_KIND = 0.5
EXAMPLES = 8
TURNS = 24
OUTLINE = 32  # pixels of the longer side, where things are laid over one another


def kind_of(images: Images) -> str:
    """ "parts" where normal images show one kind of thing, "objects" where several kinds, "textures" where a surface.

    Of a surface, as of fabric, tissue or the moon, images are cuttings, and no place in them has anything of its own
    (`agreement`). Things lie in the middle. One kind of thing may lie there in many positions; but lay one over another, turned
    and moved as fits best, and they are alike (`likeness`). Several kinds differ in their layout; where images have something
    in common and differ in detail alone, it is a surface again (`layout_share`), with a border, say.
    """
    x = thumbnails(images)
    if agreement(x) < LEAST_AGREEMENT:
        return "textures"
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
    """Of all that tells thumbnails, without their brightness and its slope, from their mean, the share that is left in 4x4
    pixels, from 0 to 1.

    Measured: photographs of brick, gravel and grass 0.17, 0.11 and 0.09; parts that lie straight 0.05 to 0.17, and at any
    angle 0.13 to 0.27; digits 0.43 to 0.46 and clothes 0.37 to 0.40, whichever class is left out; cuttings of eight ordinary
    photographs 0.24 to 0.44.
    """
    x = levelled(x, 1)
    differing = x - x.mean(0)
    layout = F.adaptive_avg_pool2d(differing, LAYOUT)
    return float(layout.square().mean() / differing.square().mean().clamp_min(1e-12))


def agreement(x: Tensor) -> float:
    """How much two thumbnails, without uneven light, have in common place by place: the mean product of two, by the mean square
    of one; 0 where no place has anything of its own, and 1 where all are the same.

    Measured: surfaces and cuttings of photographs 0.00; parts that lie straight 0.52 to 0.69, and at any angle 0.05 to 0.63;
    digits 0.19 to 0.22 and clothes 0.08 to 0.09, whichever class is left out.
    """
    if len(x) < 2:  # which is too few to train on, as will be said
        return 0.0
    x = levelled(x, 2)
    own = x.square().mean()
    others = (x.sum(0).square().mean() - len(x) * own) / (len(x) * (len(x) - 1))
    return float(others / own.clamp_min(1e-12))


def levelled(x: Tensor, degree: int) -> Tensor:
    """Images (N, C, H, W) without the polynomial in row and column that fits each best: the first degree is the slope of light
    from one side, the second its fall towards the corners, which lenses make. Neither is anything that the images show."""
    rows, columns = (torch.linspace(-1, 1, side) for side in x.shape[-2:])
    terms = [rows[:, None] ** i * columns**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    basis = torch.linalg.qr(torch.stack(terms).flatten(1).T)[0]  # (H * W, terms)
    pixels = x.flatten(2)
    return (pixels - pixels @ basis @ basis.T).view_as(x)


def likeness(x: Tensor) -> float:
    """The share of a thumbnail, without uneven light, that an example among them explains, turned and moved as fits best, from
    0 to 1: the squared correlation, on average over eight examples and all other thumbnails.

    Measured: parts 0.67 to 0.89; digits 0.34 to 0.35 and clothes 0.17 to 0.24, whichever class is left out; photographs of
    brick, gravel and grass 0.31, 0.09 and 0.07, but a weave 0.67.

    What leaves one side comes in from the other, so that all shifts are one product of Fourier transforms.
    """
    if len(x) < 2:  # which is too few to train on, as will be said
        return 0.0
    x = unit(shrunk(levelled(x, 2), OUTLINE))
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
