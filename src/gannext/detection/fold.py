"""Networks for inference: what only training needs is folded into the convolutions, exactly."""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from gannext.networks import Block

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def folded(network: nn.Module) -> nn.Module:
    """A copy, in evaluation mode, with every batch norm folded into the convolution before it, and every layer scale into
    its block's last convolution. It computes the same function; only rounding differs.

    In all networks here a batch norm that stands right after a convolution among a module's children follows it in the
    forward pass too.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        children = list(module.named_children())
        for (name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, CONVOLUTIONS) and isinstance(norm, nn.BatchNorm2d):
                transposed = isinstance(conv, nn.ConvTranspose2d)
                setattr(module, name, fuse_conv_bn_eval(conv, norm, transpose=transposed))
                setattr(module, norm_name, nn.Identity())
        if isinstance(module, Block):
            fold_scale(module)
    return network.to(memory_format=torch.channels_last)


def fold_scale(block: Block) -> None:
    """Multiplies a block's layer scale into its last convolution, and leaves a scale of one."""
    assert block.project.bias is not None and block.scale is not None
    block.project.weight.mul_(block.scale[..., None])
    block.project.bias.mul_(block.scale.flatten())
    block.scale = None
