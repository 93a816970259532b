"""The benchmark: models, seeds and the classes of one data set, or a folder's data sets, each combination a cell that is run
once."""

import hashlib
import multiprocessing
import os
import shlex
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from gannext import __version__
from gannext.data import DATASETS, DataConfig, Split, image_folders, load_split
from gannext.detection import Detector, find_device
from gannext.evaluation.floors import FLOORS, floor_scores
from gannext.evaluation.inspect import inspect
from gannext.evaluation.metrics import measure
from gannext.evaluation.protocols import evaluate, published_auroc
from gannext.evaluation.table import PROTOCOLS, Row
from gannext.networks import MODELS, measure_cost
from gannext.runtime import InputError, as_option, unknown
from gannext.training import (
    LAST,
    RECIPES,
    Interrupted,
    TrainConfig,
    check_recipe,
    find_recipe,
    fit,
    kind_of_split,
    length_of_training,
    size_for_folder,
)

DEFAULT_RECIPE = "published"


@dataclass(frozen=True)
class Settings:
    """What all cells of a benchmark share. The options of `gannext train` of the same names say more.

    Attributes:
        dataset, data_root: a name in DATASETS and where its files are, or a folder of image folders, and its name.
        image_size: height and width; None for 32x32, or in a folder for its images' own, of 128x128's pixels at most.
        channels, train_images, test_images: the images.
        dim: width of every generator; None for each model's own.
        epochs, budget: how long to train: passes over the images, or MACs in all.
        batch_size, lr: instead of the recipe's.
        device: where to train and score.
        protocols: keys of PROTOCOLS to measure the same weights by.
    """

    dataset: str
    data_root: Path | None = None
    image_size: tuple[int, int] | None = None
    channels: int = 3
    train_images: int | None = None
    test_images: int | None = None
    dim: int | None = None
    epochs: int | None = None
    budget: float | None = None
    batch_size: int | None = None
    lr: float | None = None
    device: str = "auto"
    protocols: tuple[str, ...] = tuple(PROTOCOLS)

    @property
    def folders(self) -> dict[str, Path] | None:
        """The image folders that take turns, by name; None where a labelled data set's classes are left out instead."""
        return None if self.dataset in DATASETS or self.data_root is None else image_folders(self.data_root)

    def size_of(self, abnormal_class: str) -> tuple[int, int]:
        """Height and width of a cell's images, the same for all models."""
        if self.image_size:
            return self.image_size
        return folder_size(self.folders[abnormal_class]) if self.folders else DataConfig.size

    def options(self, *but: str) -> list[str]:
        """The options of the command line that say the same, but for protocols, device, and those named."""
        names = [field.name for field in fields(self) if field.name not in ("device", "protocols", *but)]
        given = {name: getattr(self, name) for name in names}
        return [word for n, v in given.items() if v is not None for word in (f"--{n.replace('_', '-')}", as_option(n, v))]


@dataclass(frozen=True)
class Cell:
    """One training, or one floor: a model (`name` or `name/recipe`), the class left out, or which of a folder's data sets, and
    a seed."""

    model: str
    abnormal_class: str
    seed: int

    @property
    def name(self) -> str:
        """The model's name without the recipe."""
        return self.model.partition("/")[0]

    @property
    def recipe(self) -> str:
        """The name of the recipe that a GAN is trained by; empty for a floor."""
        return "" if self.is_floor else self.model.partition("/")[2] or DEFAULT_RECIPE

    @property
    def is_floor(self) -> bool:
        """Whether it is one of FLOORS rather than a GAN."""
        return self.name in FLOORS

    def command(self, settings: Settings) -> str:
        """The command that reproduces this cell alone."""
        settings = replace(settings, image_size=settings.size_of(self.abnormal_class))
        seed = ["--seed", str(self.seed)]
        if self.is_floor:
            data = replace(settings, dim=None, epochs=None, budget=None, batch_size=None, lr=None)
            own = ["gannext", "benchmark", "--models", self.name, "--classes", self.abnormal_class, "--seeds", str(self.seed)]
            return shlex.join([*own, *data.options()])
        own = ["gannext", "train", "--model", self.name, "--recipe", self.recipe]
        if folders := settings.folders:
            return shlex.join(
                [*own, "--data-root", str(folders[self.abnormal_class]), *seed, *settings.options("dataset", "data_root")]
            )
        return shlex.join([*own, "--abnormal-class", self.abnormal_class, *seed, *settings.options()])


