"""What a network costs: parameters, and multiply-accumulates for one image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates (MACs) of one forward pass of one image."""

    parameters: int
    macs: int


def measure_cost(build: Callable[[], nn.Module], channels: int, size: tuple[int, int]) -> Cost:
    """Counts a network without allocating it: it is built and run on torch's meta device.

    Args:
        build: makes the network.
        channels: image channels.
        size: image height and width.

    MACs are the total of `torch.utils.flop_counter` divided by two.
    """
    with torch.device("meta"):
        network = build().eval()
        image = torch.empty(1, channels, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    parameters = sum(p.numel() for p in network.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)
