"""Pillow's bilinear resize with antialiasing as tensor operations, so that an exported file can hold it.

`gannext.runtime.resize` calls Pillow itself; this is the same arithmetic, to the last bit: triangle
weights rounded to 22 bits, columns first and then rows, and a rounding to bytes after each.
"""

import torch
from torch import Tensor

PRECISION = 2.0**22


def resize_weights(inside: int, outside: int, along: int) -> Tensor:
    """Pillow's weights, whole numbers of 2^-22, as doubles: (inside, outside), or (outside, inside).

    Neither is made by transposing the other: ONNX Runtime up to 1.23 joins that to the product, which it cannot do in doubles.

    Args:
        inside: pixels along one side before; while a graph is traced, a symbol.
        outside: pixels after.
        along: the dimension in which the pixels before lie, 0 or 1.
    """
    pixels = torch.arange(inside, dtype=torch.float64)  # (inside,)
    scale = (pixels[-1:] + 1.0) / outside  # from the tensor, so that a traced graph takes any size
    support = scale.clamp(min=1.0)  # a reduction averages over all pixels that it merges
    centres = (torch.arange(outside, dtype=torch.float64) + 0.5) * scale  # (outside,)
    distances = (pixels + 0.5).unsqueeze(1 - along) - centres.unsqueeze(along)
    weights = (1.0 - distances.abs() / support).clamp(min=0.0)
    return (weights / weights.sum(along, keepdim=True) * PRECISION + 0.5).floor()


def resize_bytes(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bytes (N, H, W, C) resized to size = (height, width), as whole numbers in doubles (N, C, height, width)."""
    x = images.permute(0, 3, 1, 2).double()
    x = rounded(x @ resize_weights(images.shape[2], size[1], along=0))  # columns
    return rounded(resize_weights(images.shape[1], size[0], along=1) @ x)  # rows


def rounded(sums: Tensor) -> Tensor:
    """Weighted sums back to bytes, halves up. Products of 22-bit weights and bytes are exact in doubles.

    Where an engine computes with fewer bits than asked for, bytes that were not resized still come out as they are; adding
    a half before rounding down would take a ninth bit.
    """
    values = sums / PRECISION
    low = values.floor()
    return (low + (values - low >= 0.5)).clamp(0.0, 255.0)
