"""What images, their side and the network's width cost in time and memory, each over a decade.

    python benchmarks/cost.py                                   # writes results/performance/cost.csv and cost.png
    python benchmarks/cost.py --rounds 1 --quick                # whether it works

Every point is measured in a process of its own, which gives its seconds and the most memory that it held.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.ticker import NullLocator

from gannext import Detector
from gannext.data import DataConfig, load_split
from gannext.detection import Scoring
from gannext.networks import NetworkConfig
from gannext.runtime import Calibration
from gannext.training import RECIPES, TrainConfig, fit
from measuring import Spread, add_arguments, write_pictures, write_table

BATCH = 16


@dataclass(frozen=True)
class Point:
    """What is measured: a task on so many images of one side with a network of one width."""

    task: str
    images: int = 96
    side: int = 32
    dim: int = 16


SERIES: dict[tuple[str, str], tuple[int, ...]] = {
    ("score", "images"): (1000, 2000, 5000, 10_000),
    ("score", "side"): (32, 64, 160, 320),
    ("score", "dim"): (8, 16, 40, 80),
    ("train", "images"): (1000, 2000, 5000, 10_000),
    ("train", "side"): (32, 64, 160, 320),
    ("train", "dim"): (8, 16, 40, 80),
}
"""By task and what is varied, its values; the others are Point's."""
UNITS = {"images": "images", "side": "pixels a side", "dim": "width d"}


def score(point: Point, folder: Path) -> float:
    """Seconds of judging the files of a folder."""
    config = NetworkConfig("gannext", (point.side, point.side), 3, {"dim": point.dim})
    detector = Detector(config, config.build_generator(), config.build_discriminator(), Scoring(), Calibration((0.0,)))
    detector.predict(next(folder.iterdir()))  # what is done once
    start = time.perf_counter()
    for _ in detector.predict_iter(folder, batch_size=BATCH):
        pass
    return time.perf_counter() - start


def train(point: Point, folder: Path) -> float:
    """Seconds from the files of a folder to a calibrated detector, in one epoch; files are decoded as they are needed."""
    recipe = replace(RECIPES["published"], batch_size=BATCH)
    networks = NetworkConfig("gannext", (point.side, point.side), 3, {"dim": point.dim})
    start = time.perf_counter()
    split = load_split(DataConfig("pictures", folder, size=networks.size, cache="stream"))
    with tempfile.TemporaryDirectory() as run:
        config = TrainConfig(networks, recipe, epochs=1, accelerator="cpu", workers=0)
        fit(config, split, Path(run), progress=False)
    return time.perf_counter() - start


TASKS = {"score": score, "train": train}


def measure(point: Point, folder: Path, threads: int) -> dict[str, float]:
    """A point's seconds and its process's most memory in bytes, in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--point",
        json.dumps(asdict(point)),
        "--folder",
        str(folder),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{point} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_point(args: argparse.Namespace) -> None:
    """In the process of one point: prints its seconds and memory as JSON."""
    point = Point(**json.loads(args.point))
    seconds = TASKS[point.task](point, args.folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": seconds, "memory": memory}))


def time_points(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each point; every round measures all of them."""
    known = [
        (varied, replace(Point(task), **{varied: value}))  # type: ignore[arg-type]
        for (task, varied), values in SERIES.items()
        for value in (values[:2] if args.quick else values)
    ]
    if args.quick:
        known = [(varied, replace(point, images=point.images // 10 if varied == "images" else 40)) for varied, point in known]
    found: dict[Point, list[dict[str, float]]] = {point: [] for _, point in known}
    with tempfile.TemporaryDirectory() as parent:
        for turn in range(args.rounds):
            for point, measured in found.items():
                folder = Path(parent) / f"{point.images}_of_{point.side}"
                if not folder.exists():
                    write_pictures(folder, point.images, point.side)
                measured.append(measure(point, folder, args.threads))
                print(f"  round {turn + 1}: {point}: {measured[-1]['seconds']:.2f} s, {measured[-1]['memory'] / 2**20:.0f} MiB")
    rows = []
    for varied, point in known:
        seconds = Spread.of(one["seconds"] for one in found[point])
        memory = Spread.of(one["memory"] / 2**20 for one in found[point])
        row = {"task": point.task, "varied": varied, "value": getattr(point, varied), "images": point.images}
        rows.append({**row, **seconds.columns("seconds"), **memory.columns("mebibytes"), "rounds": args.rounds})
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time and memory against each of the three, all but memory on logarithmic axes."""
    figure, axes = plt.subplots(2, len(UNITS), figsize=(10, 5.5), sharex="col", layout="constrained")
    quantities = (("seconds", "seconds"), ("mebibytes", "memory, MiB"))
    for (column, label), row in zip(quantities, axes, strict=True):
        for (varied, unit), axis in zip(UNITS.items(), row, strict=True):
            for task in TASKS:
                some = [one for one in rows if (one["task"], one["varied"]) == (task, varied)]
                values = [one["value"] for one in some]
                axis.plot(values, [float(one[column]) for one in some], "o-", label=task)
            axis.set_xscale("log")
            axis.set_xticks(values, [f"{value:,}" for value in values])
            axis.xaxis.set_minor_locator(NullLocator())
            if column == "seconds":
                axis.set_yscale("log")
            else:
                axis.set_ylim(bottom=0)
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
            if column == quantities[-1][0]:
                axis.set_xlabel(unit)
    axes[0][0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, rounds=3)
    parser.add_argument("--quick", action="store_true", help="the first two values of each, on few images")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.point:
        run_point(args)
        return
    rows = time_points(args)
    write_table(args.output, "cost", rows, args.threads)
    plot(rows, args.output / "cost.png")


if __name__ == "__main__":
    main()
