"""Calibrating a detector on normal images that training never saw: its threshold, its p-values, and its maps."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gannext.detection.detector import Detector, Seen, to_tensor
from gannext.detection.maps import AnomalyMap, default_smoothing
from gannext.runtime import BINS, Calibration, InputError, OneImage, PixelCalibration, count, prepare


def calibrate(
    detector: Detector,
    batches: Iterable[Tensor],
    fpr: float = 0.05,
    pixel_fpr: float = 0.01,
    kind: str = "reconstruction",
) -> None:
    """Sets a detector's `calibration` and `anomaly_map`.

    Args:
        detector: one that works without tiles.
        batches: bytes (n, C, H, W) at the detector's size, of held-out normal images; gone through twice.
        fpr: share of normal images that may be called abnormal.
        pixel_fpr: share of normal pixels that may be called abnormal.
        kind: of anomaly map, a key of MAPS.
    """
    means = PartMeans()
    scores: list[float] = []
    detector.anomaly_map = unscaled_map(detector, kind)
    for batch in batches:
        seen = detector.see(batch, parts=True)
        means.add(seen)
        scores += seen.scores.double().tolist()
    scaled = replace(detector.anomaly_map, scales=means.result())
    counts = np.zeros(BINS, np.int64)
    for batch in batches:
        parts = detector.see(batch, parts=True).parts
        assert parts is not None
        count(counts, scaled.combine(parts))
    detector.calibration = Calibration(tuple(scores), fpr)
    detector.anomaly_map = replace(scaled, pixels=PixelCalibration.of_counts(counts, pixel_fpr))


def calibrate_tiles(
    detector: Detector,
    pictures: Iterable[OneImage],
    fpr: float = 0.05,
    pixel_fpr: float = 0.01,
    kind: str = "reconstruction",
) -> None:
    """As `calibrate`, for a detector with tiles: a picture counts once, with the largest score of its tiles, and its
    pixels with the blended map, just as in prediction.

    Raises:
        InputError: a picture cannot be read, or is smaller than a tile.
    """
    means = PartMeans()
    detector.anomaly_map = unscaled_map(detector, kind)
    for seen in seen_in_tiles(detector, pictures):
        means.add(seen)
    detector.anomaly_map = replace(detector.anomaly_map, scales=means.result())
    counts = np.zeros(BINS, np.int64)
    scores: list[float] = []
    for prediction in detector.predict_iter(pictures, maps=True):
        if prediction.score is None or prediction.anomaly_map is None:
            raise InputError(str(prediction.error))
        scores.append(prediction.score)
        count(counts, prediction.anomaly_map)
    detector.calibration = Calibration(tuple(scores), fpr)
    detector.anomaly_map = replace(detector.anomaly_map, pixels=PixelCalibration.of_counts(counts, pixel_fpr))


def unscaled_map(detector: Detector, kind: str) -> AnomalyMap:
    """A map whose parts can be made, and whose scales and threshold are still to come."""
    return AnomalyMap(kind, (), default_smoothing(detector.config.size), PixelCalibration((0.5,), (0.0,)))


class PartMeans:
    """The mean of each part of the anomaly map, over images that come batch by batch."""

    def __init__(self) -> None:
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def add(self, seen: Seen) -> None:
        """Adds a batch."""
        assert seen.parts is not None
        sums = seen.parts.mean((2, 3), dtype=torch.float64).sum(0).cpu().numpy()
        self.total = sums if self.total is None else self.total + sums
        self.count += len(seen.parts)

    def result(self) -> tuple[float, ...]:
        """The means (K,)."""
        if self.total is None:
            raise InputError("calibration needs at least one held-out normal image")
        return tuple(float(mean) for mean in self.total / self.count)


def seen_in_tiles(detector: Detector, pictures: Iterable[OneImage]) -> Iterator[Seen]:
    """What the networks see in the tiles of pictures; one that cannot be used is passed over."""
    tiling = detector.tiling
    assert tiling is not None
    for prepared in prepare(pictures, None, detector.config.channels, ahead=1):
        if not isinstance(prepared.pixels, InputError) and min(prepared.size) >= tiling.side:
            for _, tiles in detector.tile_batches(prepared.pixels, tiling):
                yield detector.see(to_tensor(tiles), parts=True)
