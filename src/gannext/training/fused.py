"""The networks' parts as they are trained on a CPU: the same functions of the same weights, computed faster.

What is linear is multiplied into weights, which are small, rather than applied to maps, which are large: layer scales, and
pointwise convolutions next to others. Pointwise layers multiply matrices of pixels and channels, as do convolutions of a map
by a kernel of its own size: as convolutions, maps and weights are put in another order first. Where the library for such
products is slow, pointwise layers are convolutions after all.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gannext.detection import composed, parted
from gannext.networks import Block, Depthwise, Describer, Discriminator, Downsample, GanNeXt, Judge, Upsample
from gannext.training.threads import at_once, side_by_side


def fuse(network: nn.Module) -> nn.Module:
    """The network itself, with its parts as below wherever it has some; weights and their names are as they were.

    In evaluation mode, and on other devices than the CPU, each is still computed as it is written in `gannext.networks`.
    """
    for module in network.modules():
        if isinstance(module, GanNeXt):
            module.stem_out.__class__ = FusedStemOut
        elif isinstance(module, (Discriminator, Describer)):
            module.to_features.__class__ = WholeMap
        elif type(module) in FUSED:
            module.__class__ = FUSED[type(module)]
    return network


def fusing(module: nn.Module, x: Tensor) -> bool:
    """Whether a part is to be computed as it is here."""
    return module.training and x.device.type == "cpu"


def without_autocast() -> torch.autocast:
    """Within it operations compute in their arguments' types: products of weights are rounded once, as weights are."""
    return torch.autocast("cpu", enabled=False)


class Convolution(torch.autograd.Function):
    """A convolution that keeps the side. Its backward pass is in the weights' precision: a depthwise one's was measured to take
    2.5 times as long in bfloat16. Its bias's gradient is a sum: asked for it too, torch takes up to a third longer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.groups = x.shape[1] // weight.shape[1]
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        with without_autocast():
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=ctx.groups)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, weight = ctx.saved_tensors
        grad = gradients[0].to(weight.dtype)
        pad = weight.shape[-1] // 2
        geometry = [1, 1], [pad, pad], [1, 1], False, [0, 0], ctx.groups  # stride, padding, dilation, transposed, its padding
        wanted = [True, True, False]
        grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(grad, x.to(weight.dtype), weight, None, *geometry, wanted)
        return grad_x.to(x.dtype), grad_weight, grad.sum((0, 2, 3))


FEWEST = 16  # images of a pointwise convolution for which torch takes oneDNN in one thread too


@cache
def slow_products() -> bool:
    """Whether products of matrices in 32 bits are slow here: torch has MKL make them, which leaves AVX-512 alone on processors
    that are not Intel's. Convolutions, by oneDNN, were measured to be twice as fast there."""
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return False
    processor = torch.cpu.get_capabilities()
    return bool(processor.get("avx512_f")) and "Intel" not in processor["cpu_name"]


def pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A pointwise layer of maps (N, H, W, I), by a weight (O, I, 1, 1) and a bias (O,): (N, H, W, O)."""
    if torch.is_autocast_enabled("cpu") or not slow_products():
        return F.linear(x, weight.flatten(1), bias)
    shape = (*x.shape[:3], len(bias))
    if len(x) % FEWEST == 0:  # as tall images: oneDNN's blocks of pixels do not reach across images
        x = x.reshape(FEWEST, -1, *x.shape[2:])
    y: Tensor = Convolution.apply(x.permute(0, 3, 1, 2), weight, bias)
    return y.permute(0, 2, 3, 1).reshape(shape)


class FusedDepthwise(Depthwise):
    """A Depthwise, likewise."""

    def forward(self, x: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().forward(x)
        y: Tensor = Convolution.apply(x, self.weight, self.bias)
        return y


class FusedBlock(Block):
    """A Block whose layer scale is multiplied into its last layer."""

    def forward(self, x: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().forward(x)
        assert self.scale is not None and self.expand.bias is not None and self.project.bias is not None
        y = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)  # (N, H, W, C), as the map lies in memory
        y = F.gelu(pointwise(y, self.expand.weight, self.expand.bias))
        y = pointwise(y, self.project.weight * self.scale[..., None], self.project.bias * self.scale.flatten())
        return x + y.permute(0, 3, 1, 2)


class FusedDownsample(Downsample):
    """A Downsample whose merging layer is multiplied into the convolution before it, so that nothing is joined."""

    def forward(self, x: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().forward(x)
        with without_autocast():
            weight, bias, for_pool = parted(self.conv, self.merge)
        return self.norm(F.conv2d(x, weight, bias, 2) + F.conv2d(self.pool(x), for_pool))


class FusedUpsample(Upsample):
    """An Upsample, likewise: the skip connection is added, not joined."""

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().forward(x, skip)
        with without_autocast():
            weight, bias, for_skip = parted(self.up, self.merge)
        return F.conv_transpose2d(x, weight, bias, 2) + F.conv2d(skip, for_skip)


class FusedStemOut(nn.Sequential):
    """The last two layers of a GanNeXt as one."""

    def forward(self, x: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().forward(x)
        enlarge, mix = self
        assert isinstance(enlarge, nn.ConvTranspose2d) and isinstance(mix, nn.Conv2d)
        with without_autocast():
            weight, bias = composed(enlarge, mix.weight, mix.bias)
        return F.conv_transpose2d(x, weight, bias, enlarge.stride)


def with_images_for_channels(filters: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Filters of single channels, of images (N, C, H, W) that are given to them as one image of N C channels: as many fill a
    processor's registers, and take 0.6 of the time."""
    images = x.transpose(0, 1).flatten(0, 1)[None].contiguous(memory_format=torch.channels_last)  # (1, C N, H, W)
    maps = filters(images).permute(0, 2, 3, 1)  # (1, h, w, E N), as it lies in memory
    return maps.reshape(-1, len(x)).t().contiguous().view(len(x), *maps.shape[1:3], -1).permute(0, 3, 1, 2)


class FusedJudge(Judge):
    """A Judge whose experts learn side by side, and whose filters' images are divided among as many threads."""

    def filtered(self, x: Tensor) -> Tensor:
        if not fusing(self, x):
            return super().filtered(x)
        return torch.cat(at_once(partial(with_images_for_channels, super().filtered), x.chunk(len(self.experts))))

    def apart(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return side_by_side(self.experts, maps) if fusing(self, maps[0]) else super().apart(maps)


class WholeMap(nn.Conv2d):
    """A convolution, without padding or bias, of maps no larger than its kernel."""

    def forward(self, x: Tensor) -> Tensor:
        if not fusing(self, x) or x.shape[2:] != self.weight.shape[2:]:
            return super().forward(x)
        return F.linear(x.permute(0, 2, 3, 1).flatten(1), self.weight.permute(0, 2, 3, 1).flatten(1))[..., None, None]


FUSED: dict[type[nn.Module], type[nn.Module]] = {
    Depthwise: FusedDepthwise,
    Block: FusedBlock,
    Downsample: FusedDownsample,
    Upsample: FusedUpsample,
    Judge: FusedJudge,
}
