"""Training from a split to a Detector."""

import datetime
import logging
import platform
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import LightningDataModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gannext import __version__
from gannext.data import EpochSampler, Images, Split, make_loader
from gannext.detection import (
    AnyScoring,
    Detector,
    Neighbours,
    NeighbourScoring,
    calibrate,
    calibrate_tiles,
    find_device,
)
from gannext.networks import NetworkConfig
from gannext.runtime import BITS, HIGHEST, MOST_RATE, Calibration, InputError, PixelCalibration, Tiling, write_atomically
from gannext.training.allocation import freed_memory_kept
from gannext.training.callbacks import LAST, Checkpoints, EpochLines, MetricsTable, Pictures, SaveOnInterrupt, Throughput
from gannext.training.cost import training_macs
from gannext.training.levels import find_levels
from gannext.training.module import GanModule
from gannext.training.recipe import Recipe
from gannext.training.threads import threads_for_pieces

SHOWN_IMAGES = 8
SEEDS = 1 << 32  # NumPy's
# Of a training, for validation, a checkpoint and pictures, about; the last epoch is one too, though nothing is validated then.
MOST_STOPS, FEWEST_STOPS = 50, 8
STEPS_BETWEEN = 100  # two stops, or more: one takes as long as a step or two of a small network


@dataclass(frozen=True)
class TrainConfig:
    """A training, apart from its data.

    Attributes:
        networks: the networks to build.
        recipe: how to train them.
        epochs: passes over the training images.
        max_steps: stop after so many steps, if that comes first.
        fpr: false-positive rate that the detector's threshold keeps.
        pixel_fpr: share of normal pixels that the threshold of its anomaly maps calls abnormal.
        tiling: how pictures are cut into tiles; the split's images are then tiles too.
        seed: of all randomness.
        accelerator: a device as `find_device` names it.
        devices, precision: Lightning's, such as 1 and "32-true".
        workers: processes that decode images which are streamed.
        provenance: what the detector's file shall say of its data.
    """

    networks: NetworkConfig
    recipe: Recipe
    epochs: int
    fpr: float = 0.05
    seed: int = 0
    accelerator: str = "auto"
    devices: int | list[int] = 1
    precision: str = "32-true"
    workers: int = 2
    provenance: dict[str, Any] = field(default_factory=dict)
    max_steps: int | None = None
    pixel_fpr: float = 0.01
    tiling: Tiling | None = None


class Batches(LightningDataModule):
    """The training batches, and the held-out ones; remembers how far into an epoch a run is."""

    def __init__(self, split: Split, config: TrainConfig) -> None:
        super().__init__()
        self.split = split
        self.config = config
        self.position = {"epoch": 0, "start": 0}

    def _loader(self, images: Any, sampler: EpochSampler | None) -> DataLoader[Tensor]:
        pin = torch.cuda.is_available() and self.config.accelerator != "cpu"
        return make_loader(images, self.config.recipe.batch_size, sampler, self.config.workers, pin)

    def train_dataloader(self) -> DataLoader[Tensor]:
        assert self.trainer is not None
        world = self.trainer.world_size
        images = self.split.train
        sampler = EpochSampler(len(images), self.config.seed, self.trainer.global_rank, world, images.shuffle)
        sampler.epoch, sampler.start = self.position["epoch"], self.position["start"]
        return self._loader(images, sampler)

    def val_dataloader(self) -> DataLoader[Tensor]:
        return self._loader(self.split.held_out, None)

    def state_dict(self) -> dict[str, int]:
        assert self.trainer is not None
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if done >= self.trainer.num_training_batches:
            return {"epoch": self.trainer.current_epoch + 1, "start": 0}
        return {"epoch": self.trainer.current_epoch, "start": done * self.config.recipe.batch_size}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.position = state_dict


class PlainDDP(DDPStrategy):
    """Data-parallel processes without torch's DDP wrapper, which allows one backward pass a forward pass; ours are two,
    over one graph, and GanModule averages the gradients itself."""

    def _setup_model(self, model: nn.Module) -> nn.Module:  # type: ignore[override]
        return model


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints that a kill at any moment leaves whole, and that are read without unpickling objects."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(path, lambda file: torch.save(checkpoint, file))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the checkpoint {path} cannot be read ({reason}): start the training anew") from None
        return loaded


