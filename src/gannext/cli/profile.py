"""Counts the parameters and multiply-accumulates (MACs) of the networks for one image, and measures on this machine
how many images a second they score."""

import argparse
import csv
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gannext.cli.options import (
    GENERATOR_OPTIONS,
    Options,
    add_device_option,
    add_model_options,
    network_config,
    number,
    numbers,
    show,
)
from gannext.runtime import InputError, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import nn

    from gannext.networks import NetworkConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext profile`."""
    add_model_options(parser, "side of the image, 32 to 1024, or HEIGHTxWIDTH (default: 32)")
    group = parser.add_argument_group("measurement")
    group.add_argument("--compare", action="store_true", help="all models with their own defaults, in one table")
    group.add_argument(
        "--batch-sizes", type=batch_sizes, default=(1, 32), metavar="N,N", help="images scored together (default: 1,32)"
    )
    group.add_argument("--seconds", type=number(float, 0), default=2.0, metavar="S", help="measure for so long; 0: count only")
    add_device_option(group)
    group.add_argument("--output", type=Path, metavar="FILE", help="write the table to this CSV file too")


def batch_sizes(text: str) -> tuple[int, ...]:
    """An argparse type: whole numbers from 1 up, as "1,32"."""
    return numbers(text, "batch sizes", "1,32")


def run(args: Options) -> int:
    """Counts, measures and prints."""
    if args.compare and (given := sorted(args.given & {"model", "ndf", "nz", *GENERATOR_OPTIONS})):
        raise InputError(f"--compare takes all models with their own defaults: leave out --{given[0].replace('_', '-')}")
    from gannext.detection import find_device
    from gannext.networks import MODELS, NetworkConfig, measure_cost

    device = find_device(args.device)
    if args.compare:
        configs = [NetworkConfig(name, args.image_size, args.channels) for name in MODELS]
    else:
        configs = [network_config(args)]
    height, width = args.image_size
    show(f"{args.channels}x{height}x{width}, one image; images/s are scored, discriminator included, on {device}")
    sizes = args.batch_sizes if args.seconds > 0 else ()
    speeds = "".join(f"{f'images/s, batch {size}':>22}" for size in sizes)
    show(f"{'network':<24}{'parameters':>14}{'MACs':>18}{speeds}")
    rows: list[dict[str, object]] = []
    for name, config, build in networks_of(configs):
        cost = measure_cost(build, config.channels, config.size)
        measured = sizes if build == config.build_generator else ()
        rates = {f"images_per_second_batch_{n}": images_per_second(config, n, device, args.seconds) for n in measured}
        rows.append({"network": name, "parameters": cost.parameters, "macs": cost.macs, **rates})
        show(f"{name:<24}{cost.parameters:>14,}{cost.macs:>18,}{''.join(f'{rate:>22.1f}' for rate in rates.values())}")
    if args.compare:
        macs = {str(row["network"]): int(str(row["macs"])) for row in rows}
        fewer = 100 * (1 - macs["gannext"] / macs["anotrans"])
        show(f"gannext takes {fewer:.1f} % fewer multiply-accumulates than anotrans, the transformer GAN.")
    if args.output:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(args.output, text.getvalue())
    return 0


def networks_of(configs: "Sequence[NetworkConfig]") -> "Iterator[tuple[str, NetworkConfig, Callable[[], nn.Module]]]":
    """Names, configurations and builders: every generator, and then each kind of discriminator once."""
    from gannext.networks import MODELS

    yield from ((config.model, config, config.build_generator) for config in configs)
    first: dict[object, NetworkConfig] = {}
    for config in configs:
        kind = MODELS[config.model].discriminator
        if kind not in first:
            first[kind] = config
            name = "discriminator" if len(first) == 1 else f"{config.model}'s discriminator"
            yield name, config, config.build_discriminator


def images_per_second(config: "NetworkConfig", batch_size: int, device: "torch.device", seconds: float) -> float:
    """The median rate of scoring batches for so many seconds, after a warm-up."""
    import torch

    from gannext.detection import Detector, Scoring
    from gannext.runtime import Calibration

    detector = Detector(config, config.build_generator(), config.build_discriminator(), Scoring(), Calibration((0.0,)))
    detector.to(device)
    images = torch.randint(0, 256, (batch_size, config.channels, *config.size), dtype=torch.uint8, device=device)
    durations: list[float] = []
    detector.score(images)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(durations) < 3:
        start = time.perf_counter()
        detector.score(images)[0].cpu()  # the copy waits for the device
        durations.append(time.perf_counter() - start)
    return batch_size / sorted(durations)[len(durations) // 2]
