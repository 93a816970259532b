"""Accuracy of each kind of defect by itself, and of small and large ones: where a detector is good, and where it is not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gannext.evaluation.metrics import auroc

PARTS = ("smallest", "middle", "largest")
LEAST = 5  # images of a part, or it says too little


@dataclass(frozen=True)
class Group:
    """How well some of the abnormal images are told from all of the normal ones.

    Attributes:
        name: what they have in common.
        images: how many they are.
        auroc: area under the ROC curve.
        tpr: share of them above the threshold.
    """

    name: str
    images: int
    auroc: float
    tpr: float

    def as_dict(self) -> dict[str, float | str]:
        """By name, for JSON."""
        return asdict(self)


def by_kind(scores: NDArray[np.float64], labels: Tensor, kinds: Sequence[str], threshold: float) -> list[Group]:
    """A group for each kind of abnormal image, in alphabetical order; none where all are of one kind.

    Args:
        scores, labels, kinds: of all test images (N,); abnormal ones are labelled True.
        threshold: scores above it are called abnormal.
    """
    of_all, abnormal = np.asarray(kinds), labels.numpy()
    names = sorted(set(of_all[abnormal].tolist()))
    return groups(scores, labels, {name: abnormal & (of_all == name) for name in names}, threshold) if len(names) > 1 else []


def by_size(scores: NDArray[np.float64], labels: Tensor, areas: NDArray[np.float64], threshold: float) -> list[Group]:
    """The abnormal images in three parts, by how much of each is defect; none where few are known.

    Args:
        scores, labels, threshold: as above.
        areas: share of each image that is defect, in [0, 1], (N,); NaN where that is not known.
    """
    known = np.flatnonzero(labels.numpy() & ~np.isnan(areas))
    if len(known) < LEAST * len(PARTS):
        return []
    parts = {}
    for name, part in zip(PARTS, np.array_split(known[np.argsort(areas[known], kind="stable")], len(PARTS)), strict=True):
        low, high = 100 * areas[part[0]], 100 * areas[part[-1]]
        parts[f"{name}: {low:.2g} to {high:.2g} % of the image"] = np.isin(np.arange(len(scores)), part)
    return groups(scores, labels, parts, threshold)


def groups(
    scores: NDArray[np.float64], labels: Tensor, members: Mapping[str, NDArray[np.bool_]], threshold: float
) -> list[Group]:
    """A group for each name, of its abnormal members (N,)."""
    rows = []
    for name, chosen in members.items():
        counted = chosen | ~labels.numpy()
        found = float((scores[chosen] > threshold).mean())
        rows.append(Group(name, int(chosen.sum()), auroc(scores[counted], labels[counted]), found))
    return rows
