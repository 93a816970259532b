"""Two ways to measure the same weights: the honest one, and the published one with its leak."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor, nn

from gannext.data import Split, make_loader
from gannext.detection import Detector, Scoring, score_batches
from gannext.evaluation.metrics import Metrics, auroc, measure
from gannext.runtime import InputError

WHY_THEY_DIFFER = (
    "They differ because the published procedure normalises each test batch by its own statistics, over batches sorted "
    "by label, which gives the label away, and picks its epoch on the test set; the honest one does neither."
)
PUBLISHED_BATCH = 128


def evaluate(detector: Detector, split: Split, batch_size: int = 128, workers: int = 0) -> Metrics:
    """The honest protocol: evaluation mode, raw scores, the calibrated threshold, the test split alone.

    Raises:
        InputError: the test set lacks normal or abnormal images.
    """
    if split.untestable:
        raise InputError(split.untestable.rstrip("."))
    scores = detector.score_batches(make_loader(split.test, batch_size, workers=workers))
    return measure(scores, split.labels, detector.calibration.threshold)


@contextmanager
def batch_statistics(*networks: nn.Module) -> Iterator[None]:
    """Lets every batch norm normalise by the batch at hand, as in training, leaving its running statistics alone."""
    norms = [m for network in networks for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    before = [(m, m.training, m.track_running_stats) for m in norms]
    for m in norms:
        m.training, m.track_running_stats = True, False
    try:
        yield
    finally:
        for m, training, tracked in before:
            m.training, m.track_running_stats = training, tracked


def published_scores(
    generator: nn.Module, discriminator: nn.Module, scoring: Scoring, split: Split
) -> tuple[NDArray[np.float64], Tensor]:
    """The published procedure's scores (N,) in [0, 1] and labels (N,), for comparison with papers only.

    Batch statistics, over batches of 128 sorted by label; the abnormal class's training images are
    tested on too; scores are min-max scaled over the test set.
    """
    abnormal = len(split.abnormal_train)
    batches = (torch.cat(parts) for parts in sorted_batches(split))
    with batch_statistics(generator, discriminator):
        scores = score_batches(generator, discriminator, scoring, batches)
    scores = (scores - scores.min()) / max(float(np.ptp(scores)), np.finfo(float).tiny)
    return scores, torch.cat((split.labels, torch.ones(abnormal, dtype=torch.bool)))


def sorted_batches(split: Split) -> Iterator[list[Tensor]]:
    """The test images and then the abnormal training images, in batches that run on from one to the other."""
    parts: list[Tensor] = []
    for images in (split.test, split.abnormal_train):
        for start in range(0, len(images), PUBLISHED_BATCH):
            block = images.__getitems__(range(start, min(start + PUBLISHED_BATCH, len(images))))
            while len(block):
                room = PUBLISHED_BATCH - sum(map(len, parts))
                parts.append(block[:room])
                block = block[room:]
                if sum(map(len, parts)) == PUBLISHED_BATCH:
                    yield parts
                    parts = []
    if parts:
        yield parts


def published_auroc(detector: Detector, split: Split) -> float:
    """The AUROC that the published procedure gives a detector's weights."""
    if split.untestable:
        raise InputError(split.untestable.rstrip("."))
    return auroc(*published_scores(detector.generator, detector.discriminator, detector.scoring, split))


class BestEpochOnTest(Callback):
    """The published procedure's choice of an epoch: the best AUROC on the test set, after each epoch.

    It reports; it changes neither the training nor the detector.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.best = 0.0
        self.epoch = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        value = auroc(*published_scores(module.generator, module.discriminator, module.recipe.scoring, self.split))
        pl_module.log("published/auroc", value)
        if value > self.best:
            self.best, self.epoch = value, trainer.current_epoch + 1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]
