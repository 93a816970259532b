"""The generator of "A Transformer-Based GAN for Anomaly Detection" (ICANN 2022): a U-Net of Swin blocks.

    x -- embed -- unit(d) -- merge -- unit(2d) -- merge -- unit(4d) -- merge -- unit(8d) -- expand
                     |                   |                    |                               |
                  unit(d)             unit(2d)             identity                           |
                     |                   |                    |                               |
    x^ -- head -- expand, join, unit(d) -- expand, join, unit(2d) -- expand, join, unit(4d) --+

A unit is two Swin blocks, the second with shifted windows, then LayerNorm and GELU. Maps are
channels last, (N, H, W, C). With the default width 64 it has 12,536,116 parameters and 249,111,552
multiply-accumulates at 3x32x32.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.networks.gannext import initialise
from gannext.networks.padding import pad_to_multiple

HEADS = 4
WINDOW = 2
PATCH = 2
LEVELS = 3
MASKED = -100.0  # added to an attention logit to forbid it


class WindowAttention(nn.Module):
    """Multi-head attention within windows (M, w*w, C), with a learned bias by relative position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, HEADS))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        count, places, channels = x.shape
        q, k, v = self.qkv(x).view(count, places, 3, HEADS, channels // HEADS).permute(2, 0, 3, 1, 4)
        bias = self.bias[relative_position(x.device)].permute(2, 0, 1)  # (heads, w*w, w*w)
        if mask is not None:  # (windows of an image, w*w, w*w)
            bias = (bias + mask[:, None]).repeat(count // len(mask), 1, 1, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.project(y.transpose(1, 2).reshape(count, places, channels))


def relative_position(device: torch.device) -> Tensor:
    """(w*w, w*w): which entry of the bias table belongs to a pair of a window's pixels."""
    side = torch.arange(WINDOW, device=device)
    place = torch.cartesian_prod(side, side)  # (w*w, 2)
    offset = place[:, None] - place[None] + WINDOW - 1  # (w*w, w*w, 2), from 0 up
    return offset[..., 0] * (2 * WINDOW - 1) + offset[..., 1]


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), over windows that may be shifted by half their side."""

    def __init__(self, channels: int, *, shifted: bool) -> None:
        super().__init__()
        self.shift = WINDOW // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        shift = self.shift if min(height, width) > WINDOW else 0  # a map of one window has nothing to shift
        y = self.norm1(x)
        if shift:
            y = y.roll((-shift, -shift), (1, 2))
        mask = wrap_mask(height, width, shift, x) if shift else None
        y = from_windows(self.attention(to_windows(y), mask), height, width)
        if shift:
            y = y.roll((shift, shift), (1, 2))
        x = x + y
        return x + self.mlp(self.norm2(x))


def to_windows(x: Tensor) -> Tensor:
    """(N, H, W, C) -> (N * windows, w*w, C)."""
    n, height, width, channels = x.shape
    x = x.view(n, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels)
    return x.transpose(2, 3).reshape(-1, WINDOW * WINDOW, channels)


def from_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `to_windows`."""
    x = windows.view(-1, height // WINDOW, width // WINDOW, WINDOW, WINDOW, windows.shape[-1])
    return x.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def wrap_mask(height: int, width: int, shift: int, like: Tensor) -> Tensor:
    """(windows, w*w, w*w): forbids attention between pixels that only the shift's wrapping brought together."""
    rows = torch.arange(height, device=like.device) >= height - shift
    columns = torch.arange(width, device=like.device) >= width - shift
    region = (2 * rows[:, None].to(like.dtype) + columns[None].to(like.dtype))[None, ..., None]
    region = to_windows(region)[..., 0]  # (windows, w*w)
    return (region[:, None] != region[:, :, None]).to(like.dtype) * MASKED


class Unit(nn.Sequential):
    """Two Swin blocks, the second shifted, then LayerNorm and GELU."""

    def __init__(self, channels: int) -> None:
        blocks = SwinBlock(channels, shifted=False), SwinBlock(channels, shifted=True)
        super().__init__(*blocks, nn.LayerNorm(channels), nn.GELU())


class PatchMerging(nn.Module):
    """(N, H, W, c) -> (N, H/2, W/2, 2c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]
        return self.reduce(self.norm(torch.cat(corners, dim=-1)))


class PatchExpanding(nn.Module):
    """(N, H, W, c) -> (N, 2H, 2W, c/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        n, height, width, channels = x.shape
        y = self.expand(x).view(n, height, width, 2, 2, channels // 2)
        return self.norm(y.transpose(2, 3).reshape(n, 2 * height, 2 * width, channels // 2))


class SwinUNet(nn.Module):
    """Reconstructs images: (N, C, H, W) in [-1, 1] -> the same shape, without an output activation.

    Args:
        size: image height and width; sides that are no multiples of 32 are padded and cropped back.
        channels: image channels C, 1 or 3.
        dim: width d of the first level.
    """

    def __init__(self, size: tuple[int, int], channels: int = 3, dim: int = 64) -> None:
        super().__init__()
        if dim % HEADS:
            raise ValueError(f"dim {dim} does not divide among {HEADS} attention heads: choose a multiple of {HEADS}")
        widths = [dim * 2**level for level in range(LEVELS)]
        self.stride = PATCH * 2**LEVELS * WINDOW  # the deepest map consists of whole windows
        height, width = (-(-side // self.stride) * self.stride // PATCH for side in size)
        self.embed = nn.Conv2d(channels, dim, PATCH, stride=PATCH)
        self.embed_norm = nn.LayerNorm(dim)
        self.position = nn.Parameter(torch.empty(1, height, width, dim))
        self.encoder = nn.ModuleList(Unit(w) for w in widths)
        self.skips = nn.ModuleList(nn.Identity() if w == widths[-1] else Unit(w) for w in widths)
        self.merges = nn.ModuleList(PatchMerging(w) for w in widths)
        self.bottom = nn.Sequential(Unit(2 * widths[-1]), PatchExpanding(2 * widths[-1]))
        self.joins = nn.ModuleList(nn.Linear(2 * w, w) for w in widths)
        self.decoder = nn.ModuleList(nn.Sequential(Unit(w), PatchExpanding(w)) for w in widths)
        self.head = nn.Linear(dim // 2, channels)
        self.mix = nn.Conv2d(channels, channels, 1, bias=False)
        self.apply(initialise)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        y = self.embed(pad_to_multiple(x, self.stride)).permute(0, 2, 3, 1)
        y = self.embed_norm(y) + self.position
        skips = []
        for unit, skip, merge in zip(self.encoder, self.skips, self.merges, strict=True):
            y = unit(y)
            skips.append(skip(y))
            y = merge(y)
        y = self.bottom(y)
        for join, unit in zip(reversed(self.joins), reversed(self.decoder), strict=True):
            y = unit(join(torch.cat((y, skips.pop()), dim=-1)))
        return self.mix(self.head(y).permute(0, 3, 1, 2))[..., :height, :width]
