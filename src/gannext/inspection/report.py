"""The report: one HTML file with everything in it, which needs no network and no server to be looked at.

The page is `report.html` beside this file; what differs from report to report is JSON in the middle of it.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gannext.inspection.colours import heat_map
from gannext.runtime import Calibration, InputError, Pixels, Prediction, to_image, write_atomically

CAPTIONS = ("input", "reconstruction", "heat map")
SIDES = ((500, 160), (1500, 128), (4000, 96))  # up to so many images, thumbnails have this side
SMALLEST_SIDE = 64  # with more
BUDGET = 50e6  # bytes that the pictures of a report may take; noise, which no codec likes, is packed harder
PACKINGS = ((1.0, 70), (1.0, 40), (1.0, 15), (0.5, 15))  # share of the side, and WebP's quality, until it fits
LONGEST = 3  # how many times as long as wide a thumbnail may be
GREY = 128
PLACE = "__DATA__"


class Report:
    """Gathers images one after the other and writes them as one HTML file.

    Args:
        title: what stands at the top.
        calibration: the detector's: its threshold, and the held-out scores behind it.
        pixel_threshold: from what value on a pixel of a map is abnormal; None where there are no maps.
        expected: about how many images will come; with more of them, thumbnails are smaller.
    """

    def __init__(self, title: str, calibration: Calibration, pixel_threshold: float | None, expected: int) -> None:
        self.title, self.calibration, self.pixel_threshold = title, calibration, pixel_threshold
        self.side = next((side for count, side in SIDES if expected <= count), SMALLEST_SIDE)
        self.budget = BUDGET / max(expected, 1)
        self.images: list[str] = []
        self.errors: list[str] = []

    def add(self, prediction: Prediction, pixels: Pixels | None, label: bool | None = None, kind: str | None = None) -> None:
        """Adds one image.

        Args:
            prediction: with its reconstruction, and its map where there are maps.
            pixels: the image itself, bytes (H, W, 1 or 3); None where it could not be read.
            label: whether the image is abnormal in truth, where that is known.
            kind: its class or its kind of defect, where that is known.
        """
        if prediction.error is not None or pixels is None:
            self.errors.append(prediction.error or f"{prediction.image} can no longer be read")
            return
        for share, quality in PACKINGS:
            size, strip = self._strip(prediction, pixels, self.side * share, quality)
            if len(strip) <= self.budget:
                break
        truth = None if label is None else int(label)
        row = [prediction.image, prediction.score, prediction.p_value, truth, kind, strip, size[1], size[0]]
        self.images.append(as_script(row))

    def _strip(self, prediction: Prediction, pixels: Pixels, side: float, quality: int) -> tuple[tuple[int, int], str]:
        """Height and width of each thumbnail; input, reconstruction and heat map side by side as WebP in base64.

        A long or tall picture is laid on a grey ground, or its strip would be a line, or as high as the page.
        """
        height, width = pixels.shape[:2]
        shrink = min(1.0, side / max(height, width))
        size = max(1, round(height * shrink)), max(1, round(width * shrink))
        pictures = [thumbnail(pixels, size)]
        if prediction.reconstruction is not None:
            pictures.append(thumbnail(prediction.reconstruction, size))
        if prediction.anomaly_map is not None and self.pixel_threshold is not None:
            pictures.append(heat_map(shrink_by_maximum(prediction.anomaly_map, size), self.pixel_threshold))
        ground = max(size[0], size[1] // LONGEST), max(size[1], size[0] // LONGEST)
        pictures = [laid_on(ground, picture) for picture in pictures]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(pictures, axis=1)).save(buffer, "WEBP", quality=quality, method=2)
        return ground, base64.b64encode(buffer.getbuffer()).decode()

    def write(
        self,
        path: Path,
        subtitle: str,
        settings: Mapping[str, Any],
        figures: Mapping[str, str] | None = None,
        errors: Iterable[str] = (),
        footer: str = "",
    ) -> None:
        """Writes the file.

        Args:
            path: where to.
            subtitle: a line under the title.
            settings: names and values of how the detector and the report were made; values may be nested.
            figures: further names and figures for the top of the page, such as localisation metrics.
            errors: sentences about what was left out, besides the images that could not be read.
            footer: a line at the end.

        Raises:
            InputError: there is no image to report on, or the file may not be written.
        """
        if not self.images:
            reason = f": {self.errors[0]}" if self.errors else ""
            raise InputError(f"no image could be judged, so there is nothing to report{reason}")
        head = {
            "title": self.title,
            "subtitle": subtitle,
            "threshold": max(self.calibration.threshold, -1e308),
            "fpr": self.calibration.effective_fpr,
            "held_out": self.calibration.scores,
            "captions": CAPTIONS if self.pixel_threshold is not None else CAPTIONS[:2],
            "has_maps": self.pixel_threshold is not None,
            "figures": list((figures or {}).items()),
            "settings": [(name, as_text(value)) for name, value in flattened(settings)],
            "errors": [*self.errors, *errors],
            "footer": footer,
        }
        before, after = (files("gannext.inspection") / "report.html").read_text(encoding="utf-8").split(PLACE)

        def save(file: IO[bytes]) -> None:
            file.write(before.encode())
            file.write(as_script(head)[:-1].encode() + b', "images": [')
            for index, image in enumerate(self.images):
                file.write((b",\n" if index else b"\n") + image.encode())
            file.write(b"]}" + after.encode())

        write_atomically(path, save)


def as_script(value: Any) -> str:
    """JSON that may stand inside a script element: no text of it, such as a file's name, can end the element."""
    text = json.dumps(value, allow_nan=False)  # beyond ASCII, all is escaped already
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def thumbnail(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Bytes (H, W, 1 or 3) as RGB (*size, 3)."""
    image = to_image(pixels)
    if (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(image.convert("RGB"))


def laid_on(ground: tuple[int, int], picture: Pixels) -> Pixels:
    """A picture (H, W, 3) in the middle of a grey one of at least that size."""
    height, width = picture.shape[:2]
    if (height, width) == ground:
        return picture
    top, left = (ground[0] - height) // 2, (ground[1] - width) // 2
    whole = np.full((*ground, 3), GREY, np.uint8)
    whole[top : top + height, left : left + width] = picture
    return whole


def shrink_by_maximum(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map (H, W) at a smaller size of which each value is the largest of those it stands for: no defect pales."""
    for axis, length in enumerate(size):
        starts = np.arange(length) * values.shape[axis] // length
        values = np.maximum.reduceat(values, starts, axis=axis)
    return values


def flattened(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as one list, with names such as "recipe: lr"; what is not set is left out."""
    rows: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            rows += flattened(value, f"{prefix}{name}: ")
        elif value is not None:
            rows.append((f"{prefix}{name}".replace("_", " "), value))
    return rows


def as_text(value: Any) -> str:
    """A setting's value for a person."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(as_text, value)) if isinstance(value, (list, tuple)) else str(value)
