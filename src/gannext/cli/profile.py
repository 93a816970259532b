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
    torch_device,
)

if TYPE_CHECKING:
    from gannext.networks import NetworkConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext profile`."""
    add_model_options(parser)
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--batch-sizes", type=numbers, default=(1, 32), metavar="N,N", help="images scored together (default: 1,32)"
    )
    group.add_argument("--seconds", type=number(float, 0), default=2.0, metavar="S", help="measure for so long; 0: count only")
    add_device_option(group)


def run(args: argparse.Namespace) -> int:
    """Counts, measures and prints."""
    config = network_config(args)
    device = torch_device(args.device)

    from gannext.networks import measure_cost

    height, width = config.size
    show(f"{config.model} at {config.channels}x{height}x{width}, one image:")
    show(f"  {'network':<14} {'parameters':>14} {'MACs':>18}")
    for name, build in (("generator", config.build_generator), ("discriminator", config.build_discriminator)):
        cost = measure_cost(build, config.channels, config.size)
        show(f"  {name:<14} {cost.parameters:>14,} {cost.macs:>18,}")
    if args.seconds > 0:
        import torch

        show(f"Scoring speed on {device}, {torch.get_num_threads()} threads, torch {torch.__version__}:")
        for batch_size in args.batch_sizes:
            show(f"  batch {batch_size:<5} {images_per_second(config, batch_size, device, args.seconds):>10.1f} images/s")
    return 0


def images_per_second(config: "NetworkConfig", batch_size: int, device: str, seconds: float) -> float:
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
