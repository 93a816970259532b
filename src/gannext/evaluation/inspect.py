"""One pass over the test images for all that needs more than their scores: localisation metrics and the report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gannext.data import Split, read_mask
from gannext.detection import Detector
from gannext.evaluation.localisation import Localisation, PixelMetrics
from gannext.inspection import Report
from gannext.runtime import BATCH_SIZE, InputError


@dataclass(frozen=True)
class Inspected:
    """What the pass has found.

    Attributes:
        scores: raw scores (N,) of the test images.
        areas: share of each test image that is marked as defect, (N,); NaN where there is no mask.
        localisation: how well the maps show the defects, where there are masks and maps.
        faults: a sentence for each mask that is missing or of no use.
    """

    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    localisation: PixelMetrics | None
    faults: list[str]


def inspect(detector: Detector, split: Split, batch_size: int = BATCH_SIZE, report: Report | None = None) -> Inspected:
    """Goes through the test images once, holding one anomaly map at a time.

    Args:
        detector, split: what to inspect, and on what. An image whose mask is of no use counts for its score alone.
        batch_size: images or tiles that go through the networks together.
        report: gets every image, where given.

    Raises:
        InputError: the test set lacks normal or abnormal images, or an image can no longer be read.
    """
    split.check_testable()
    maps = detector.anomaly_map
    localisation = Localisation() if split.has_masks and maps else None
    faults = list(split.mask_faults) if localisation else []
    scores: list[float] = []
    areas = np.full(len(split.test), np.nan)
    sources = [split.test.source(i) for i in range(len(split.test))]
    stream = detector.predict_iter(sources, batch_size=batch_size, reconstruct=report is not None, maps=maps is not None)
    for i, row in enumerate(tqdm(stream, total=len(sources), desc="Inspecting", leave=False, disable=None)):
        if row.score is None:
            raise InputError(str(row.error))
        scores.append(row.score)
        abnormal, mask = bool(split.labels[i]), split.masks[i] if split.masks else None
        if localisation and row.anomaly_map is not None and (mask or not abnormal):
            size = row.anomaly_map.shape[0], row.anomaly_map.shape[1]
            try:
                marked = read_mask(mask, size) if mask else None
            except InputError as error:
                faults.append(str(error))
            else:
                localisation.add(row.anomaly_map, marked)
                if marked is not None:
                    areas[i] = marked.mean()
        if report:
            source = sources[i]
            report.add(row, detector.decode(source) if isinstance(source, Path) else source, abnormal, split.kinds[i])
    found = localisation.result(maps.pixels.threshold) if maps and localisation and localisation.regions else None
    return Inspected(np.asarray(scores), areas, found, faults)