def fit(
    config: TrainConfig,
    split: Split,
    run: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    progress: bool | None = None,
) -> Detector:
    """Trains on the split's normal images, calibrates on the held-out ones, and saves the Detector.

    Args:
        config: what to train, and how.
        split: the images, as `gannext.data.load_split` gives them.
        run: the run's folder; it gets `last.ckpt` and `metrics.csv`, `pictures/` and `detector.gannext`.
        resume: go on from the run's `last.ckpt`, where there is one.
        callbacks, loggers: more of Lightning's.
        progress: whether to show a progress bar rather than a line an epoch; by default, on a terminal.

    Raises:
        InputError: fewer images than a batch, a device that is not there, a full disk.
        Diverged: a loss became NaN or infinite.
        Interrupted: Ctrl-C; the state is saved.
    """
    check_training(config, split)
    device = find_device(config.accelerator)
    run.mkdir(parents=True, exist_ok=True)
    if config.recipe.stretched:
        config = replace(config, networks=replace(config.networks, levels=find_levels(split.train)))
    progress = sys.stdout.isatty() if progress is None else progress
    by_pieces = threads_for_pieces() if config.recipe.corruptions else nullcontext()
    with quiet_lightning(), freed_memory_kept(), by_pieces:
        seed_everything(config.seed, workers=True, verbose=False)
        module = GanModule(config.networks, config.recipe, steps_of(config, len(split.train)), config.seed)
        batches = Batches(split, config)
        every = epochs_between_stops(config.epochs, len(split.train) // images_of_a_step(config))
        shown = split.held_out.__getitems__(range(min(SHOWN_IMAGES, len(split.held_out))))
        trainer = Trainer(
            accelerator=device.type,  # Lightning's own "auto" and "gpu" are Apple's too
            devices=config.devices if device.index is None else [device.index],
            strategy=PlainDDP() if device_count(config.devices) > 1 else "auto",
            precision=config.precision,  # type: ignore[arg-type]
            max_epochs=config.epochs,
            check_val_every_n_epoch=every,
            max_steps=2 * config.max_steps if config.max_steps else -1,  # Lightning counts each network's steps
            logger=list(loggers),
            callbacks=[
                Throughput(),
                *callbacks,
                MetricsTable(run / "metrics.csv"),
                SaveOnInterrupt(run / LAST),
                Checkpoints(run / LAST, every),
                Pictures(run / "pictures", shown, every),
                TQDMProgressBar(leave=False) if progress else EpochLines(),
            ],
            plugins=[AtomicCheckpoints()],
            default_root_dir=run,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, len(split.train) // config.recipe.batch_size),
            enable_progress_bar=progress,
            enable_model_summary=False,
        )
        checkpoint = run / LAST
        trainer.fit(module, batches, ckpt_path=checkpoint if resume and checkpoint.exists() else None, weights_only=True)

    # Lightning has put it on the CPU; what is left to do is as much work for a small training as the training.
    detector = calibrated(config, split, module.to(trainer.strategy.root_device))
    if trainer.is_global_zero:
        detector.save(run / "detector.gannext")
    return detector


def calibrated(config: TrainConfig, split: Split, module: GanModule) -> Detector:
    """The Detector of a module's networks, calibrated on the split's held-out images."""
    provenance = {
        **config.provenance,
        "recipe": asdict(config.recipe),
        "epochs": config.epochs,
        "steps": module.steps,
        "train_seconds": round(module.seconds, 1),
        "macs": module.steps * images_of_a_step(config) * training_macs(config.networks, config.recipe),
        "seed": config.seed,
        "trained_on": len(split.train),
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "gannext": __version__,
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "python": platform.python_version(),
        },
    }
    networks = module.detecting_networks()
    scoring = remembered(config, split, *networks)
    detector = Detector(
        config.networks, *networks, scoring, Calibration((0.0,)), provenance, config.tiling, bits=split.bits or BITS[1]
    )
    kind = config.recipe.map
    if config.tiling:
        pictures = [split.held_out.source(i) for i in range(len(split.held_out))]
        scores = calibrate_tiles(detector, pictures, config.fpr, config.pixel_fpr, kind)
    else:
        held_out = make_loader(split.held_out, detector.together(config.recipe.batch_size), workers=config.workers)
        scores = calibrate(detector, held_out, config.fpr, config.pixel_fpr, kind)
    detector.provenance["highest"] = highest(split.held_out, scores)
    return detector.to("cpu")


