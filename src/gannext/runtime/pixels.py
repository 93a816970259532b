"""Counting the values of many anomaly maps without keeping them, and the pixel threshold that comes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gannext.runtime.errors import InputError

SHIFT = 11  # of a float's 32 bits these are dropped: what is left tells values apart that differ by 1 in 4,096
BINS = 2 ** (31 - SHIFT)
PIECE = 2**22  # values that are counted at once
LEAST_RATE, MOST_RATE = 1e-5, 0.5
RATES = tuple(float(rate) for rate in np.logspace(np.log10(LEAST_RATE), np.log10(MOST_RATE), 95))


def bins_of(values: ArrayLike) -> NDArray[np.int64]:
    """The bin of each value: bits of non-negative floats are in the order of the floats, so no range need be known."""
    floats = np.maximum(np.asarray(values, dtype=np.float32), np.float32(0))
    return np.asarray(np.ascontiguousarray(floats).view(np.int32) >> SHIFT, dtype=np.int64)


def count(counts: NDArray[Any], values: NDArray[np.float32], worth: float = 1) -> None:
    """Adds values to the counts (BINS,) of their bins, each at that worth; a piece at a time, since a map may be large."""
    flat = values.reshape(-1)
    for start in range(0, len(flat), PIECE):
        found = np.bincount(bins_of(flat[start : start + PIECE]), minlength=BINS)
        counts += found if worth == 1 else found * worth


def upper_edges() -> NDArray[np.float32]:
    """For each bin, the largest value that falls into it."""
    return ((np.arange(BINS, dtype=np.int32) << SHIFT) | ((1 << SHIFT) - 1)).view(np.float32)


@dataclass(frozen=True)
class PixelCalibration:
    """Which values of an anomaly map the pixels of held-out normal images exceed, and how often.

    Attributes:
        rates: shares of normal pixels, ascending.
        thresholds: for each rate, the value that so many normal pixels exceed at most.
        fpr: the false-positive rate asked for, LEAST_RATE to MOST_RATE: what the counts tell apart.

    Neighbouring pixels go together: the rate holds over the pixels of many normal images, not in each of them.
    """

    rates: tuple[float, ...]
    thresholds: tuple[float, ...]
    fpr: float = 0.01

    def __post_init__(self) -> None:
        if not LEAST_RATE <= self.fpr <= MOST_RATE:
            raise InputError(
                f"a false-positive rate of {self.fpr:g} for pixels is out of range: give {LEAST_RATE:g} to {MOST_RATE:g}"
            )
        if not self.rates or len(self.rates) != len(self.thresholds) or not np.isfinite(self.thresholds).all():
            raise InputError("the calibration of anomaly maps needs a threshold for each rate, and all of them finite")

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "PixelCalibration":
        """From what `asdict` made of one. Earlier versions took any rate, and for one out of range the nearest in it."""
        fpr = min(max(float(stored["fpr"]), LEAST_RATE), MOST_RATE)
        return cls(tuple(stored["rates"]), tuple(stored["thresholds"]), fpr)

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64], fpr: float) -> "PixelCalibration":
        """From the number of normal pixels in each bin of `bins_of`."""
        exceeding = counts[::-1].cumsum()[::-1] - counts  # pixels in higher bins
        share = exceeding / counts.sum()
        first = [int(np.argmax(share <= rate)) for rate in RATES]
        return cls(RATES, tuple(float(v) for v in upper_edges()[first]), fpr)

    @property
    def threshold(self) -> float:
        """The value above which a pixel is abnormal, at the rate asked for."""
        return float(np.interp(np.log(self.fpr), np.log(self.rates), self.thresholds))
