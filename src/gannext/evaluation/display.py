"""The live display: TensorBoard with losses, AUROC, score histograms and pictures."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from gannext.data import Split
from gannext.detection import AnyScoring, Neighbours, NeighbourScoring, score_batches
from gannext.evaluation.metrics import auroc
from gannext.networks import Levels
from gannext.runtime import InputError
from gannext.training import reconstruction_grid

FOLDER = "tensorboard"
WATCHED = 256  # images of either kind that are scored after each epoch
REMEMBERED = 512  # training images that a score by memory compares them with
BATCH = 64
SHOWN = 8  # images of either kind that are shown


class Board(TensorBoardLogger):
    """TensorBoard events of a run, without Lightning's count of epochs, which would stand before the losses."""

    def __init__(self, run: Path) -> None:
        super().__init__(run, name=None, version=FOLDER)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


class Display(Callback):
    """Adds to TensorBoard, after each epoch, what a person wants to watch.

    The AUROC is for watching alone: nothing is decided by it.
    """

    def __init__(self, split: Split) -> None:
        normal = torch.nonzero(~split.labels).flatten().tolist()
        abnormal = torch.nonzero(split.labels).flatten().tolist()
        self.kinds = {
            "normal": split.test.__getitems__(normal[:WATCHED]) if normal else split.held_out.__getitems__(
                range(min(WATCHED, len(split.held_out)))
            ),
        }  # fmt: skip
        if abnormal:
            self.kinds["abnormal"] = split.test.__getitems__(abnormal[:WATCHED])
        self.train = split.train.__getitems__(range(min(REMEMBERED, len(split.train))))
        self.held_out = split.held_out.__getitems__(range(min(WATCHED, len(split.held_out))))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module: Any = pl_module
        board = next(log.experiment for log in trainer.loggers if isinstance(log, TensorBoardLogger))
        networks: tuple[nn.Module, nn.Module] = module.detecting_networks()
        levels = module.networks.levels
        modes = [network.training for network in networks]
        scores = {}
        for network in networks:
            network.eval()
        scoring = self.scoring(module.recipe.scoring, *networks, levels)
        for kind, images in self.kinds.items():
            scores[kind] = torch.from_numpy(score_batches(*networks, scoring, images.split(BATCH), levels))
            board.add_histogram(f"score/{kind}", scores[kind], module.steps)
            grid = reconstruction_grid(networks[0], images[:SHOWN], levels)
            grid = nn.functional.interpolate(grid[None], scale_factor=3.0)[0]  # small images are hard to see
            board.add_image(f"input, reconstruction, difference/{kind}", grid, module.steps)
        for network, training in zip(networks, modes, strict=True):
            network.train(training)
        if len(scores) == 2:
            labels = torch.cat([torch.full((len(s),), kind == "abnormal") for kind, s in scores.items()])
            value = auroc(torch.cat(list(scores.values())).numpy(), labels)
            board.add_scalar("AUROC/test images, for watching only", value, module.steps)
        board.flush()

    def scoring(self, plan: Any, generator: nn.Module, discriminator: nn.Module, levels: Levels) -> AnyScoring:
        """The recipe's scoring of the networks as they are now; one by memory remembers a few images alone."""
        if not isinstance(plan, Neighbours):
            return cast(AnyScoring, plan)
        batches = self.train.split(BATCH), self.held_out.split(BATCH)
        return NeighbourScoring.fit(plan, generator, discriminator, *batches, levels)


def open_display(run: Path) -> str:
    """Starts TensorBoard on a run's events, in this process, and returns its address.

    Raises:
        InputError: no port is free.
    """
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard import program

    board = program.TensorBoard()
    board.configure(logdir=str(run / FOLDER), host="localhost", reload_interval=5.0)
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise InputError(f"the display cannot start ({error}): leave out --display") from None
