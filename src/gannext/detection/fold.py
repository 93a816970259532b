"""Networks for inference: what only training needs is folded into the convolutions, exactly, and what engines compute slowly
is said in another way."""

import copy
from itertools import pairwise
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gannext.networks import Block, Discriminator, Downsample, GanNeXt, Upsample

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
Convolution: TypeAlias = nn.Conv2d | nn.ConvTranspose2d


def folded(network: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, with every batch norm folded into the convolution before it, every layer scale into its
    block's last convolution, and every pointwise convolution into the one before it where nothing comes between. What
    then remains of transposed convolutions, the smallest maps and the discriminator's features are matrix products under
    another name, and done as such. It computes the same function; only rounding differs.

    In all networks here a batch norm that stands right after a convolution among a module's children follows it in the
    forward pass too.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        for (name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, CONVOLUTIONS) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(module, name, fuse_conv_bn_eval(conv, norm, transpose=transposed))
                setattr(module, norm_name, nn.Identity())
        if isinstance(module, Block):
            fold_scale(module)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Downsample):
                setattr(module, name, FoldedDownsample(child))
            elif isinstance(child, Upsample):
                setattr(module, name, FoldedUpsample(child))
            elif isinstance(module, Discriminator) and child is module.to_features:
                setattr(module, name, WholeMap(module.to_features))
        if isinstance(module, GanNeXt):
            enlarge, mix = module.stem_out
            assert isinstance(enlarge, nn.ConvTranspose2d) and isinstance(mix, nn.Conv2d)
            module.stem_out = nn.Sequential(Enlarge(*composed(enlarge, mix.weight, mix.bias)))
            module.bottom = nn.Sequential(*map(TallBlock, module.bottom))
    return network.to(memory_format=torch.channels_last)


def fold_scale(block: Block) -> None:
    """Multiplies a block's layer scale into its last convolution, and leaves a scale of one."""
    assert block.project.bias is not None and block.scale is not None
    block.project.weight.mul_(block.scale[..., None])
    block.project.bias.mul_(block.scale.flatten())
    block.scale = None


class FoldedDownsample(nn.Module):
    """A Downsample whose merging layer is parted, so that nothing is joined."""

    def __init__(self, down: Downsample) -> None:
        super().__init__()
        weight, bias, for_pool = parted(down.conv, down.merge)
        self.conv = in_place_of(down.conv, weight, bias)
        self.pool, self.project, self.norm = down.pool, pointwise(for_pool), down.norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x) + self.project(self.pool(x)))


class FoldedUpsample(nn.Module):
    """An Upsample, likewise: the skip connection is added, not joined."""

    def __init__(self, up: Upsample) -> None:
        super().__init__()
        weight, bias, for_skip = parted(up.up, up.merge)
        self.up, self.project = Enlarge(weight, bias), pointwise(for_skip)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.up(x) + self.project(skip)


class Enlarge(nn.Module):
    """A transposed convolution whose stride is its kernel's side k, as a pointwise one of k² times the channels, each of which
    then goes to its pixel (Shi et al., CVPR 2016): engines take two to five times as long for the former.

    Args:
        weight, bias: of the transposed convolution, (I, P, k, k) and (P,).
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.side = weight.shape[-1]
        self.to_pixels = pointwise(weight.flatten(1).T[..., None, None], bias.repeat_interleave(self.side**2))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.to_pixels(x), self.side)


class TallBlock(nn.Module):
    """A Block whose pointwise layers see all images as one, one above the other: a map of 2x2 pixels is too small for
    an engine's blocks, which never reach across images."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, Block) and block.scale is None
        self.depthwise, self.norm, self.expand, self.project = block.depthwise, block.norm, block.expand, block.project

    def forward(self, x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1).reshape(1, count * height, width, channels)
        y = self.project(F.gelu(self.expand(y.permute(0, 3, 1, 2)))).permute(0, 2, 3, 1)
        return x + y.reshape(count, height, width, channels).permute(0, 3, 1, 2)


class WholeMap(nn.Module):
    """A convolution that takes a whole map and leaves one pixel, as a matrix product: (N, I, h, w) -> (N, O, 1, 1)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.flatten(1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.flatten(1), self.weight)[..., None, None]


def parted(conv: Convolution, merge: nn.Conv2d) -> tuple[Tensor, Tensor, Tensor]:
    """A pointwise layer of what `conv` makes, joined to another map, as two layers whose outputs are added: the weight and bias
    of one convolution for `conv` and its share, and the other map's weight."""
    for_conv, for_other = merge.weight.tensor_split((conv.out_channels,), 1)
    return *composed(conv, for_conv, merge.bias), for_other


def composed(conv: Convolution, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The weight and bias of one convolution in the place of `conv` and a pointwise one after it, of that weight (P, O, 1, 1)
    and bias (P,)."""
    assert conv.bias is not None and bias is not None
    products = "po,iokl->ipkl" if isinstance(conv, nn.ConvTranspose2d) else "po,oikl->pikl"
    mix = weight.flatten(1)  # (P, O)
    return torch.einsum(products, mix, conv.weight), mix @ conv.bias + bias


def in_place_of(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution like another, of that weight and bias (P,)."""
    other = copy.deepcopy(conv)
    other.weight, other.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    other.out_channels = len(bias)
    return other


def pointwise(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A pointwise convolution of that weight (O, I, 1, 1) and bias (O,)."""
    conv = nn.utils.skip_init(nn.Conv2d, weight.shape[1], weight.shape[0], 1, bias=bias is not None, device=weight.device)
    conv.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias, requires_grad=False)
    return conv
