"""What options may say, and how the value of one is written on the command line, in YAML files and beside results."""

import math
from collections.abc import Iterable
from statistics import median_low
from typing import Any

from gannext.runtime.errors import InputError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")  # of exported files
SIDES = (32, 1024)  # of the images that networks work at, in pixels
MOST_LIGHT = 0.5  # share by which a training makes images brighter or darker
MOST_FOCUS = 2.0  # standard deviation, in pixels, of the Gaussian by which a training blurs images
STEP = 16  # the paper's generator halves its images so often that it would pad others


def check_side(side: int) -> None:
    """Raises InputError where networks cannot work at images of that side, in pixels."""
    if not SIDES[0] <= side <= SIDES[1]:
        near = min(max(side, SIDES[0]), SIDES[1])
        raise InputError(
            f"a side of {side} pixels is out of range: sides from {SIDES[0]} to {SIDES[1]} work, and {near} is the nearest"
        )


def fitting_size(sizes: Iterable[tuple[int, int]], side: int) -> tuple[int, int]:
    """Height and width that images of these sizes are best looked at in: of the shape that is usual among them, as large as
    they are, but of no more pixels than side x side; in steps of 16. Sizes of (0, 0), which are unknown, do not count."""
    known = [size for size in sizes if min(size) > 0]
    if not known:
        return SIDES[0], SIDES[0]
    own = [median_low(sides) for sides in zip(*known, strict=True)]
    scale = min(1.0, side / math.sqrt(math.prod(own)))
    height, width = (min(max(STEP * round(s * scale / STEP), SIDES[0]), SIDES[1]) for s in own)
    return height, width


def as_duration(seconds: float) -> str:
    """A time for people."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


def as_option(name: str, value: Any) -> str:
    """A value as its option takes it: sizes as HEIGHTxWIDTH, lists with commas, numbers without needless digits."""
    if isinstance(value, (tuple, list)):
        return ("x" if name == "image_size" else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
