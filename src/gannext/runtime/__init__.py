"""What a box at the line needs: decoding, calibration, results. numpy and Pillow only, never torch."""

from gannext.runtime.calibration import Calibration
from gannext.runtime.errors import InputError, unknown
from gannext.runtime.files import write_atomically, write_text
from gannext.runtime.images import (
    SUFFIXES,
    Pixels,
    array_to_pixels,
    decode_image,
    find_images,
    image_size,
    resize,
    resize_map,
    to_pixels,
)
from gannext.runtime.inputs import OneImage, prepare
from gannext.runtime.options import as_option
from gannext.runtime.pixels import BINS, PixelCalibration, count
from gannext.runtime.predictor import Predictor, View
from gannext.runtime.results import Prediction, as_csv, as_json, as_table
from gannext.runtime.tiles import Blend, Box, Tiling

__all__ = [
    "BINS",
    "SUFFIXES",
    "Blend",
    "Box",
    "Calibration",
    "InputError",
    "OneImage",
    "PixelCalibration",
    "Pixels",
    "Prediction",
    "Predictor",
    "Tiling",
    "View",
    "array_to_pixels",
    "as_csv",
    "as_json",
    "as_option",
    "as_table",
    "count",
    "decode_image",
    "find_images",
    "image_size",
    "prepare",
    "resize",
    "resize_map",
    "to_pixels",
    "unknown",
    "write_atomically",
    "write_text",
]
