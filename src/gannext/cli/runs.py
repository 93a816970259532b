"""A training's folder: a new one, or an older one to go on with, by the options that it keeps."""

import argparse
import os
import time
from pathlib import Path
from typing import Any

from gannext.cli.options import Options, from_yaml, is_first_process
from gannext.runtime import InputError, as_option

LAST_RUN = "last"
RUN_OF_OTHER_RANKS = "GANNEXT_RUN"
FREE_ON_RESUME = frozenset(
    {"config", "resume", "epochs", "display", "device", "devices", "gpu_ids", "workers", "output", "fpr", "pixel_fpr"}
)


def new_run(args: argparse.Namespace, dataset: str) -> Path:
    """A folder for this run; of several processes, the first one chooses."""
    if RUN_OF_OTHER_RANKS in os.environ and not is_first_process():
        return Path(os.environ[RUN_OF_OTHER_RANKS])
    parent: Path = args.output / args.model / dataset
    name = time.strftime("%Y-%m-%d_%H-%M-%S")
    taken = sum(1 for _ in parent.glob(f"{name}*"))
    return parent / (f"{name}_{taken + 1}" if taken else name)


def make_folder(folder: Path) -> None:
    """Makes the run's folder; raises InputError where that may not be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made ({error.strerror}): pass another place with --output") from None


def find_run(args: argparse.Namespace, dataset: str) -> Path:
    """The run to go on with."""
    if args.resume != LAST_RUN:
        folder = Path(args.resume)
        folder = folder.parent if folder.is_file() else folder
        if not (folder / "config.yaml").exists():
            raise InputError(f"{folder} holds no run to resume (no config.yaml): name a folder that `gannext train` made")
        return folder
    parent = args.output / args.model / dataset
    runs = sorted(path.parent for path in parent.glob("*/config.yaml"))
    if not runs:
        raise InputError(f"{parent} holds no run to resume: start one without --resume, or name the run's folder")
    return Path(runs[-1])


def resumed_arguments(args: Options, folder: Path) -> Options:
    """The run's own options; of those given now, only the ones that leave the training's course alone may differ."""
    from gannext.cli.main import command_parser

    parser = command_parser("train", "gannext train")
    stored = parser.parse(from_yaml(folder / "config.yaml", parser))
    together = devices_of(stored)
    for name in sorted(args.given - {"config", "resume"}):
        given = getattr(args, name)
        if given == getattr(stored, name) or (name == "recipe" and stored.recipe.startswith(f"{given}-")):
            continue  # "robust" has chosen the one that is stored
        if name not in FREE_ON_RESUME:
            raise InputError(
                f"the run in {folder} was started with --{name.replace('_', '-')} {getattr(stored, name)}, not {given}: "
                "leave it out, or start a new run without --resume"
            )
        setattr(stored, name, given)
    if devices_of(stored) != together:  # which would have other images in each step
        raise InputError(f"the run in {folder} was trained on {together} devices, not {devices_of(stored)}: train on as many")
    stored.resume = str(folder)
    return stored


def devices_of(args: argparse.Namespace) -> int:
    """How many devices the options ask for."""
    return len(args.gpu_ids or ()) or int(args.devices)


def as_yaml(args: argparse.Namespace) -> str:
    """The options as a file for --config."""
    import yaml

    def plain(name: str, value: Any) -> Any:
        if value == []:  # of GPUs
            return "-1"
        return as_option(name, value) if isinstance(value, (tuple, list, Path)) else value

    chosen = {name: plain(name, value) for name, value in vars(args).items() if name not in ("config", "resume")}
    return yaml.safe_dump({n: v for n, v in chosen.items() if v is not None and v is not False}, sort_keys=False)
