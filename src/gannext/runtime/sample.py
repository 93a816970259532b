"""What a calibration is made of: the scores of normal images, and the values of their anomaly maps."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gannext.runtime.calibration import Calibration
from gannext.runtime.pixels import BINS, PixelCalibration, count

HIGHEST = 3  # normal images that are named to people, as one that is not good would be among them


class NormalSample:
    """Scores of normal images that training never saw, and how often each value is met in their maps, which are not kept."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.counts = np.zeros(BINS, np.int64)

    def add(self, scores: ArrayLike, maps: NDArray[np.float32] | None = None) -> None:
        """Adds the scores of some images, and all values of their maps."""
        self.scores += np.atleast_1d(np.asarray(scores, dtype=np.float64)).tolist()
        if maps is not None:
            count(self.counts, maps)

    def calibration(self, fpr: float) -> Calibration:
        """The threshold and the p-values that follow; raises InputError where there are no scores."""
        return Calibration(tuple(self.scores), fpr)

    def pixel_calibration(self, fpr: float) -> PixelCalibration:
        """The maps' threshold; there must be some."""
        return PixelCalibration.of_counts(self.counts, fpr)
