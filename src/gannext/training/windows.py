"""Windows of large images: what a training step sees of them costs the same whatever their size."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def windows(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Windows of one of these sizes, each somewhere in another of the images (N, C, H, W): N of the least size, or of a larger
    one as many as have as many pixels. Images that are no larger than the least stay whole, as they do without sides.

    Args:
        x: the images.
        sides: of square windows, in pixels, the least first; see `window_sizes`.
    """
    sizes = window_sizes((x.shape[-2], x.shape[-1]), sides)
    if sizes[0] == x.shape[-2:]:
        return x
    height, width = sizes[int(torch.randint(len(sizes), ()))]
    count = max(1, round(len(x) * math.prod(sizes[0]) / (height * width)))
    tops = torch.randint(x.shape[-2] - height + 1, (count,)).tolist()
    lefts = torch.randint(x.shape[-1] - width + 1, (count,)).tolist()
    places = zip(x[:count], tops, lefts, strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, top, left in places])


def window_sizes(size: tuple[int, int], sides: Sequence[int]) -> list[tuple[int, int]]:
    """Heights and widths of windows of these sides in an image of that size, none larger than it, each once; without sides,
    the image's own."""
    return list(dict.fromkeys((min(side, size[0]), min(side, size[1])) for side in sides)) or [size]
