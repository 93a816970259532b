"""The connected regions of an anomaly map, as COCO annotations describe them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WITH_DIAGONALS = np.ones((3, 3))


@dataclass(frozen=True)
class Region:
    """A connected region of abnormal pixels.

    Attributes:
        box: x, y, width and height in pixels, from the upper left corner.
        area: number of pixels.
        score: the map's largest value in it.
        counts: run lengths of the image's pixels column by column, outside and inside in turn, as COCO's
            uncompressed RLE has them.
    """

    box: tuple[int, int, int, int]
    area: int
    score: float
    counts: list[int]

    def as_coco(self, size: tuple[int, int]) -> dict[str, Any]:
        """What an annotation says of the region, in an image of that height and width."""
        return {
            "bbox": list(self.box),
            "area": self.area,
            "segmentation": {"size": list(size), "counts": self.counts},
            "score": self.score,
            "iscrowd": 0,
        }


def find_regions(anomaly_map: NDArray[np.float32], threshold: float) -> list[Region]:
    """The regions of a map (H, W) that lie above the threshold, the largest value first.

    Pixels that touch at a corner belong together.
    """
    labels, _ = ndimage.label(anomaly_map > threshold, WITH_DIAGONALS)
    regions = []
    for index, place in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = place
        mask = labels[place] == index
        box = columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start
        counts = run_lengths(mask, rows.start, columns.start, anomaly_map.shape)
        regions.append(Region(box, int(mask.sum()), float(anomaly_map[place][mask].max()), counts))
    return sorted(regions, key=lambda region: -region.score)


def run_lengths(mask: NDArray[np.bool_], top: int, left: int, size: tuple[int, ...]) -> list[int]:
    """COCO's run lengths of a mask that lies at (top, left) in an image of that height and width, empty elsewhere."""
    height, width = size
    columns, rows = np.nonzero(mask.T)  # column by column
    places = (columns + left).astype(np.int64) * height + rows + top
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts = places[np.concatenate(([0], breaks + 1))]
    ends = places[np.concatenate((breaks, [len(places) - 1]))] + 1
    edges = np.concatenate(([0], np.stack((starts, ends), axis=-1).ravel(), [height * width]))
    return [int(run) for run in np.diff(edges)]