def highest(images: Images, scores: Sequence[float]) -> list[tuple[str, float]]:
    """The files of the normal images that score highest, the first of all first, and their scores; of images without files
    none."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:HIGHEST]
    sources = ((images.source(i), scores[i]) for i in order)
    return [(str(source), score) for source, score in sources if isinstance(source, Path)]


def remembered(config: TrainConfig, split: Split, generator: nn.Module, discriminator: nn.Module) -> AnyScoring:
    """The recipe's scoring; one by memory is given the split's images to remember."""
    plan = config.recipe.scoring
    if not isinstance(plan, Neighbours):
        return plan
    for network in (generator, discriminator):
        network.eval()
    size, every = config.recipe.batch_size, -(-len(split.train) // plan.most)
    chosen = range(0, len(split.train), every)
    normal = (split.train.__getitems__(chosen[i : i + size]) for i in range(0, len(chosen), size))
    held_out = make_loader(split.held_out, size, workers=config.workers)
    return NeighbourScoring.fit(plan, generator, discriminator, normal, held_out, config.networks.levels)


def epochs_between_stops(epochs: int, steps: int) -> int:
    """How many epochs of so many steps lie between two stops: more than one where they are short and many."""
    return max(1, epochs // MOST_STOPS, min(epochs // FEWEST_STOPS, STEPS_BETWEEN // steps))


def steps_of(config: TrainConfig, images: int) -> int:
    """How many steps a training takes in all."""
    steps = config.epochs * (images // images_of_a_step(config))
    return min(steps, config.max_steps) if config.max_steps else steps


def images_of_a_step(config: TrainConfig) -> int:
    """How many images all devices see in a step."""
    return config.recipe.batch_size * device_count(config.devices)


def device_count(devices: int | list[int]) -> int:
    """How many devices train together."""
    return devices if isinstance(devices, int) else len(devices)


def check_training(config: TrainConfig, split: Split) -> None:
    """Raises InputError where `fit` could not even start, or could not end: too few images, a device that is not there, or a
    rate of false alarms that no calibration can keep."""
    if not 0 <= config.seed < SEEDS:
        raise InputError(f"seed {config.seed} is out of range: give one from 0 to {SEEDS - 1}")
    Calibration((0.0,), config.fpr)
    PixelCalibration((MOST_RATE,), (0.0,), config.pixel_fpr)
    if find_device(config.accelerator).type == "cuda":
        for index in config.devices if isinstance(config.devices, list) else range(config.devices):
            find_device(f"cuda:{index}")
    if config.precision == "16-mixed" and (config.accelerator == "cpu" or not torch.cuda.is_available()):
        raise InputError("precision 16-mixed needs a GPU: pass bf16-mixed or 32-true on the CPU")
    if not len(split.held_out):
        raise InputError("no normal images are held out to calibrate the detector on: add some")
    devices = device_count(config.devices)
    unit = "tiles an epoch" if config.tiling else "images"
    if len(split.train) < devices:
        raise InputError(
            f"{len(split.train)} {unit} to train on are fewer than the {devices} devices: pass a smaller --devices"
        )
    if len(split.train) < images_of_a_step(config):
        batch = f"a batch of {config.recipe.batch_size}" + (f" for each of {devices} devices" if devices > 1 else "")
        raise InputError(
            f"{len(split.train)} {unit} to train on are fewer than {batch}: "
            f"add images, or pass --batch-size {max(1, min(16, len(split.train) // devices))}"
        )
    if isinstance(config.recipe.scoring, Neighbours) and min(len(split.train), len(split.held_out)) < 2:
        raise InputError(
            f"{len(split.train)} images to train on and {len(split.held_out)} held out are too few to compare others with: "
            "add normal images"
        )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keeps Lightning's hints out of the terminal; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
