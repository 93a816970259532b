"""What a prediction returns, and how it is written as a table, CSV or JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gannext.runtime.images import Pixels

LONGEST_STEM = 40  # characters, of up to 4 bytes: a file system takes 255, and endings come on top
COLUMNS = ("image", "score", "p_value", "verdict", "error")


@dataclass(frozen=True)
class Prediction:
    """The judgement of one image.

    Attributes:
        image: the file's path, or the position in the list given.
        score: raw anomaly score, larger where more is wrong; None where the image could not be judged.
        p_value: conformal p-value in (0, 1]; small means abnormal.
        abnormal: whether the score lies above the detector's threshold.
        reconstruction: uint8 (height, width, channels) where asked for: at the detector's size, or, of a
            picture that was judged in tiles, at its own.
        anomaly_map: float32 (height, width) at the image's own size, where asked for; at least 0, in units of
            what a normal pixel has on average.
        error: a sentence where the image could not be judged, else None.
    """

    image: str
    score: float | None = None
    p_value: float | None = None
    abnormal: bool | None = None
    reconstruction: Pixels | None = None
    anomaly_map: NDArray[np.float32] | None = None
    error: str | None = None

    @property
    def verdict(self) -> str:
        """ "normal", "abnormal" or "error"."""
        if self.error is not None:
            return "error"
        return "abnormal" if self.abnormal else "normal"

    def row(self) -> dict[str, str | float | None]:
        """The columns of the written results."""
        return {
            "image": self.image,
            "score": self.score,
            "p_value": self.p_value,
            "verdict": self.verdict,
            "error": self.error,
        }


def picture_name(position: int, image: str) -> str:
    """What a picture made of an image is called, without its ending: unlike any other, and short enough for a file system."""
    return f"{position:05d}_{Path(image).stem[:LONGEST_STEM]}"


def on_one_line(name: str) -> str:
    """A file's name with whatever moves a terminal's cursor, or has no form there, written as Python writes it."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def as_table(predictions: Sequence[Prediction]) -> str:
    """A table for the terminal, a line for each image, the widest name deciding the first column."""
    names = [on_one_line(p.image) for p in predictions]
    width = max([len("image"), *map(len, names)])
    lines = [f"{'image':<{width}}  {'score':>10}  {'p-value':>8}  verdict"]
    for name, p in zip(names, predictions, strict=True):
        if p.score is None or p.p_value is None:
            lines.append(f"{name:<{width}}  {'-':>10}  {'-':>8}  error: {p.error}")
        else:
            lines.append(f"{name:<{width}}  {p.score:>10.6f}  {p.p_value:>8.4f}  {p.verdict}")
    return "\n".join(lines)


def as_csv(predictions: Sequence[Prediction]) -> str:
    """CSV with the header `image,score,p_value,verdict,error`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(p.row() for p in predictions)
    return text.getvalue()


def as_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list of objects with the same names as the CSV's columns."""
    return json.dumps([p.row() for p in predictions], indent=2) + "\n"
