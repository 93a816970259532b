"""Counts the parameters and multiply-accumulates (MACs) of the networks for one image, and measures on this machine
how many images a second they score."""

import argparse
import time
from typing import TYPE_CHECKING

from gannext.cli.options import (
    add_device_option,
    add_model_options,
    network_config,
    number,
    numbers,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from gannext.networks import NetworkConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext profile`."""
    add_model_options(parser)
    group = parser.add_argument_group("measurement")
    group.add_argument("--compare", action="store_true", help="all models with their own defaults, in one table")
    group.add_argument(
        "--batch-sizes", type=numbers, default=(1, 32), metavar="N,N", help="images scored together (default: 1,32)"
    )
    group.add_argument("--seconds", type=number(float, 0), default=2.0, metavar="S", help="measure for so long; 0: count only")
    add_device_option(group)


def run(args: argparse.Namespace) -> int:
    """Counts, measures and prints."""
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
    macs = {}
    for config in configs:
        cost = measure_cost(config.build_generator, config.channels, config.size)
        macs[config.model] = cost.macs
        speeds = "".join(f"{images_per_second(config, size, device, args.seconds):>22.1f}" for size in sizes)
        show(f"{config.model:<24}{cost.parameters:>14,}{cost.macs:>18,}{speeds}")
    for names, config in discriminators(configs):
        cost = measure_cost(config.build_discriminator, config.channels, config.size)
        show(f"{f'discriminator ({names})' if args.compare else 'discriminator':<24}{cost.parameters:>14,}{cost.macs:>18,}")
    if args.compare:
        fewer = 100 * (1 - macs["gannext"] / macs["anotrans"])
        show(f"gannext takes {fewer:.1f} % fewer multiply-accumulates than anotrans, the transformer GAN.")
    return 0


def discriminators(configs: "Sequence[NetworkConfig]") -> "Iterator[tuple[str, NetworkConfig]]":
    """Each kind of discriminator once, with the models that have it, or "others" for more than one."""
    from gannext.networks import MODELS

    kinds: dict[object, list[NetworkConfig]] = {}
    for config in configs:
        kinds.setdefault(MODELS[config.model].discriminator, []).append(config)
    for same in kinds.values():
        yield "others" if len(same) > 1 else same[0].model, same[0]


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
