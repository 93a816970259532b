"""What rounding costs: the scores of an exported detector against those of the detector itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gannext.evaluation.metrics import auroc
from gannext.runtime import InputError, Pixels, Predictor


@dataclass(frozen=True)
class Change:
    """How far an exported detector judges otherwise than the detector itself.

    Attributes:
        before, after: AUROC of the two where there are labels; else 1 and Spearman's rank correlation of their scores.
        images: number of images.
        labelled: whether there were labels.
    """

    before: float
    after: float
    images: int
    labelled: bool

    @property
    def size(self) -> float:
        """The change, at least 0."""
        return abs(self.before - self.after)


def compare(
    detector: Predictor, exported: Predictor, sources: Sequence[Path | Pixels], labels: Sequence[bool] | None = None
) -> Change:
    """Scores the same images by both.

    Args:
        detector, exported: the two.
        sources: image files, or bytes (H, W, C); one that cannot be read does not count.
        labels: for each image whether it is abnormal, where that is known of both kinds.

    Raises:
        InputError: fewer than 3 images can be judged, or their scores are all the same.
    """
    scores = np.array([scores_of(detector, sources), scores_of(exported, sources)])  # (2, N)
    judged = np.isfinite(scores).all(0)
    scores = scores[:, judged]
    if scores.shape[1] < 3 or np.ptp(scores[0]) == 0:
        raise InputError(f"{scores.shape[1]} images cannot show what a lower precision costs: give more, and different ones")
    if labels is not None:
        truth = torch.from_numpy(np.asarray(labels, dtype=bool)[judged])
        return Change(auroc(scores[0], truth), auroc(scores[1], truth), scores.shape[1], True)
    from scipy.stats import spearmanr

    return Change(1.0, float(np.nan_to_num(spearmanr(*scores).statistic)), scores.shape[1], False)


def scores_of(predictor: Predictor, sources: Sequence[Path | Pixels]) -> NDArray[np.float64]:
    """Raw scores (N,); NaN where an image cannot be judged."""
    return np.array([np.nan if row.score is None else row.score for row in predictor.predict_iter(sources)])