@cache
def folder_size(folder: Path) -> tuple[int, int]:
    """Height and width that surfaces in an image folder are looked at in; the least where it has nothing to train on."""
    try:
        return size_for_folder(DataConfig(root=folder), RECIPES["robust-textures"].side)
    except InputError:  # which the cell's row will say
        return DataConfig.size


def check_models(models: Sequence[str]) -> None:
    """Raises InputError for a name that is neither a model nor a floor, or a recipe that there is not."""
    for model in models:
        name, _, recipe = model.partition("/")
        if name not in MODELS and name not in FLOORS:
            raise unknown("model", name, (*MODELS, *FLOORS))
        if name in MODELS:
            check_recipe(recipe or DEFAULT_RECIPE, name)
        elif recipe:
            raise InputError(f"{name} is a floor and has no recipe: leave out /{recipe}")


def run_cells(settings: Settings, cells: Sequence[Cell], folder: Path, jobs: int) -> Iterator[Row]:
    """Runs cells, `jobs` of them side by side, and yields their rows as they finish.

    Each job is a process of its own with its share of the processor's cores, or OMP_NUM_THREADS if that is less, so that a
    cell that takes its process down with it is a failed row, and the others go on.

    Args:
        settings: what the cells share.
        cells: which to run.
        folder: where each cell keeps its run; one that was interrupted goes on from there.
        jobs: processes.
    """
    waiting = deque(cells)
    running: dict[Future[Row], tuple[Cell, ProcessPoolExecutor]] = {}
    idle: list[ProcessPoolExecutor] = []
    threads = threads_of_each(jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                worker = idle.pop() if idle else start_worker(threads)
                cell = waiting.popleft()
                running[worker.submit(run_cell, settings, cell, folder)] = (cell, worker)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                cell, worker = running.pop(future)
                try:
                    row = future.result()
                    idle.append(worker)
                except BrokenProcessPool:
                    worker.shutdown()
                    row = failed(settings, cell, "its process was killed, most likely for want of memory")
                yield row
    finally:
        for worker in [*idle, *(worker for _, worker in running.values())]:
            worker.shutdown(cancel_futures=True)


def usable_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_each(jobs: int) -> int:
    """How many threads each of so many processes computes with."""
    share, asked = max(1, usable_cores() // jobs), os.environ.get("OMP_NUM_THREADS", "")
    # More threads than the caller grants would wait for one another: beside another program, 30 times as long was measured.
    return min(share, int(asked)) if asked.isdecimal() and int(asked) else share


def start_worker(threads: int) -> ProcessPoolExecutor:
    """One process that computes with so many threads."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        worker = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_start, initargs=(threads,))
        worker.submit(os.getpid).result()  # the process exists now, with that environment
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    return worker


def _start(threads: int) -> None:
    import signal

    import torch

    # Ctrl-C reaches every process of the terminal: a training answers it by saving, and all else by finishing first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def run_cell(settings: Settings, cell: Cell, folder: Path) -> Row:
    """Runs a cell to its row; a failure is a row that says so."""
    run = folder / f"{cell.name}_{cell.abnormal_class}_{cell.seed}_{digest(cell.command(settings))}"
    run.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    try:
        with (run / "log.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                row = run_floor(settings, cell) if cell.is_floor else run_gan(settings, cell, run)
            except Exception:
                traceback.print_exc()
                raise
    except Interrupted:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return failed(settings, cell, reason)
    return replace(row, seconds=time.perf_counter() - start)


def digest(text: str) -> str:
    """Eight characters that tell the settings of one run from another's."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def run_floor(settings: Settings, cell: Cell) -> Row:
    """Fits and scores a floor."""
    split = load_split(data_of(settings, cell))
    split.check_testable()
    start = time.perf_counter()
    scores = floor_scores(cell.name, split, cell.seed)
    metrics = measure(scores, split.labels, float("inf"))
    return replace(
        described(settings, cell, split),
        train_seconds=time.perf_counter() - start,
        auroc=metrics.auroc,
        average_precision=metrics.average_precision,
    )


def run_gan(settings: Settings, cell: Cell, run: Path) -> Row:
    """Trains a GAN, or takes the detector that an earlier run of this very cell left, and measures it."""
    split = load_split(data_of(settings, cell))
    split.check_testable()  # before hours of training, not after
    file = run / "detector.gannext"
    detector = Detector.load(file) if file.exists() else fit(train_config(settings, cell, split), split, run, resume=True)
    (run / LAST).unlink(missing_ok=True)
    detector.to(find_device(settings.device))
    found = inspect(detector, split) if split.has_masks else None
    metrics = evaluate(detector, split, scores=found.scores if found else None)
    measured: dict[str, Any] = {"auroc": metrics.auroc, "average_precision": metrics.average_precision}
    if found and found.localisation:
        measured |= {"pixel_auroc": found.localisation.auroc, "aupro": found.localisation.aupro}
    if "published" in settings.protocols:
        measured["auroc_published"] = published_auroc(detector, split)
    if "shuffled" in settings.protocols:
        measured["auroc_shuffled"] = published_auroc(detector, split, shuffle=cell.seed)
    networks, made = detector.config, detector.provenance
    return replace(
        described(settings, cell, split),
        steps=made["steps"],
        macs=made["macs"],
        train_seconds=made["train_seconds"],
        parameters=measure_cost(networks.build_generator, networks.channels, networks.size).parameters,
        **measured,
    )


def train_config(settings: Settings, cell: Cell, split: Split) -> TrainConfig:
    """The training of a GAN's cell."""
    changes = {name: getattr(settings, name) for name in ("batch_size", "lr") if getattr(settings, name) is not None}
    recipe = find_recipe(cell.recipe, cell.name, lambda: kind_of_split(split)).for_images(len(split.train))
    recipe = replace(recipe, **changes)
    options = {} if settings.dim is None else {"dim": settings.dim}
    networks = recipe.networks(cell.name, settings.size_of(cell.abnormal_class), settings.channels, options)
    epochs, max_steps = length_of_training(
        networks, recipe, settings.dataset, len(split.train), settings.epochs, settings.budget
    )
    provenance = {"command": cell.command(settings)}
    return TrainConfig(
        networks, recipe, epochs, seed=cell.seed, accelerator=settings.device, provenance=provenance, max_steps=max_steps
    )


def data_of(settings: Settings, cell: Cell) -> DataConfig:
    """The data of a cell."""
    size, most = settings.size_of(cell.abnormal_class), (settings.train_images, settings.test_images)
    if folders := settings.folders:
        return DataConfig(cell.abnormal_class, folders[cell.abnormal_class], None, size, settings.channels, *most, cell.seed)
    return DataConfig(settings.dataset, settings.data_root, cell.abnormal_class, size, settings.channels, *most, cell.seed)


def described(settings: Settings, cell: Cell, split: Split | None = None) -> Row:
    """A row without results."""
    import torch

    return Row(
        dataset=settings.dataset,
        model=cell.name,
        recipe=cell.recipe,
        abnormal_class=cell.abnormal_class,
        seed=cell.seed,
        train_images=len(split.train) if split else None,
        test_normal=int((~split.labels).sum()) if split else None,
        test_abnormal=int(split.labels.sum()) if split else None,
        version=f"gannext {__version__}, torch {torch.__version__}",
        command=cell.command(settings),
    )


def failed(settings: Settings, cell: Cell, reason: str) -> Row:
    """The row of a cell that gave no result."""
    return replace(described(settings, cell), status=f"failed: {reason}")


def wanted_columns(settings: Settings, cell: Cell) -> list[str]:
    """The columns of results that a finished cell has."""
    return ["auroc"] if cell.is_floor else [PROTOCOLS[protocol] for protocol in settings.protocols]


def unfinished(settings: Settings, cells: Sequence[Cell], rows: Sequence[Row]) -> list[Cell]:
    """The cells that no row has the results of yet.

    Raises:
        InputError: a row holds the same model, class and seed made with other settings.
    """
    found = {row.key: row for row in rows if row.status == "ok"}
    left = []
    for cell in cells:
        row = found.get((settings.dataset, cell.name, cell.recipe, cell.abnormal_class, cell.seed))
        if row is not None and row.command != cell.command(settings):
            raise InputError(
                f"the results there hold {cell.model} on {cell.abnormal_class}, seed {cell.seed}, made by `{row.command}`, "
                "which differs from what is asked for now: pass the same options, or another --output"
            )
        if row is None or any(getattr(row, column) is None for column in wanted_columns(settings, cell)):
            left.append(cell)
    return left
