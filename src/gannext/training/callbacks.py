"""What watches a training: its speed, its table of metrics, its pictures, and Ctrl-C."""

import csv
import io
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from torch import Tensor, nn
from torchvision.utils import make_grid, save_image

from gannext.detection import denormalise, normalise
from gannext.networks import Levels, reconstruct
from gannext.runtime import InputError, as_duration, write_text

LAST = "last.ckpt"
LOSS = "loss/generator_epoch"  # which is missing where a run goes on after its last step


class Interrupted(InputError):
    """The user pressed Ctrl-C; the run's state is saved."""


class Throughput(Callback):
    """Logs images per second, and the share of the time that training waited for data."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset()  # a run that goes on within an epoch has no start of that epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset()

    def _reset(self) -> None:
        self.images, self.waited = 0, 0.0
        self.started = self.ended = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        self.waited += time.perf_counter() - self.ended
        self.images += len(batch)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        took = self.ended - self.started
        if took > 0:
            pl_module.log("speed/images_per_second", self.images * trainer.world_size / took)
            pl_module.log("speed/data_wait", self.waited / took)


def epoch_metrics(trainer: Trainer) -> dict[str, float]:
    """What this epoch logged. Of an epoch that was not validated, or that a budget ends early, Lightning shows the value of an
    earlier one."""
    cut_short = trainer.fit_loop.epoch_loop.batch_progress.current.completed < trainer.num_training_batches
    validated = not cut_short and (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    skipped = set() if validated else {"loss/held_out_l1"}
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name not in skipped}


class EpochLines(Callback):
    """Prints a line an epoch, where the output goes into a file and a progress bar would fill it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started, self.steps_before = time.perf_counter(), cast(int, pl_module.steps)

    def time_left(self, pl_module: LightningModule) -> str:
        """What the rest of the training takes, if it goes on as it went."""
        steps, total = cast(int, pl_module.steps), cast(int, pl_module.total_steps)
        return as_duration((time.perf_counter() - self.started) / (steps - self.steps_before) * (total - steps))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = epoch_metrics(trainer)
        if trainer.is_global_zero and LOSS in value:
            held_out = f"held-out L1 {value['loss/held_out_l1']:.4f}  " if "loss/held_out_l1" in value else ""
            print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  G {value[LOSS]:.3f}  "
                f"D {value['loss/discriminator_epoch']:.3f}  {held_out}"
                f"{value.get('speed/images_per_second', float('nan')):.0f} images/s  {self.time_left(pl_module)} left",
                flush=True,
            )


class MetricsTable(Callback):
    """Writes metrics.csv, a row an epoch; a resumed run goes on in the same table.

    Lightning's CSVLogger deletes the table of the run that it resumes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows: list[dict[str, Any]] = []
        if trainer.is_global_zero and trainer.current_epoch > 0 and self.path.exists():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = {n: v for n, v in epoch_metrics(trainer).items() if "_step" not in n and n not in ("G", "D")}
        if not trainer.is_global_zero or LOSS not in values:
            return
        values = {n.removesuffix("_epoch"): v for n, v in values.items()}
        self.rows.append({"epoch": trainer.current_epoch + 1, "step": pl_module.steps, **values})
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in self.rows for name in row)))
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(self.path, text.getvalue())


def is_stop(trainer: Trainer, every: int) -> bool:
    """Whether the epoch that ends is one of every so many, or the last one."""
    epoch = trainer.current_epoch + 1
    return epoch % every == 0 or epoch == trainer.max_epochs or 0 <= trainer.max_steps <= trainer.global_step


class Checkpoints(Checkpoint):
    """Saves the run's state every so many epochs, and at its end, which Lightning's own ModelCheckpoint would leave out."""

    def __init__(self, path: Path, every: int) -> None:
        self.path = path
        self.every = every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_stop(trainer, self.every):
            trainer.save_checkpoint(self.path)


class Pictures(Callback):
    """Saves held-out images, their reconstructions and the differences.

    Args:
        folder: where `epoch_0001.png` and so on go.
        images: bytes (N, C, H, W) to show, a handful.
        every: after how many epochs each time; after the last one too.
    """

    def __init__(self, folder: Path, images: Tensor, every: int) -> None:
        self.folder = folder
        self.images = images
        self.every = every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and len(self.images) and is_stop(trainer, self.every):
            self.folder.mkdir(parents=True, exist_ok=True)
            module: Any = pl_module
            grid = reconstruction_grid(module.detecting_networks()[0], self.images, module.networks.levels)
            save_image(grid.float() / 255, self.folder / f"epoch_{trainer.current_epoch + 1:04d}.png")


def reconstruction_grid(generator: nn.Module, images: Tensor, levels: Levels = ()) -> Tensor:
    """Bytes (3, height, width): a row of images, a row of reconstructions, a row of absolute differences."""
    training, device = generator.training, next(generator.parameters()).device
    generator.eval()
    with torch.no_grad():
        x_hat = denormalise(reconstruct(generator, normalise(images.to(device), levels)), levels).cpu()
    generator.train(training)
    difference = (images.int() - x_hat.int()).abs().to(torch.uint8)
    return make_grid(torch.cat((images, x_hat, difference)), nrow=len(images), padding=1, pad_value=128)


class SaveOnInterrupt(Callback):
    """Lets the step in hand finish on Ctrl-C, saves, and stops; a second Ctrl-C stops at once.

    Stopping between two steps matters: in the middle of one, the generator may already have moved
    and the discriminator not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.asked = False
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGINT, self._ask)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._give_back()  # Lightning does not tear down then

    def _give_back(self) -> None:
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == self._ask:
            signal.signal(signal.SIGINT, self.previous)

    def _ask(self, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Tensor, batch_idx: int) -> None:
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            trainer.save_checkpoint(self.path)
            raise Interrupted(f"stopped at step {pl_module.steps} (epoch {trainer.current_epoch + 1}) and saved {self.path}")
