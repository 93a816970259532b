"""What a box at the line needs: decoding, calibration, results. numpy and Pillow only, never torch."""

from gannext.runtime.calibration import Calibration
from gannext.runtime.errors import InputError, unknown
from gannext.runtime.files import write_atomically, write_text
from gannext.runtime.images import SUFFIXES, Pixels, array_to_pixels, decode_image, find_images, resize, to_pixels
from gannext.runtime.options import as_option
from gannext.runtime.results import Prediction, as_csv, as_json, as_table

__all__ = [
    "SUFFIXES",
    "Calibration",
    "InputError",
    "Pixels",
    "Prediction",
    "array_to_pixels",
    "as_csv",
    "as_json",
    "as_option",
    "as_table",
    "decode_image",
    "find_images",
    "resize",
    "to_pixels",
    "unknown",
    "write_atomically",
    "write_text",
]
