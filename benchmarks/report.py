"""Puts the tables of results/performance into docs/performance.md, each between its own two comments.

    python benchmarks/report.py

The text around them is written by hand; the numbers never are.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import numpy as np

from gannext.runtime import write_text
from measuring import RESULTS, number

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
Row: TypeAlias = dict[str, str]


def spread(row: Row, name: str) -> str:
    """A median with its quartiles."""
    median, low, high = (number(float(row[name + end])) for end in ("", "_low", "_high"))
    return f"{median} ({low} to {high})"


def table(header: tuple[str, ...], lines: Iterator[tuple[object, ...]]) -> str:
    """A table in Markdown."""
    rows = [header, ("---",) * len(header), *lines]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def scoring(rows: list[Row]) -> str:
    """Milliseconds an image."""
    return table(
        ("recipe, side", "batch", "scored by", "ms an image", "times as fast", "share of the multiply's rate"),
        (
            (f"{r['recipe']}, {r['side']}", r["batch"], r["scorer"], spread(r, "ms"), spread(r, "times"),
             f"{float(r['share']):.0%} of {float(r['multiply_gflops']):.0f} GFLOP/s, {r['multiply']}")
            for r in rows
        ),
    )  # fmt: skip


def folder(rows: list[Row]) -> str:
    """Images a second, from their files on."""
    return table(
        ("recipe, side", "PNG files", "judged by", "images a second", "times as fast"),
        (
            (f"{r['recipe']}, {r['side']}", f"{int(r['files']):,} of {r['file_side']}x{r['file_side']}", r["scorer"],
             spread(r, "images_per_second"), spread(r, "times"))
            for r in rows
        ),
    )  # fmt: skip


def training(rows: list[Row]) -> str:
    """Images a second in training."""
    return table(
        ("trained by", "images a second", "times as fast"),
        ((r["training"], spread(r, "images_per_second"), spread(r, "times")) for r in rows),
    )


def cost(rows: list[Row]) -> str:
    """How time and memory grow: a line for each series, with the power that they grow by."""

    def lines() -> Iterator[tuple[object, ...]]:
        for (task, varied), group in groupby(rows, lambda row: (row["task"], row["varied"])):
            some = list(group)
            values, seconds, memory = (np.array([float(r[n]) for r in some]) for n in ("value", "seconds", "mebibytes"))
            yield (
                f"{task}, by {varied}", f"{values[0]:.0f} to {values[-1]:.0f}", f"{seconds[0]:.3g} to {seconds[-1]:.3g}",
                f"{power(values, seconds):.2f}", f"{memory[0]:.0f} to {memory[-1]:.0f}",
            )  # fmt: skip

    return table(("task", "from, to", "seconds", "power", "most memory, MiB"), lines())


def power(values: np.ndarray, measured: np.ndarray) -> float:
    """The exponent p of measured = constant * values ** p, by the two ends."""
    return math.log(measured[-1] / measured[0]) / math.log(values[-1] / values[0])


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "scoring": scoring,
    "folder": folder,
    "training": training,
    "choices": training,
    "experts": training,
    "cost": cost,
}
"""By the name of the CSV file, how it is shown."""


def source(name: str, results: Path) -> str:
    """The command and the machine that a table was made by."""
    made = json.loads((results / f"{name}.json").read_text())
    versions = ", ".join(f"{package} {version}" for package, version in made["versions"].items())
    return (
        f"*`{made['command']}` on {made['date']}: {made['processor']}, {made['threads']} threads, "
        f"load {made['load_average']}; {made['system']}; {versions}.*"
    )


def render(text: str, results: Path) -> str:
    """The document with its tables made anew; one whose CSV file is not there says so."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        path = results / f"{name}.csv"
        shown = f"*Not measured yet: `{name}.csv` is missing.*"
        if path.exists():
            with path.open(newline="") as file:
                shown = f"{TABLES[path.stem](list(csv.DictReader(file)))}\n\n{source(name, results)}"
            if (results / f"{name}.png").exists():
                shown += f"\n\n![The same as a plot](../results/performance/{name}.png)"
        return f"<!-- table {name} -->\n\n{shown}\n\n<!-- end -->"

    return re.sub(r"<!-- table ([\w/-]+) -->.*?<!-- end -->", replaced, text, flags=re.DOTALL)


if __name__ == "__main__":
    write_text(DOCUMENT, render(DOCUMENT.read_text(encoding="utf-8"), RESULTS))
