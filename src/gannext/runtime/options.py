"""What options may say, and how the value of one is written on the command line, in YAML files and beside results."""

from typing import Any

from gannext.runtime.errors import InputError

PRECISIONS = ("fp32", "fp16", "bf16", "int8")  # of exported files
SIDES = (32, 1024)  # of the images that networks work at, in pixels


def check_side(side: int) -> None:
    """Raises InputError where networks cannot work at images of that side, in pixels."""
    if not SIDES[0] <= side <= SIDES[1]:
        near = min(max(side, SIDES[0]), SIDES[1])
        raise InputError(
            f"a side of {side} pixels is out of range: sides from {SIDES[0]} to {SIDES[1]} work, and {near} is the nearest"
        )


def as_option(name: str, value: Any) -> str:
    """A value as its option takes it: sizes as HEIGHTxWIDTH, lists with commas, numbers without needless digits."""
    if isinstance(value, (tuple, list)):
        return ("x" if name == "image_size" else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
