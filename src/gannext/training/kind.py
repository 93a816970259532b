"""What a set of normal images shows, objects or textures, told by the images alone."""

import torch.nn.functional as F

from gannext.data import Images

LOOKED_AT = 512
LAYOUT = 4
LEAST_SHARE = 0.3


def kind_of(images: Images) -> str:
    """ "objects" where normal images differ in their layout, "textures" where they differ in detail alone.

    Of all that tells the images from their mean, with the brightness of each taken away, it is the
    share that is left in thumbnails of 4x4 pixels. Measured: photographs of brick, gravel and grass 0.19, 0.13 and 0.11;
    digits 0.43, clothes 0.42, and cuttings of six ordinary photographs 0.38 to 0.63. The border is at 0.3.
    """
    return "objects" if layout_share(images) > LEAST_SHARE else "textures"


def layout_share(images: Images) -> float:
    """That share, from 0 to 1, of up to 512 images spread evenly over all."""
    count = min(LOOKED_AT, len(images))
    x = images.__getitems__([i * len(images) // count for i in range(count)]).float().mean(1, keepdim=True)
    x = x - x.mean((2, 3), keepdim=True)
    differing = x - x.mean(0)
    layout = F.adaptive_avg_pool2d(differing, LAYOUT)
    return float(layout.square().mean() / differing.square().mean().clamp_min(1e-12))
