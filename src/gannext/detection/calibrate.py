"""Calibrating a detector on normal images that training never saw: its threshold, its p-values, and its maps."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gannext.detection.detector import Detector, Seen, to_tensor
from gannext.detection.maps import AnomalyMap, default_smoothing
from gannext.runtime import InputError, NormalSample, OneImage, PixelCalibration, prepare


def calibrate(
    detector: Detector, batches: Iterable[Tensor], fpr: float = 0.05, pixel_fpr: float = 0.01, kind: str = "reconstruction"
) -> list[float]:
    """Sets a detector's `calibration` and `anomaly_map`.

    Args:
        detector: one that works without tiles.
        batches: bytes (n, C, H, W) at the detector's size, of held-out normal images; gone through twice.
        fpr: share of normal images that may be called abnormal.
        pixel_fpr: share of normal pixels that may be called abnormal.
        kind: of anomaly map, a key of MAPS.

    Returns:
        The images' scores, in their order.
    """

    def judged() -> Iterator[Judged]:
        for batch in batches:
            seen = detector.see(batch, parts=True)
            assert detector.anomaly_map is not None and seen.parts is not None
            yield seen.scores.cpu().double().tolist(), detector.anomaly_map.combine(seen.parts)

    seen = (detector.see(batch, parts=True) for batch in batches)
    return _calibrate(detector, seen, judged(), fpr, pixel_fpr, kind)


def calibrate_tiles(
    detector: Detector,
    pictures: Iterable[OneImage],
    fpr: float = 0.05,
    pixel_fpr: float = 0.01,
    kind: str = "reconstruction",
) -> list[float]:
    """As `calibrate`, for a detector with tiles: a picture counts once, with the largest score of its tiles, and its
    pixels with the blended map, just as in prediction.

    Raises:
        InputError: a picture cannot be read, or is smaller than a tile.
    """

    def judged() -> Iterator[Judged]:
        for prediction in detector.predict_iter(pictures, maps=True):
            if prediction.score is None or prediction.anomaly_map is None:
                raise InputError(str(prediction.error))
            yield [prediction.score], prediction.anomaly_map

    return _calibrate(detector, seen_in_tiles(detector, pictures), judged(), fpr, pixel_fpr, kind)


Judged: TypeAlias = tuple[list[float], NDArray[np.float32]]
"""Scores of some images, and all values of their anomaly maps."""


def _calibrate(
    detector: Detector, batches: Iterable[Seen], judged: Iterable[Judged], fpr: float, pixel_fpr: float, kind: str
) -> list[float]:
    """Two passes: `batches` give the scales of the map's parts, and `judged`, which needs these, everything else."""
    unset = PixelCalibration((0.5,), (0.0,))
    detector.anomaly_map = AnomalyMap(kind, (), default_smoothing(kind, detector.size), unset)
    means = PartMeans()
    for seen in batches:
        means.add(seen)
    detector.anomaly_map = replace(detector.anomaly_map, scales=means.result())
    sample = NormalSample()
    for scores, values in judged:
        sample.add(scores, values)
    detector.calibration = sample.calibration(fpr)
    detector.pixel_calibration = sample.pixel_calibration(pixel_fpr)
    return sample.scores


class PartMeans:
    """The mean of each part of the anomaly map, over images that come batch by batch."""

    def __init__(self) -> None:
        self.total: NDArray[np.float64] | None = None
        self.count = 0

    def add(self, seen: Seen) -> None:
        """Adds a batch."""
        assert seen.parts is not None
        sums = seen.parts.cpu().mean((2, 3), dtype=torch.float64).sum(0).numpy()
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
    for prepared in prepare(pictures, None, detector.channels, detector.bits, ahead=1):
        if not isinstance(prepared.pixels, InputError) and min(prepared.size) >= tiling.side:
            for _, tiles in detector.tile_batches(prepared.pixels, tiling):
                yield detector.see(to_tensor(tiles), parts=True)
