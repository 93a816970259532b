"""The folder that `gannext predict --maps` writes: pictures of every image, and one COCO file of all regions."""

import io
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gannext.inspection.colours import overlay
from gannext.inspection.regions import find_regions
from gannext.runtime import Pixels, Prediction, picture_name, to_image, write_atomically, write_text

REGIONS = "regions.json"


class MapsFolder:
    """Writes the pictures of one prediction after the other, and the regions of all at the end.

    Args:
        folder: where the files go.
        threshold: pixels above it are abnormal.
        map_format: "png" writes maps as 16-bit greys whose unit is in the file's text, "npy" as float32.
        about: what the COCO file shall say of its origin.
    """

    def __init__(
        self, folder: Path, threshold: float, map_format: Literal["png", "npy"] = "png", about: dict[str, Any] | None = None
    ) -> None:
        self.folder, self.threshold, self.map_format = folder, threshold, map_format
        self.about = about or {}
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, prediction: Prediction, pixels: Pixels) -> None:
        """Writes one image's overlay, reconstruction and map.

        Args:
            prediction: with its map and its reconstruction.
            pixels: the image itself, bytes (H, W, 1 or 3).

        Raises:
            InputError: the folder may not be written, or the disk is full.
        """
        values, reconstruction = prediction.anomaly_map, prediction.reconstruction
        assert values is not None and reconstruction is not None
        number = len(self.images)
        name = picture_name(number, prediction.image)
        files = {
            "overlay": f"{name}_overlay.png",
            "reconstruction": f"{name}_reconstruction.png",
            "map": f"{name}_map.{self.map_format}",
        }
        write_picture(self.folder / files["overlay"], to_image(overlay(pixels, values, self.threshold)))
        write_picture(self.folder / files["reconstruction"], to_image(reconstruction))
        unit = 1.0
        if self.map_format == "npy":
            write_atomically(self.folder / files["map"], lambda file: np.save(file, values))
        else:
            unit = write_map(self.folder / files["map"], values, self.threshold)
        self.images.append(
            {
                "id": number,
                "file_name": prediction.image,
                "width": values.shape[1],
                "height": values.shape[0],
                "score": prediction.score,
                "p_value": prediction.p_value,
                "verdict": prediction.verdict,
                **files,
                "map_unit": unit,
            }
        )
        for region in find_regions(values, self.threshold):
            annotation = {"id": len(self.annotations) + 1, "image_id": number, "category_id": 1}
            self.annotations.append({**annotation, **region.as_coco((values.shape[0], values.shape[1]))})

    def finish(self) -> None:
        """Writes `regions.json`."""
        content = {
            "info": {"description": "Anomalous regions found by GanNeXt", "threshold": self.threshold, **self.about},
            "images": self.images,
            "categories": [{"id": 1, "name": "anomaly"}],
            "annotations": self.annotations,
        }
        write_text(self.folder / REGIONS, json.dumps(content) + "\n")


def write_picture(path: Path, image: Image.Image, info: PngInfo | None = None) -> None:
    """Writes a PNG atomically, packed for speed."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, pnginfo=info)
    write_atomically(path, lambda file: file.write(buffer.getbuffer()))


def write_map(path: Path, values: np.ndarray, threshold: float) -> float:
    """Writes a map (H, W) as 16-bit greys, and returns their unit: value = grey * unit."""
    unit = max(float(values.max()), 1e-12) / 65535
    info = PngInfo()
    info.add_text("unit", repr(unit))
    info.add_text("threshold", repr(threshold))
    info.add_text("Description", "anomaly map: value = grey * unit; 1 is what a normal pixel has on average")
    greys = np.empty(values.shape, np.uint16)
    np.rint(values / np.float32(unit), out=greys, casting="unsafe")
    write_picture(path, Image.fromarray(greys), info)
    return unit
