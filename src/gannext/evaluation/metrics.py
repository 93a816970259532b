"""Accuracy of scores against labels, by torchmetrics."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    binary_eer,
    binary_f1_score,
    binary_stat_scores,
)

from gannext.runtime import InputError


@dataclass(frozen=True)
class Metrics:
    """How well scores tell abnormal images (the positive class) from normal ones.

    Attributes:
        auroc: area under the ROC curve.
        average_precision: area under the precision-recall curve, as average precision.
        eer: equal error rate, where false-positive and false-negative rates meet.
        f1, tpr, fpr: at the threshold: F1 score, true-positive and false-positive rate.
        threshold: scores above it are called abnormal.
        normal, abnormal: numbers of test images.
    """

    auroc: float
    average_precision: float
    eer: float
    f1: float
    tpr: float
    fpr: float
    threshold: float
    normal: int
    abnormal: int

    def as_dict(self) -> dict[str, float]:
        """The metrics by name, for JSON."""
        return asdict(self)


def measure(scores: NDArray[np.float64], labels: Tensor, threshold: float) -> Metrics:
    """Measures scores (N,) against labels (N,), True for abnormal, with a threshold chosen beforehand.

    Raises:
        InputError: one of the two classes is missing, or a score is not finite.
    """
    check(scores, labels)
    ranks, target = as_ranks(scores), labels.long()
    verdicts = torch.from_numpy(scores > threshold)
    tp, fp, tn, fn, _ = binary_stat_scores(verdicts.long(), target).tolist()
    return Metrics(
        auroc=float(binary_auroc(ranks, target)),
        average_precision=float(binary_average_precision(ranks, target)),
        eer=float(binary_eer(ranks, target)),
        f1=float(binary_f1_score(verdicts.long(), target)),
        tpr=tp / (tp + fn),
        fpr=fp / (fp + tn),
        threshold=threshold,
        normal=fp + tn,
        abnormal=tp + fn,
    )


def auroc(scores: NDArray[np.float64], labels: Tensor) -> float:
    """The area under the ROC curve alone; raises InputError as `measure` does."""
    check(scores, labels)
    return float(binary_auroc(as_ranks(scores), labels.long()))


def check(scores: NDArray[np.float64], labels: Tensor) -> None:
    """Raises InputError where accuracy is not defined."""
    if not labels.any() or labels.all():
        missing = "normal" if labels.any() else "abnormal"
        raise InputError(f"the test set holds no {missing} image, so there is no accuracy to measure")
    if not np.isfinite(scores).all():
        raise InputError("some scores are NaN or infinite, so there is no accuracy to measure: train again")


def as_ranks(scores: NDArray[np.float64]) -> Tensor:
    """Scores as ranks in [0, 1], ties kept. torchmetrics would put scores beyond [0, 1] through a sigmoid in single
    precision, where neighbours fall together."""
    _, rank = np.unique(scores, return_inverse=True)
    return torch.from_numpy(rank.astype(np.float64) / max(len(scores) - 1, 1))
