"""Fixed filters in front of a judge: how strong an image's detail is, at several scales, around each pixel."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BANDS = (0.6, 1.0, 1.6, 2.6)
"""Finer standard deviations of the differences of Gaussians, in pixels; the coarser ones are 1.6 times as wide."""
POOLS = (0.6, 2.0)
"""Standard deviations, in pixels, of the Gaussians that average the energies."""
GRADIENT = 0.7
"""Standard deviation, in pixels, of the Gaussian before the differences of neighbours."""
SIGMAS = tuple(sorted({GRADIENT, *POOLS, *BANDS, *(1.6 * sigma for sigma in BANDS)}))
CELLS = 8
"""Into so many cells `layout` divides an image's sides."""
MANY = 16  # channels, which a depthwise convolution takes at once
FLOOR = 1e-4  # of an energy, as the logarithm of nothing is minus infinity: a hundredth of [-1, 1]'s half, squared


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """(N, C, H, W) blurred by a Gaussian of that standard deviation in pixels; the border is mirrored."""
    return gaussian_blurs(x, (sigma,))[0]


def gaussian_blurs(x: Tensor, sigmas: Sequence[float], stride: int = 1) -> tuple[Tensor, ...]:
    """(N, C, H, W) blurred by Gaussians of these standard deviations in pixels, each (N, C, H, W); the border is mirrored.

    With a stride, what `[..., ::stride, ::stride]` would leave of it: the rest is not computed. With few channels all Gaussians
    share two convolutions, which take a CPU less time than two for each, though the narrow ones are padded by zeros.
    """
    if x.shape[1] >= MANY and len(sigmas) > 1:
        return tuple(gaussian_blurs(x, (sigma,), stride)[0] for sigma in sigmas)
    reaches = [min(math.ceil(3 * sigma), min(x.shape[-2:]) - 1) for sigma in sigmas]
    reach, channels = max(reaches), x.shape[1]
    offsets = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernels = torch.stack(
        [torch.exp(-offsets.square() / (2 * s * s)) * (offsets.abs() <= r) for s, r in zip(sigmas, reaches, strict=True)]
    )
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat(channels, 1)  # (C K, 2 reach + 1)
    x = F.pad(x, (reach, reach, reach, reach), mode="reflect")
    x = F.conv2d(x, kernels[:, None, None], groups=channels, stride=(1, stride))
    x = F.conv2d(x, kernels[:, None, :, None], groups=len(kernels), stride=(stride, 1))
    blurred: tuple[Tensor, ...] = x.unflatten(1, (channels, len(sigmas))).unbind(2)
    return blurred


def energies(x: Tensor) -> Tensor:
    """Log energies of nine band-pass filters, and the local mean, at two widths; and the pixels themselves, at half the side.

    (N, C, H, W) -> (N, 24 C, H/2, W/2), H and W even. The logarithm makes "too smooth" as far from
    normal as "too busy", where a squared error calls whatever is smooth normal.
    """
    cells = [x[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    maps = [*log_energies(x, POOLS), *cells]
    return torch.cat([m.contiguous(memory_format=torch.channels_last) for m in maps], 1)


def log_energies(x: Tensor, pools: Sequence[float]) -> list[Tensor]:
    """For each width, in pixels, the log energies (N, 9 C, H/2, W/2) of the band-pass filters of images (N, C, H, W), and their
    local mean (N, C, H/2, W/2); where a side is odd, its half is rounded up."""
    x = x.contiguous(memory_format=torch.channels_last)  # measured twice to four times as fast on a CPU
    blurred = dict(zip(SIGMAS, gaussian_blurs(x, SIGMAS), strict=True))
    smooth = blurred[GRADIENT]
    dx = F.pad(smooth[..., 1:] - smooth[..., :-1], (0, 1)).contiguous(memory_format=torch.channels_last)
    dy = F.pad(smooth[..., 1:, :] - smooth[..., :-1, :], (0, 0, 0, 1))
    bands = [x - blurred[BANDS[0]]]
    bands += [blurred[sigma] - blurred[1.6 * sigma] for sigma in BANDS]
    bands += [dx, dy, (dx + dy) / math.sqrt(2), (dx - dy) / math.sqrt(2)]
    # Again: of one grey channel, torch does not see that it is channels last, and neither are its maps.
    squares = torch.cat(bands, 1).square().contiguous(memory_format=torch.channels_last)  # (N, 9 C, H, W)
    maps = []
    for pool in pools:
        maps += [torch.log(gaussian_blurs(squares, (pool,), stride=2)[0] + FLOOR), blurred[pool][..., ::2, ::2]]
    return maps


def layout(x: Tensor) -> Tensor:
    """What kind of detail is where in images: the log energies and the mean at the greater width, averaged over about 8x8
    cells. (N, C, H, W) -> (N, 10 C * cells)."""
    maps = torch.cat(log_energies(x, POOLS[-1:]), 1)
    height, width = (max(side // CELLS, 1) for side in maps.shape[-2:])
    return F.avg_pool2d(maps, (height, width)).flatten(1)


def energy_channels(channels: int) -> int:
    """How many maps `energies` makes of an image with so many channels."""
    return channels * ((len(BANDS) + 5) * len(POOLS) + len(POOLS) + 4)
