"""Trains a generator and a discriminator on normal images only, calibrates on normal images held out of training,
and saves a detector; where there is a test set, its accuracy is measured too."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext.cli.options import (
    DEFAULT_SIZE,
    Options,
    add_device_option,
    add_model_options,
    add_tile_options,
    count,
    gpu_ids,
    is_first_process,
    network_config,
    number,
    pixel_rate,
    positive,
    rate,
    seed,
    show,
    tiling_of,
    warn,
    weight,
)
from gannext.cli.outcome import report_choice, report_result, report_split, save_examples, warn_of_shrinking
from gannext.cli.runs import LAST_RUN, RUN_OF_OTHER_RANKS, as_yaml, find_run, make_folder, new_run, resumed_arguments
from gannext.runtime import BITS, MOST_FOCUS, MOST_LIGHT, SIDES, InputError, write_text

if TYPE_CHECKING:
    from gannext.data import Split
    from gannext.runtime import Tiling
    from gannext.training import Recipe

INTERRUPTED = 130  # what a shell calls a program that Ctrl-C ended


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext train`, and the original's names for them."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--dataset",
        metavar="NAME",
        help="digits (default), mnist, fashion_mnist, cifar10, stl10, or a folder in ./data",
    )
    data.add_argument(
        "--data-root",
        "--dataroot",
        type=Path,
        metavar="FOLDER",
        help="your own folder of images, or where the data sets' files lie or go (default: ./data)",
    )
    data.add_argument(
        "--abnormal-class",
        "--abnormal_class",
        metavar="CLASS",
        help="class left out of training, by name or index (default: the first)",
    )
    data.add_argument("--train-images", type=positive, metavar="N", help="train on at most N images")
    data.add_argument("--test-images", type=positive, metavar="N", help="test on at most N normal and N abnormal ones")
    data.add_argument(
        "--cache",
        choices=("auto", "memory", "stream"),
        default="auto",
        help="keep decoded images in memory, or decode them as they are needed; auto: memory up to 2 GiB",
    )
    data.add_argument(
        "--bits",
        type=number(int, *BITS),
        metavar="N",
        help="how many bits the greys of 16-bit images have, 8 to 16 (default: what those to train on reach)",
    )
    add_tile_options(data, stored=False)
    data.add_argument("--workers", type=count, default=2, metavar="N", help="processes that decode streamed images")

    add_model_options(
        parser,
        "side that images, or tiles, are resized to, 32 to 1024, or HEIGHTxWIDTH (default: 32, or the tile's side; by a robust "
        "recipe, what suits a folder's images)",
    )

    training = parser.add_argument_group("training")
    training.add_argument(
        "--recipe",
        default="",
        metavar="NAME",
        help="robust: chooses by the normal images (gannext's default) between robust-objects, for another kind of thing, and, "
        "for defects, robust-parts and robust-textures; published: that of the model's own paper",
    )
    training.add_argument(
        "--epochs",
        "--niter",
        type=positive,
        metavar="N",
        help="passes over the training images (published: 40, and 80 for stl10)",
    )
    training.add_argument(
        "--budget",
        type=number(float, 1),
        metavar="MACS",
        help="instead of --epochs: train for so many multiply-accumulates in all, such as 1e13",
    )
    training.add_argument("--batch-size", "--batchsize", type=positive, metavar="N", help="images a step (published: 128)")
    training.add_argument("--lr", type=number(float, 0, 1), metavar="RATE", help="learning rate (published: 0.0002)")
    training.add_argument(
        "--beta1", type=number(float, 0, 0.9999), metavar="B", help="Adam's first decay rate (published: 0.5)"
    )
    training.add_argument("--w-adv", "--w_adv", type=weight, metavar="W", help="weight of the adversarial loss (published: 1)")
    training.add_argument(
        "--w-con", "--w_con", type=weight, metavar="W", help="weight of the reconstruction loss (published: 50)"
    )
    training.add_argument("--w-lat", "--w_lat", type=weight, metavar="W", help="weight of the latent loss (published: 1)")
    training.add_argument(
        "--light",
        type=number(float, 0, MOST_LIGHT),
        default=0.0,
        metavar="SHARE",
        help="train for light that may be brighter or darker by this share, such as 0.1; for robust-textures and robust-parts",
    )
    training.add_argument(
        "--focus",
        type=number(float, 0, MOST_FOCUS),
        default=0.0,
        metavar="PIXELS",
        help="train for a focus that may be softer, by a Gaussian of up to this standard deviation, such as 0.7; likewise",
    )
    training.add_argument("--seed", "--manualseed", type=seed, default=0, metavar="N", help="of all randomness")
    training.add_argument(
        "--precision",
        choices=("32-true", "bf16-mixed", "16-mixed"),
        default="32-true",
        help="arithmetic of the training",
    )
    add_device_option(training)
    training.add_argument("--devices", type=positive, default=1, metavar="N", help="train on N devices at once")
    training.add_argument("--gpu-ids", "--gpu_ids", type=gpu_ids, metavar="N,N", help="train on these GPUs; -1: on the CPU")

    judging = parser.add_argument_group("calibration and evaluation")
    judging.add_argument(
        "--fpr",
        type=rate,
        default=0.05,
        metavar="RATE",
        help="share of normal images that the threshold may call abnormal",
    )
    judging.add_argument(
        "--pixel-fpr",
        type=pixel_rate,
        default=0.01,
        metavar="RATE",
        help="share of normal pixels that the threshold of the anomaly maps may call abnormal",
    )
    judging.add_argument(
        "--protocol",
        choices=("honest", "published"),
        default="honest",
        help="published: also measure as the papers' code does, beside the honest number",
    )

    run = parser.add_argument_group("the run")
    run.add_argument(
        "--output",
        "--outf",
        type=Path,
        default=Path("output"),
        metavar="FOLDER",
        help="runs go into FOLDER/<model>/<dataset>/<time>/",
    )
    run.add_argument(
        "--resume",
        nargs="?",
        const=LAST_RUN,
        metavar="RUN",
        help="go on with the run in this folder; without one, with the latest of this model and data set",
    )
    run.add_argument("--display", action="store_true", help="live TensorBoard of losses, AUROC, scores and pictures")


def run(args: Options) -> int:
    """Trains, evaluates and reports."""
    resume = args.resume is not None
    if args.data_root:
        args.data_root = args.data_root.resolve()  # a run goes on from any other place too
    name = dataset_name(args)
    folder = find_run(args, name) if resume else new_run(args, name)
    if resume:
        args = resumed_arguments(args, folder)
    else:
        args.dataset = name
    tiling = tiling_of(args)
    if tiling and args.image_size is DEFAULT_SIZE:
        if tiling.side > SIDES[1]:
            raise InputError(f"tiles of {tiling.side} pixels are too large for the networks: pass --image-size to resize them")
        args.image_size = (tiling.side, tiling.side)
    accelerator, devices = device_of(args)

    from gannext.detection import Neighbours, find_device, slow_in_bf16
    from gannext.training import Diverged, Interrupted, TrainConfig, check_training, device_count, fit, length_of_training

    split, recipe = load(args, tiling)
    networks = network_config(args, recipe.networks)
    if args.protocol == "published" and isinstance(recipe.scoring, Neighbours):
        raise InputError(
            f"the published protocol scores after every epoch, and {recipe.name} only when training is over: "
            "pass --recipe published, or measure the detector by `gannext evaluate --protocol published`"
        )
    epochs, max_steps = length_of_training(
        networks, recipe, args.dataset, len(split.train), args.epochs, args.budget, device_count(devices)
    )
    provenance = {
        "data": {
            "dataset": args.dataset,
            "data_root": None if args.data_root is None else str(args.data_root),
            "abnormal_class": split.abnormal_class,
            "train_images": args.train_images,
            "test_images": args.test_images,
            "seed": args.seed,
        }
    }
    config = TrainConfig(
        networks, recipe, epochs, args.fpr, args.seed, accelerator, devices, args.precision, args.workers, provenance,
        max_steps, args.pixel_fpr, tiling,
    )  # fmt: skip
    check_training(config, split)
    first = is_first_process()
    if first and args.precision == "bf16-mixed" and find_device(accelerator).type == "cpu" and slow_in_bf16():
        warn("this processor has no arithmetic for bfloat16 and will take several times as long: pass --precision 32-true")
    os.environ[RUN_OF_OTHER_RANKS] = str(folder)
    if first:
        make_folder(folder)
        write_text(folder / "config.yaml", as_yaml(args))

    from gannext.evaluation import BestEpochOnTest, Board, Display, open_display, overview, scores_of_test

    best = BestEpochOnTest(split) if args.protocol == "published" and split.untestable is None else None
    callbacks: list[Any] = [best] if best else []
    loggers: list[Any] = []
    if args.display:
        loggers.append(Board(folder))
        callbacks.append(Display(split))
        if first:
            address = open_display(folder)
            show(f"Live display: {address}")
    rows, columns = networks.size
    show(
        f"Training {networks.model} by the {recipe.name} recipe on images of {rows}x{columns}, epochs: {epochs}; "
        f"the run is in {folder}"
    )
    try:
        detector = fit(config, split, folder, resume=resume, callbacks=callbacks, loggers=loggers)
    except Interrupted as stop:
        warn(f"{stop}: go on with `gannext train --resume {folder}`")
        return INTERRUPTED
    except Diverged as stop:
        kept = "the last good state is in last.ckpt" if (folder / "last.ckpt").exists() else "nothing was saved yet"
        raise InputError(f"training stopped because {stop}; {kept} in {folder}: try a smaller --lr") from None
    if not first:
        return 0
    scores = scores_of_test(detector, split)
    overview(detector, split, folder / "pictures" / "overview.png", scores)
    save_examples(split, folder / "examples")
    report_result(detector, split, scores, folder, best)
    show(f"\nDetector: {folder / 'detector.gannext'}")
    show(f"Judge images:  gannext predict {folder / 'detector.gannext'} {folder / 'examples'}")
    if args.display:
        show(f"See the curves again:  tensorboard --logdir {folder / 'tensorboard'}")
    return 0


def load(args: Options, tiling: "Tiling | None") -> "tuple[Split, Recipe]":
    """The images, and the recipe for them; `args` then says which, and in what size the images are, for who goes on with it."""
    from gannext.data import DATASETS, DataConfig, load_split
    from gannext.training import RECIPES, choose_for_folder, find_recipe, kind_of_split

    likely = find_recipe(args.recipe, args.model, lambda: "objects")
    network_config(args, likely.networks)  # options that cannot be are better refused before the data are read
    if args.recipe in RECIPES or args.dataset in DATASETS:  # where it is not only likely
        with_options(args, likely)
    if args.bits and args.dataset in DATASETS:
        raise InputError(f"the images of {args.dataset} have no 16-bit greys: leave --bits out")
    if tiling and args.protocol == "published":
        from gannext.evaluation import NO_TILES

        raise InputError(NO_TILES)
    data = DataConfig(
        args.dataset, args.data_root, args.abnormal_class, args.image_size, args.channels,
        args.train_images, args.test_images, args.seed, args.cache, tiling.side if tiling else None, args.bits,
    )  # fmt: skip
    chosen = None
    if args.image_size is DEFAULT_SIZE and args.dataset not in DATASETS:
        chosen, data = choose_for_folder(data, args.recipe, args.model)
        args.image_size = data.size
    split = load_split(data)
    report_split(args.dataset, split)
    if chosen:
        warn_of_shrinking(split.train, data.size)
    recipe = chosen or find_recipe(args.recipe, args.model, lambda: kind_of_split(split))
    if args.dataset not in DATASETS and recipe.name not in (args.recipe, "published"):
        report_choice(recipe.name)
    args.recipe = recipe.name
    return split, with_options(args, recipe.for_images(len(split.train)))


def dataset_name(args: argparse.Namespace) -> str:
    """The data set asked for; a folder without a name goes by its own."""
    if args.dataset:
        return str(args.dataset)
    if not args.data_root:
        return "digits"
    from gannext.data import name_of

    return name_of(args.data_root)


def with_options(args: argparse.Namespace, recipe: "Recipe") -> "Recipe":
    """The recipe, with what the options change of it."""
    names = ("batch_size", "lr", "beta1", "w_adv", "w_con", "w_lat")
    changed = replace(recipe, **{name: getattr(args, name) for name in names if getattr(args, name) is not None})
    return changed.varied(args.light, args.focus)


def device_of(args: argparse.Namespace) -> tuple[str, int | list[int]]:
    """The device to train on, and how many of it or which."""
    if args.gpu_ids is not None:
        return ("cuda", args.gpu_ids) if args.gpu_ids else ("cpu", args.devices)
    return args.device, args.devices
