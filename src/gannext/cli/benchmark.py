"""Compares models on one data set, each class abnormal in turn, or on a folder of image folders such as MVTec AD, by several
seeds and protocols, beside simple floors. It goes on where it stopped, and writes results.csv, results.md and plots."""

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext.cli.options import Options, add_device_option, number, positive, seed, show, size, warn
from gannext.runtime import InputError, as_duration, as_option, unknown, write_text

if TYPE_CHECKING:
    from gannext.evaluation import Cell, Row

GANS = "gannext,skipganomaly,ganomaly,anotrans"
FLOORS = "knn,pca,isolation-forest,one-class-svm,brightness"
COLOUR = 3  # channels of a folder's images, where nobody says otherwise
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"train_images": 512, "test_images": 200, "dim": 4, "batch_size": 32, "budget": 5e10},
    "cpu": {"train_images": 5120, "test_images": 2000, "dim": 16, "budget": 4e12},
    "paper": {"seeds": (0, 1, 2)},
}
SMOKE_CLASSES = {"fashion_mnist": ["sneaker", "bag"]}  # of other data sets, the first two
SETTINGS = ("data_root", "image_size", "train_images", "test_images", "dim", "epochs", "budget", "batch_size", "lr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext benchmark`."""
    cells = parser.add_argument_group("what is compared")
    cells.add_argument(
        "--dataset",
        metavar="NAME",
        help="digits (the default), mnist, fashion_mnist, cifar10 or stl10, or a folder of image folders in ./data",
    )
    cells.add_argument(
        "--preset",
        metavar="NAME",
        help="options that those given here override; smoke: two classes, minutes; cpu: an hour or two on 2 cores; "
        "paper: the papers' sizes and epochs, for a GPU",
    )
    cells.add_argument(
        "--models",
        type=names,
        default=[*GANS.split(","), *FLOORS.split(",")],
        metavar="NAME,...",
        help=f"of {GANS} (with /RECIPE for another recipe than the published), and of the floors {FLOORS} (default: all)",
    )
    cells.add_argument(
        "--classes",
        type=names,
        metavar="CLASS,...",
        help="classes left out, by name or index, or a folder's data sets (default: each)",
    )
    cells.add_argument("--seeds", type=seeds, metavar="N,...", help="seeds (default: 0)")
    cells.add_argument(
        "--protocols",
        type=names,
        default=["honest", "published", "shuffled"],
        metavar="NAME,...",
        help="ways to score the same weights (default: honest,published,shuffled)",
    )

    each = parser.add_argument_group("each training, as for `gannext train`")
    each.add_argument(
        "--data-root",
        "--dataroot",
        type=Path,
        metavar="FOLDER",
        help="where the data set's files lie or go; alone, a folder of image folders, each with train/ and test/",
    )
    each.add_argument("--train-images", type=positive, metavar="N", help="train on at most N images")
    each.add_argument("--test-images", type=positive, metavar="N", help="test on at most N normal and N abnormal ones")
    each.add_argument(
        "--image-size",
        "--isize",
        type=size,
        metavar="S",
        help="side, or height x width (default: 32; of folders as the images are, up to as many pixels as 128x128 has)",
    )
    each.add_argument("--channels", "--nc", type=int, choices=(1, 3), help="3 or 1 (default: as the data set's)")
    each.add_argument("--dim", type=positive, metavar="D", help="width of every generator (default: each model's own)")
    each.add_argument("--epochs", "--niter", type=positive, metavar="N", help="passes over the images (default: the recipe's)")
    each.add_argument(
        "--budget", type=number(float, 1), metavar="MACS", help="instead of epochs: multiply-accumulates a training, as 4e12"
    )
    each.add_argument("--batch-size", "--batchsize", type=positive, metavar="N", help="images a step (default: the recipe's)")
    each.add_argument("--lr", type=number(float, 0, 1), metavar="RATE", help="learning rate (default: the recipe's)")
    add_device_option(each)

    run = parser.add_argument_group("the run")
    run.add_argument("--jobs", type=positive, default=1, metavar="N", help="cells side by side, sharing the cores")
    run.add_argument(
        "--output", "--outf", type=Path, metavar="FOLDER", help="where results go (default: output/benchmark/<dataset>)"
    )


def names(text: str) -> list[str]:
    """An argparse type: names with commas between them."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing: give names with commas between them")
    return found


def seeds(text: str) -> tuple[int, ...]:
    """An argparse type: whole numbers from 0 up, with commas between them."""
    return tuple(seed(part) for part in text.split(","))


def run(args: Options) -> int:
    """Runs what is not finished yet, and writes the table, the page and the plots."""
    from gannext.data import DATASETS
    from gannext.evaluation import PROTOCOLS, Cell, Settings, check_models, read_rows, run_cells, unfinished, write_rows
    from gannext.training import Interrupted

    known = classes_of(args)
    chosen = with_preset(args)
    command = command_of(args)
    classes = chosen_classes(args, chosen["classes"], known)
    check_models(args.models)
    for protocol in args.protocols:
        if protocol not in PROTOCOLS:
            raise unknown("protocol", protocol, tuple(PROTOCOLS))
    settings = Settings(
        dataset=args.dataset,
        channels=args.channels or (DATASETS[args.dataset].channels if args.dataset in DATASETS else COLOUR),
        device=args.device,
        protocols=tuple(args.protocols),
        **{name: chosen[name] for name in SETTINGS},
    )
    if settings.epochs and settings.budget:
        raise InputError("--epochs and --budget both say how long to train: leave one out")
    every = (Cell(model, c, seed) for seed in chosen["seeds"] or (0,) for c in classes for model in args.models)
    cells = list({(c.name, c.recipe, c.abnormal_class, c.seed): c for c in every}.values())  # named twice is run once

    output: Path = args.output or Path("output") / "benchmark" / args.dataset
    file = output / "results.csv"
    rows, cut = read_rows(file) if file.exists() else ([], None)
    if cut:
        warn(cut)
    left = unfinished(settings, cells, rows)
    show(f"{args.dataset}: {len(cells)} cells, {len(cells) - len(left)} of them finished before; results in {output}")
    progress = Progress(left, args.jobs)
    broken = 0
    try:
        for row in run_cells(settings, left, output / "cells", args.jobs):
            rows = ordered([*(r for r in rows if r.key != row.key), row], known, args.models)
            write_rows(file, rows)
            broken += row.status != "ok"
            progress.finished(row, rows)
    except (KeyboardInterrupt, Interrupted):  # whichever process is the first to answer Ctrl-C
        warn("stopped; what was finished is kept, and the same command goes on from here")
        raise KeyboardInterrupt from None
    if rows:
        write_page(rows, output, command)
    if broken:
        warn(f"{broken} of the cells failed; results.md and results.csv say why, and the same command tries them again")
    return 1 if broken else 0


def classes_of(args: argparse.Namespace) -> tuple[str, ...]:
    """What takes turns: a labelled data set's classes, or a folder's data sets; `args` then names the data set, too.

    Raises:
        InputError: there is no such data set, or nothing in the folder.
    """
    from gannext.data import DATASETS, image_folders, name_of, unknown_dataset

    if args.dataset is None:
        args.dataset = "digits" if args.data_root is None else name_of(args.data_root)
    if args.dataset in DATASETS:
        return DATASETS[args.dataset].classes
    if args.data_root is None:
        args.data_root = Path("data") / args.dataset
        if not args.data_root.is_dir():
            raise unknown_dataset(args.dataset, args.data_root)
    return tuple(image_folders(args.data_root))


def chosen_classes(args: argparse.Namespace, chosen: Sequence[str] | None, known: tuple[str, ...]) -> list[str]:
    """Those that `--classes` or the preset asks for, of what takes turns."""
    from gannext.data import DATASETS, find_class

    if not chosen:
        return list(SMOKE_CLASSES.get(args.dataset, known[:2]) if args.preset == "smoke" else known)
    if args.dataset in DATASETS:
        return [known[find_class(args.dataset, name)] for name in chosen]
    for name in chosen:
        if name not in known:
            raise unknown(f"data set in {args.data_root}", name, known)
    return list(chosen)


def with_preset(args: argparse.Namespace) -> dict[str, Any]:
    """The options, with the preset's where none was given."""
    if args.preset is not None and args.preset not in PRESETS:
        raise unknown("preset", args.preset, tuple(PRESETS))
    preset = PRESETS.get(args.preset, {})
    if args.epochs is not None:
        preset = {name: value for name, value in preset.items() if name != "budget"}
    return {name: value if value is not None else preset.get(name) for name, value in vars(args).items()}


def command_of(args: Options) -> str:
    """The command line that makes this benchmark, for its page."""
    words = ["gannext", "benchmark"]
    for name, value in vars(args).items():
        if name == "dataset" or name in args.given - {"config", "jobs", "device"}:
            words += [f"--{name.replace('_', '-')}", as_option(name, value)]
    return shlex.join(words)


def ordered(rows: "Sequence[Row]", classes: Sequence[str], models: Sequence[str]) -> "list[Row]":
    """Rows by model as asked for, class and seed, whatever order they finished in."""
    model_at = {model.partition("/")[0]: index for index, model in enumerate(models)}
    class_at = {name: index for index, name in enumerate(classes)}  # a folder may have lost one since

    def place(row: "Row") -> tuple[int, str, int, int]:
        return model_at.get(row.model, len(models)), row.recipe, class_at.get(row.abnormal_class, len(classes)), row.seed

    return sorted(rows, key=place)


class Progress:
    """A line for every finished cell, with the time left."""

    def __init__(self, cells: "Sequence[Cell]", jobs: int) -> None:
        self.left = list(cells)
        self.total = len(cells)
        self.jobs = min(jobs, max(1, len(cells)))
        self.start = time.perf_counter()

    def finished(self, row: "Row", rows: "Sequence[Row]") -> None:
        """Says what came of a cell."""
        finished = row.model, row.recipe, row.abnormal_class, row.seed
        self.left = [c for c in self.left if (c.name, c.recipe, c.abnormal_class, c.seed) != finished]
        result = f"AUROC {row.auroc:.3f}" if row.auroc is not None else row.status
        took = f"{row.seconds:.0f} s" if row.seconds is not None else ""
        done = self.total - len(self.left)
        took_all = as_duration(time.perf_counter() - self.start)
        left = f"about {as_duration(self.remaining(rows))} left" if self.left else f"{took_all} in all"
        show(f"[{done}/{self.total}] {row.title:<16} {row.abnormal_class:<12} seed {row.seed}  {result}  {took}  {left}")

    def remaining(self, rows: "Sequence[Row]") -> float:
        """Seconds: each cell as long as its model's finished ones, or as all of its kind."""
        seconds: dict[str, list[float]] = {}
        for row in rows:
            for name in (row.model, "floor" if not row.recipe else "gan", "any"):
                seconds.setdefault(name, []).extend([row.seconds] if row.seconds is not None else [])

        def expected(cell: "Cell") -> float:
            known = (seconds.get(name) for name in (cell.name, "floor" if cell.is_floor else "gan", "any"))
            values = next((v for v in known if v), [0.0])
            return sum(values) / len(values)

        return sum(map(expected, self.left)) / self.jobs


def write_page(rows: "Sequence[Row]", output: Path, command: str) -> None:
    """results.md and its plots, from the table."""
    from gannext.evaluation import accuracy_chart, leak_chart, markdown, published_numbers

    write_text(output / "results.md", markdown(rows, command, published_numbers(rows[0].dataset)))
    if any(row.auroc is not None for row in rows):
        accuracy_chart(rows, output / "results.png")
    if any(row.auroc_published is not None for row in rows):
        leak_chart(rows, output / "leak.png")
    show(f"Read {output / 'results.md'}")
