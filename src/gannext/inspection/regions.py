"""The connected regions of an anomaly map, as COCO annotations describe them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Runs = NDArray[np.int64]  # (n, 3): row, first column, and the column after the last, in order


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
    regions = []
    for runs in connected(runs_of(anomaly_map > threshold)):
        top, bottom, left, right = runs[0, 0], runs[-1, 0] + 1, runs[:, 1].min(), runs[:, 2].max()
        mask = np.zeros((bottom - top, right - left), dtype=bool)
        for row, start, end in runs:
            mask[row - top, start - left : end - left] = True
        box = int(left), int(top), int(right - left), int(bottom - top)
        counts = run_lengths(mask, int(top), int(left), anomaly_map.shape)
        score = float(anomaly_map[top:bottom, left:right][mask].max())
        regions.append(Region(box, int(mask.sum()), score, counts))
    return sorted(regions, key=lambda region: -region.score)


def runs_of(mask: NDArray[np.bool_]) -> Runs:
    """The runs of pixels that are set, row by row."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)  # 1 where a run begins, -1 after its end
    rows, starts = np.nonzero(steps == 1)
    return np.stack((rows, starts, np.nonzero(steps == -1)[1]), axis=-1).astype(np.int64)


def connected(runs: Runs) -> list[Runs]:
    """The runs, gathered into regions: runs of neighbouring rows belong together where they overlap or touch at a corner."""
    parents = list(range(len(runs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    rows, starts, ends = runs.T.tolist() if len(runs) else ([], [], [])
    above = 0  # the first run that may still touch the one at hand
    for index, (row, start, end) in enumerate(zip(rows, starts, ends, strict=True)):
        while rows[above] < row - 1 or (rows[above] == row - 1 and ends[above] < start):
            above += 1
        other = above
        while rows[other] == row - 1 and starts[other] <= end:
            parents[root(index)] = root(other)
            other += 1
    found: dict[int, list[int]] = {}
    for index in range(len(runs)):
        found.setdefault(root(index), []).append(index)
    return [runs[members] for members in found.values()]


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
