"""How well anomaly maps show where the defect is, measured pixel by pixel against masks.

The images go by one at a time and only counts are kept, by bins so fine (values that differ by 1 in
4,096) that the metrics differ from the exact ones by less than 0.001, whatever the number of pixels.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.integrate import trapezoid

from gannext.runtime import BINS, InputError, count

AUPRO_LIMIT = 0.3
WITH_DIAGONALS = np.ones((3, 3))  # two pixels that touch at a corner belong to one defect


@dataclass(frozen=True)
class PixelMetrics:
    """How well the pixels of a defect (the positive class) are told from normal ones.

    Attributes:
        auroc: area under the ROC curve of all pixels of all images.
        average_precision: area under their precision-recall curve, as average precision.
        aupro: area under the per-region overlap curve (Bergmann et al., "The MVTec anomaly detection
            dataset", 2021) up to a false-positive rate of 30 %, divided by 0.3. The overlap of each defect counts alike,
            however large it is.
        tpr, fpr: at the threshold: shares of defective and of normal pixels that are called abnormal.
        threshold: values above it are called abnormal.
        images, regions: numbers of images, and of connected defects in them.
    """

    auroc: float
    average_precision: float
    aupro: float
    tpr: float
    fpr: float
    threshold: float
    images: int
    regions: int

    def as_dict(self) -> dict[str, float]:
        """The metrics by name, for JSON."""
        return asdict(self)


class Localisation:
    """Gathers anomaly maps and masks, image by image."""

    def __init__(self) -> None:
        self.normal = np.zeros(BINS, np.int64)
        self.abnormal = np.zeros(BINS, np.int64)
        self.overlap = np.zeros(BINS)  # each pixel of a defect counts as one part of that defect's area
        self.images = self.regions = 0

    def add(self, anomaly_map: NDArray[np.float32], mask: NDArray[np.bool_] | None) -> None:
        """Adds a map (H, W) and the mask (H, W) of its defects; None for a normal image."""
        self.images += 1
        if mask is None:
            count(self.normal, anomaly_map)
            return
        count(self.normal, anomaly_map[~mask])
        count(self.abnormal, anomaly_map[mask])
        labels, found = ndimage.label(mask, WITH_DIAGONALS)
        for index, place in enumerate(ndimage.find_objects(labels), start=1):
            values = anomaly_map[place][labels[place] == index]
            count(self.overlap, values, 1 / len(values))
        self.regions += found

    def result(self, threshold: float) -> PixelMetrics:
        """The metrics of all that was added, with a threshold chosen beforehand.

        Raises:
            InputError: there was no defect, or no normal pixel.
        """
        if not self.regions or not self.normal.any():
            raise InputError("there is no localisation to measure: it takes normal pixels, and masks with a defect")
        fpr, tpr, pro = map(cumulated, (self.normal, self.abnormal, self.overlap))
        at = count_above(threshold)
        true, false = self.abnormal[::-1].cumsum(), self.normal[::-1].cumsum()
        precision = true / np.maximum(true + false, 1)
        inside = fpr <= AUPRO_LIMIT
        end = float(np.interp(AUPRO_LIMIT, fpr, pro))
        aupro = trapezoid(np.append(pro[inside], end), np.append(fpr[inside], AUPRO_LIMIT)) / AUPRO_LIMIT
        return PixelMetrics(
            auroc=float(trapezoid(tpr, fpr)),
            average_precision=float(np.sum(np.diff(tpr) * precision)),
            aupro=float(aupro),
            tpr=float(tpr[at]),
            fpr=float(fpr[at]),
            threshold=threshold,
            images=self.images,
            regions=self.regions,
        )


def cumulated(counts: NDArray[Any]) -> NDArray[np.float64]:
    """The shares (BINS + 1,) of what lies in the highest 0, 1, 2 and so on bins."""
    return np.concatenate(([0.0], counts[::-1].cumsum() / counts.sum()))


def count_above(threshold: float) -> int:
    """How many bins lie above that of the threshold."""
    position = np.zeros(BINS, np.int64)
    count(position, np.array([threshold], np.float32))
    return BINS - 1 - int(position.argmax())
