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
from gannext.detection import AnyScoring, Detector, score_batches
from gannext.evaluation.metrics import Metrics, auroc, measure
from gannext.networks import Levels
from gannext.runtime import InputError

PUBLISHED_BATCH = 128
NO_TILES = "the published protocol knows no tiles: leave --protocol out, or train without --tile"


def evaluate(
    detector: Detector, split: Split, batch_size: int = 128, workers: int = 0, scores: NDArray[np.float64] | None = None
) -> Metrics:
    """The honest protocol: evaluation mode, raw scores, the calibrated threshold, the test split alone.

    Args:
        detector, split: what to measure, and on what.
        batch_size, workers: see `scores_of_test`.
        scores: what `scores_of_test` gave, where it was called before.

    Raises:
        InputError: the test set lacks normal or abnormal images.
    """
    split.check_testable()
    scores = scores_of_test(detector, split, batch_size, workers) if scores is None else scores
    return measure(scores, split.labels, detector.calibration.threshold)


def scores_of_test(detector: Detector, split: Split, batch_size: int = 128, workers: int = 0) -> NDArray[np.float64]:
    """Raw scores (N,) of the test images, of a detector with tiles by their whole pictures.

    Args:
        detector, split: what to measure, and on what.
        batch_size: images or tiles that go through the networks together; of large ones fewer do.
        workers: processes that decode streamed images.

    Raises:
        InputError: a picture can no longer be read.
    """
    if detector.tiling is None:
        return detector.score_batches(make_loader(split.test, detector.together(batch_size), workers=workers))
    scores = []
    for prediction in detector.predict_iter((split.test.source(i) for i in range(len(split.test))), batch_size=batch_size):
        if prediction.score is None:
            raise InputError(str(prediction.error))
        scores.append(prediction.score)
    return np.asarray(scores)


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
    generator: nn.Module,
    discriminator: nn.Module,
    scoring: AnyScoring,
    split: Split,
    shuffle: int | None = None,
    levels: Levels = (),
) -> tuple[NDArray[np.float64], Tensor]:
    """The published procedure's scores (N,) in [0, 1] and labels (N,), for comparison with papers only.

    Batch statistics, over batches of 128 sorted by label; the abnormal class's training images are
    tested on too; scores are min-max scaled over the test set.

    Args:
        generator, discriminator, scoring: as a Detector holds them.
        split: the images.
        shuffle: a seed to shuffle the test images by instead of sorting them, which takes the leak away.
        levels: the networks'.
    """
    labels = torch.cat((split.labels, torch.ones(len(split.abnormal_train), dtype=torch.bool)))
    order = torch.arange(len(labels))
    if shuffle is not None:
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(shuffle))
    # Within a batch the order is free: ascending positions keep the images of either source together.
    batches = [batch.sort().values for batch in order.split(PUBLISHED_BATCH)]
    with batch_statistics(generator, discriminator):
        pixels = (batch_at(split, batch.tolist()) for batch in batches)
        scores = score_batches(generator, discriminator, scoring, pixels, levels)
    scores = (scores - scores.min()) / max(float(np.ptp(scores)), np.finfo(float).tiny)
    return scores, labels[torch.cat(batches)]


def batch_at(split: Split, positions: list[int]) -> Tensor:
    """Images at ascending positions among the test images and, counted on, the abnormal training images."""
    tested = sum(position < len(split.test) for position in positions)
    parts = [split.test.__getitems__(positions[:tested])] if tested else []
    if tested < len(positions):
        parts.append(split.abnormal_train.__getitems__([p - len(split.test) for p in positions[tested:]]))
    return torch.cat(parts)


def published_auroc(detector: Detector, split: Split, shuffle: int | None = None) -> float:
    """The AUROC that the published procedure gives a detector's weights; `shuffle` as in `published_scores`.

    Raises:
        InputError: the detector has tiles, which the published procedure does not know, or a class is missing.
    """
    if detector.tiling:
        raise InputError(NO_TILES)
    split.check_testable()
    networks = detector.generator, detector.discriminator
    return auroc(*published_scores(*networks, detector.scoring, split, shuffle, detector.config.levels))


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
        generator, discriminator = module.detecting_networks()
        scoring, levels = module.recipe.scoring, module.networks.levels
        value = auroc(*published_scores(generator, discriminator, scoring, self.split, levels=levels))
        pl_module.log("published/auroc", value)
        if value > self.best:
            self.best, self.epoch = value, trainer.current_epoch + 1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.epoch = state_dict["best"], state_dict["epoch"]
