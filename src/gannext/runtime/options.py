"""What options may say, and how the value of one is written on the command line, in YAML files and beside results."""

from typing import Any

PRECISIONS = ("fp32", "fp16", "bf16", "int8")  # of exported files


def as_option(name: str, value: Any) -> str:
    """A value as its option takes it: sizes as HEIGHTxWIDTH, lists with commas, numbers without needless digits."""
    if isinstance(value, (tuple, list)):
        return ("x" if name == "image_size" else ",").join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
