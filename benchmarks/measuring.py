"""What the benchmarks share: contestants timed in turn, ratios with their spread, pictures, and tables with the machine."""

import argparse
import csv
import io
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from gannext.runtime import Pixels, write_text

Result = TypeVar("Result")

RESULTS = Path(__file__).parent.parent / "results" / "performance"
PACKAGES = ("torch", "lightning", "onnxruntime", "openvino", "numpy", "pillow")
LONG_ENOUGH = 0.2  # seconds; what is faster is repeated until then


def number(value: float) -> str:
    """Three digits of a number, or all those before the point."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


@dataclass(frozen=True)
class Spread:
    """A median and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        low, median, high = np.percentile(list(values), (25, 50, 75))
        return cls(float(median), float(low), float(high))

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"

    def columns(self, name: str) -> dict[str, str]:
        """Three columns of a table: name, name_low, name_high."""
        return {name: f"{self.median:.5g}", f"{name}_low": f"{self.low:.5g}", f"{name}_high": f"{self.high:.5g}"}


def timing(
    call: Callable[..., object], *arguments: object, items: int = 1, at_least: float = LONG_ENOUGH
) -> Callable[[], float]:
    """A contestant: gives the mean seconds an item of a call that is repeated for so long, and at least once."""

    def seconds() -> float:
        start, calls = time.perf_counter(), 0
        while not calls or time.perf_counter() - start < at_least:
            call(*arguments)
            calls += 1
        return (time.perf_counter() - start) / (calls * items)

    return seconds


def in_turn(
    contestants: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: bool = True
) -> dict[str, NDArray[np.float64]]:
    """Runs all of them in every round, each time beginning with another one, so that what else the machine does slows all
    alike.

    Args:
        contestants: by name, what gives its own seconds.
        rounds: how many count.
        warm_up: whether there is one more beforehand, which does not count.

    Returns:
        By name, seconds (rounds,).
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1 if warm_up else 0, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            took = contestants[name]()
            if turn >= 0:
                seconds[name].append(took)
    return {name: np.array(values) for name, values in seconds.items()}


@contextmanager
def apart(names: Iterable[str]) -> Iterator[dict[str, ProcessPoolExecutor]]:
    """A process for each contestant, with as many threads as this one: no other leaves memory in pieces for it to work in."""
    threads = (torch.get_num_threads(),)
    with ExitStack() as processes:
        yield {
            name: processes.enter_context(ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, threads))
            for name in names
        }


def called(process: ProcessPoolExecutor, function: Callable[..., Result], *arguments: object) -> Result:
    """What a function gives in that process."""
    return process.submit(function, *arguments).result()


def matrix_multiply(dtype: torch.dtype, side: int = 1024) -> Callable[[], float]:
    """A contestant that gives the seconds of one multiply-accumulate in a product of two square matrices, by the quicker of
    torch's two libraries: MKL, which makes products in 32 bits, at half the rate on some processors, or oneDNN, which makes
    convolutions."""

    def seconds() -> float:
        a, b = torch.randn(2, side, side).to(dtype)  # each time anew: where they lie in memory changes it by a third
        pixels = a.view(16, side, side // 16, 1).contiguous(memory_format=torch.channels_last)
        ways = timing(torch.mm, a, b, items=side**3), timing(F.conv2d, pixels, b[..., None, None], items=side**3)
        return min(way() for way in ways)

    return seconds


def pictures(count: int, side: int, seed: int = 0) -> Pixels:
    """Random cuts (count, side, side, 3) of the photographs that come with scikit-learn."""
    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    cuts = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        row, column = (rng.integers(extent - side + 1) for extent in photograph.shape[:2])
        cuts.append(photograph[row : row + side, column : column + side])
    return np.stack(cuts)


def write_pictures(folder: Path, count: int, side: int) -> list[Path]:
    """The same as PNG files in a new folder, a thousand in memory at a time."""
    folder.mkdir(parents=True)
    paths = [folder / f"{index:05d}.png" for index in range(count)]
    for first in range(0, count, 1000):
        some = paths[first : first + 1000]
        for path, cut in zip(some, pictures(len(some), side, seed=first), strict=True):
            Image.fromarray(cut).save(path)
    return paths


def add_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """The options that all benchmarks have."""
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help="how often each is measured (%(default)s)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), metavar="N", help="processors that compute (%(default)s)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FOLDER", help="where the tables go (%(default)s)")


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same columns as the text of a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class Table:
    """A CSV file that grows by rows, so that a script which was stopped goes on where it was."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

    def find(self, **key: str) -> dict[str, str] | None:
        """The first row with these values, if there is one."""
        return next((row for row in self.rows if row == {**row, **key}), None)

    def add(self, row: dict[str, str]) -> None:
        """Prints a row, and writes the file with it."""
        self.rows.append(row)
        print(*row.values(), sep="  ", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, as_csv(self.rows))


def write_table(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], threads: int) -> None:
    """Writes NAME.csv, and beside it NAME.json: the machine, the versions and the command."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{name}.csv", as_csv(rows))
    write_text(folder / f"{name}.json", json.dumps(machine(threads), indent=2) + "\n")


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on, apart from the code."""
    return {
        "command": " ".join(["python", *map(os.path.relpath, sys.argv[:1]), *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "threads": threads,
        # Of the last five minutes: this benchmark, and whatever else ran. Windows does not know it.
        "load_average": round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else float("nan"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: found for name in PACKAGES if (found := version_of(name))},
    }


def version_of(package: str) -> str | None:
    """A package's version, or None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, and which short numbers it multiplies by itself."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
    except OSError:
        return platform.processor()
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", "").split()
    special = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{fields.get('model name', platform.machine())} ({', '.join(special)})"
