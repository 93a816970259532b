"""The GanNeXt generator: a U-shaped network of ConvNeXt blocks (ICANN 2023, LNCS 14256).

        x (N, C, H, W)                                            reconstruction (N, C, H, W)
              |                                                              ^
           stem in                                                       stem out
              |                                                              |
        2 x Block(d) ---------------- Block(d) -- skip -------------> join, 2 x Block(d)
              |                                                              |
         Downsample                                                      Upsample
              |                                                              |
        2 x Block(2d) --------------- Block(2d) - skip -------------> join, 2 x Block(2d)
              |                                                              |
         Downsample                                                      Upsample
              |                                                              |
        6 x Block(4d) --------------- Block(4d) - skip -------------> join, 6 x Block(4d)
              |                                                              |
         Downsample --------------- 4 x Block(8d) ----------------------- Upsample

With the defaults (d = 40) it has 7,216,763 parameters and 104,215,040 multiply-accumulates
for an image of 3x32x32.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.networks.padding import pad_to_multiple

NORMS = ("bn", "ln")


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a (N, C, H, W) map, at each pixel by itself."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def make_norm(kind: str, channels: int) -> nn.Module:
    """The normalisation called `kind` ("bn" or "ln") for a map of so many channels."""
    if kind == "bn":
        return nn.BatchNorm2d(channels)
    if kind == "ln":
        return LayerNorm2d(channels)
    raise ValueError(f"norm {kind!r} is unknown: choose one of {', '.join(NORMS)}")


class Depthwise(nn.Conv2d):
    """A depthwise convolution that keeps the side."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)


class Block(nn.Module):
    """A ConvNeXt block: x + scale * pointwise(GELU(pointwise(norm(depthwise(x))))).

    The published code has a 5x5 depthwise kernel and that gives the published FLOPs; the paper's
    figure shows 7x7. The pointwise layers are 1x1 convolutions, so that the map keeps its layout.
    """

    def __init__(self, channels: int, kernel: int = 5, norm: str = "bn", scale: float = 1e-6) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, kernel)
        self.norm = make_norm(norm, channels)
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.project = nn.Conv2d(4 * channels, channels, 1)
        self.scale: nn.Parameter | None = nn.Parameter(torch.full((channels, 1, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depthwise(x))
        y = self.project(F.gelu(self.expand(y)))
        return x + (y if self.scale is None else self.scale * y)


class Downsample(nn.Module):
    """Halves the side and doubles the channels: a strided convolution beside a max-pool, merged."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 2, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.merge = nn.Conv2d(3 * channels, 2 * channels, 1)
        self.norm = make_norm(norm, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.merge(torch.cat((self.conv(x), self.pool(x)), dim=1)))


class Upsample(nn.Module):
    """Doubles the side, halves the channels and joins the skip connection: (2c, h, w) -> (c, 2h, 2w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.merge = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.merge(torch.cat((self.up(x), skip), dim=1))


class GanNeXt(nn.Module):
    """Reconstructs images: (N, C, H, W) in [-1, 1] -> the same shape, without an output activation.

    Args:
        channels: image channels C, 1 or 3.
        dim: width d of the first level; level i has width d * 2**i.
        depths: blocks per encoder level, and per decoder level alike; its length is the number of levels.
        bottom: blocks at the bottom.
        kernel: side of the depthwise kernel, odd.
        norm: "bn" (batch norm) or "ln" (channels-first layer norm), everywhere.
        patch: side of the stem's patches.
        outputs: channels of the output; by default as many as of the input.
        scale: what each block's layer scale starts at.
        std: standard deviation of the first weights; None: of each layer's, one over the root of its inputs.
        thumbnail: side of a thumbnail that is all that it sees of an image, so that it cannot copy; 0: the image.

    A side that is no multiple of `stride` = patch * 2**levels (16 by default) is padded by repeating
    the border and the reconstruction is cropped back.
    """

    def __init__(
        self,
        channels: int = 3,
        dim: int = 40,
        depths: Sequence[int] = (2, 2, 6),
        bottom: int = 4,
        kernel: int = 5,
        norm: str = "bn",
        patch: int = 2,
        outputs: int | None = None,
        scale: float = 1e-6,
        std: float | None = 0.02,
        thumbnail: int = 0,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel {kernel} is even: choose an odd side such as {kernel + 1}")
        widths = [dim * 2**level for level in range(len(depths))]
        self.stride = patch * 2 ** len(depths)
        self.thumbnail = thumbnail

        def blocks(width: int, depth: int) -> nn.Sequential:
            return nn.Sequential(*(Block(width, kernel, norm, scale) for _ in range(depth)))

        self.stem_in = nn.Sequential(nn.Conv2d(channels, dim, patch, stride=patch), make_norm(norm, dim))
        self.encoder = nn.ModuleList(blocks(w, n) for w, n in zip(widths, depths, strict=True))
        self.skips = nn.ModuleList(Block(w, kernel, norm, scale) for w in widths)
        self.downs = nn.ModuleList(Downsample(w, norm) for w in widths)
        self.bottom = blocks(2 * widths[-1], bottom)
        self.ups = nn.ModuleList(Upsample(w) for w in widths)
        self.decoder = nn.ModuleList(blocks(w, n) for w, n in zip(widths, depths, strict=True))
        self.stem_out = nn.Sequential(
            nn.ConvTranspose2d(dim, 2 * dim, patch, stride=patch), nn.Conv2d(2 * dim, outputs or channels, 1)
        )
        self.apply(partial(initialise, std=std))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.thumbnail:
            x = F.interpolate(F.adaptive_avg_pool2d(x, self.thumbnail), (height, width), mode="nearest")
        y = self.stem_in(pad_to_multiple(x, self.stride))  # (N, d, H/k, W/k)
        skips = []
        for blocks, skip, down in zip(self.encoder, self.skips, self.downs, strict=True):
            y = blocks(y)
            skips.append(skip(y))
            y = down(y)
        y = self.bottom(y)  # (N, 8d, H/8k, W/8k)
        for blocks, up in zip(reversed(self.decoder), reversed(self.ups), strict=True):
            y = blocks(up(y, skips.pop()))
        return self.stem_out(y)[..., :height, :width]


def initialise(module: nn.Module, std: float | None = 0.02) -> None:
    """DCGAN's start: convolutions and linear layers N(0, std), batch-norm weights N(1, 0.02), biases 0.

    Without `std`, a layer's is one over the root of how many inputs each of its outputs adds up, so that the variance
    is kept from layer to layer: a network of few steps has none to lose on finding its scale.
    """
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
        nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5 if std is None else std)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
