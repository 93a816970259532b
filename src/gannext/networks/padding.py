"""Sides that a network cannot halve often enough are padded on the way in and cropped on the way out."""

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Repeats the lower and right border of (N, C, H, W) until both sides are multiples."""
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
