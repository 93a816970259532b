"""What a box at the line needs: decoding, calibration, exported files, results. NumPy, Pillow and ONNX Runtime, never torch."""

from gannext.runtime.calibration import Calibration
from gannext.runtime.engines import ENGINES, IMAGES, MAP, RECONSTRUCTION, SCORE
from gannext.runtime.errors import InputError, unknown
from gannext.runtime.exported import Exported
from gannext.runtime.files import check_folder, check_place, write_atomically, write_text
from gannext.runtime.images import (
    BITS,
    Pixels,
    array_to_pixels,
    decode_file,
    decode_image,
    find_bits,
    find_images,
    image_files,
    image_size,
    resize,
    resize_map,
    to_image,
    to_pixels,
    upright,
)
from gannext.runtime.inputs import OneImage, own_size, prepare, spread
from gannext.runtime.options import PRECISIONS, SIDES, as_duration, as_option, check_side, fitting_size
from gannext.runtime.pixels import BINS, LEAST_RATE, MOST_RATE, PixelCalibration, count
from gannext.runtime.predictor import BATCH_SIZE, Predictor, View
from gannext.runtime.results import Prediction, as_csv, as_json, as_table, picture_name
from gannext.runtime.sample import NormalSample
from gannext.runtime.sealed import (
    FORMAT,
    FORMAT_VERSION,
    KEY,
    PRODUCER,
    ExportedContent,
    is_exported,
    read_exported,
    seal_graph,
    seal_xml,
)
from gannext.runtime.tiles import SMALLEST_TILE, Blend, Box, Tiling

__all__ = [
    "BATCH_SIZE",
    "BINS",
    "BITS",
    "ENGINES",
    "FORMAT",
    "FORMAT_VERSION",
    "IMAGES",
    "KEY",
    "LEAST_RATE",
    "MAP",
    "MOST_RATE",
    "PRECISIONS",
    "PRODUCER",
    "RECONSTRUCTION",
    "SCORE",
    "SIDES",
    "SMALLEST_TILE",
    "Blend",
    "Box",
    "Calibration",
    "Exported",
    "ExportedContent",
    "InputError",
    "NormalSample",
    "OneImage",
    "PixelCalibration",
    "Pixels",
    "Prediction",
    "Predictor",
    "Tiling",
    "View",
    "array_to_pixels",
    "as_csv",
    "as_duration",
    "as_json",
    "as_option",
    "as_table",
    "check_folder",
    "check_place",
    "check_side",
    "count",
    "decode_file",
    "decode_image",
    "find_bits",
    "find_images",
    "fitting_size",
    "image_files",
    "image_size",
    "is_exported",
    "own_size",
    "picture_name",
    "prepare",
    "read_exported",
    "resize",
    "resize_map",
    "seal_graph",
    "seal_xml",
    "spread",
    "to_image",
    "to_pixels",
    "unknown",
    "upright",
    "write_atomically",
    "write_text",
]
