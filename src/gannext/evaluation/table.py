"""The benchmark's table: its rows, its CSV file, and the Markdown page made from it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from types import NoneType
from typing import Any, get_args, get_type_hints

from gannext.data import DATASETS
from gannext.runtime import InputError, write_text

PROTOCOLS = {"honest": "auroc", "published": "auroc_published", "shuffled": "auroc_shuffled"}
"""Protocols, and the columns that hold their AUROC."""
LOCALISATION = ("pixel_auroc", "aupro")
"""The columns about anomaly maps."""


@dataclass(frozen=True)
class Row:
    """One cell's settings and results; None where there is no such number.

    Attributes:
        dataset, model, recipe, abnormal_class, seed: which cell; a floor has no recipe. One of a folder's data sets stands
            in the place of a class.
        status: "ok", or "failed: " and why.
        auroc, average_precision: by the honest protocol.
        pixel_auroc, aupro: of the anomaly maps, where the test set has masks.
        auroc_published, auroc_shuffled: of the same weights, by the published procedure, and by the same
            with the test images shuffled.
        train_images, test_normal, test_abnormal: numbers of images.
        steps, macs: what the training took: steps, and multiply-accumulates in all.
        parameters: of the generator.
        train_seconds, seconds: of the training alone, and of the whole cell.
        version: of the software.
        command: what makes this cell again.
    """

    dataset: str
    model: str
    recipe: str
    abnormal_class: str
    seed: int
    status: str = "ok"
    auroc: float | None = None
    average_precision: float | None = None
    pixel_auroc: float | None = None
    aupro: float | None = None
    auroc_published: float | None = None
    auroc_shuffled: float | None = None
    train_images: int | None = None
    test_normal: int | None = None
    test_abnormal: int | None = None
    steps: int | None = None
    macs: int | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    seconds: float | None = None
    version: str = ""
    command: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What makes a cell another one."""
        return self.dataset, self.model, self.recipe, self.abnormal_class, self.seed

    @property
    def title(self) -> str:
        """The model, and its recipe unless it is the published one."""
        return self.model if self.recipe in ("", "published") else f"{self.model}, {self.recipe}"


COLUMNS = [field.name for field in fields(Row)]
NEEDED = {field.name for field in fields(Row) if field.default is MISSING}
KINDS = {name: next(t for t in (*get_args(hint), hint) if t is not NoneType) for name, hint in get_type_hints(Row).items()}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes the whole table, or leaves the old one."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([as_text(getattr(row, name)) for name in COLUMNS])
    write_text(path, text.getvalue())


def as_text(value: Any) -> str:
    """A value of a cell; numbers keep six digits."""
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def read_rows(path: Path) -> tuple[list[Row], str | None]:
    """The rows of a table, and a sentence where its last line was cut off and left out.

    Raises:
        InputError: it is no table of this kind, or a line within it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): move it away, or pass another --output") from None
    whole = text if text.endswith("\n") else text[: text.rfind("\n") + 1]
    lines = list(csv.reader(io.StringIO(whole)))
    if not lines or not NEEDED <= set(lines[0]) <= set(COLUMNS):  # earlier versions had fewer
        raise InputError(f"{path} is no table of this version of `gannext benchmark`: move it away, or pass another --output")
    rows: dict[Any, Row] = {}
    for number, values in enumerate(lines[1:], 2):
        try:
            cells = zip(lines[0], values, strict=True)
            parsed: dict[str, Any] = {n: None if t == "" and KINDS[n] is not str else KINDS[n](t) for n, t in cells}
            row = Row(**parsed)
        except (ValueError, TypeError):
            raise InputError(f"{path} is damaged in line {number}: delete that line, and its cell will be run again") from None
        rows[row.key] = row
    cut = None if whole == text else f"the last line of {path} was cut off; its cell will be run again"
    return list(rows.values()), cut


def by_model(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by title, in the order of their first appearance."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.title, []).append(row)
    return groups


def seeds_of(rows: Iterable[Row], column: str, abnormal_class: str) -> list[float]:
    """A column's values for one class, over the seeds."""
    values = (getattr(row, column) for row in rows if row.abnormal_class == abnormal_class)
    return [value for value in values if value is not None]


def averages(rows: Sequence[Row], column: str, classes: Sequence[str]) -> list[float]:
    """For each seed that has every class, the column's average over the classes."""
    found = []
    for seed in sorted({row.seed for row in rows}):
        values = [getattr(row, column) for row in rows if row.seed == seed and row.abnormal_class in classes]
        if len(values) == len(classes) and None not in values:
            found.append(mean(values))
    return found


def spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several values."""
    if not values:
        return "–"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def both(columns: Iterable[Sequence[float]]) -> str:
    """The spreads of several columns in one cell."""
    return " / ".join(map(spread, columns))


def markdown(rows: Sequence[Row], command: str, published: str = "") -> str:
    """The page: AUROC by class, the leak, and what the trainings took.

    Args:
        rows: the table.
        command: what makes it.
        published: a section of published numbers.
    """
    classes = list(dict.fromkeys(row.abnormal_class for row in rows))
    groups = by_model(rows)
    seeds = len({row.seed for row in rows})
    labelled = rows[0].dataset in DATASETS
    localised = {t: g for t, g in groups.items() if any(row.pixel_auroc is not None for row in g)}
    parts = [
        f"# {rows[0].dataset}: {'each class abnormal in turn' if labelled else 'each of its data sets'}",
        f"Made by `{command}`. All numbers are in [results.csv](results.csv), a line a training, each with the command that "
        f"makes it again. Area under the ROC curve (AUROC){', mean ± standard deviation over seeds' if seeds > 1 else ''}; "
        f"seeds: {seeds}.",
        "## Accuracy, measured honestly",
        "Evaluation mode, raw scores, the test split alone, nothing decided by test labels.",
        table(
            ["model", *classes, "average"],
            [
                [t, *(spread(seeds_of(g, "auroc", c)) for c in classes), f"**{spread(averages(g, 'auroc', classes))}**"]
                for t, g in groups.items()
            ],
        ),
        "![AUROC by model and class](results.png)",
    ]
    if localised:
        parts += [
            "## Where the defects are",
            "Pixel AUROC / AUPRO up to 30 % false positives, of the anomaly maps, on normal images and those with masks.",
            table(
                ["model", *classes, "average"],
                [
                    [t, *(both(seeds_of(g, n, c) for n in LOCALISATION) for c in classes),
                     both(averages(g, n, classes) for n in LOCALISATION)]
                    for t, g in localised.items()
                ],
            ),
        ]  # fmt: skip
    gans = {t: g for t, g in groups.items() if any(row.auroc_published is not None for row in g)}
    if gans:
        names = ("published", "shuffled", "honest")
        parts += [
            "## The leak: the same weights, three ways to score them",
            "Published: batch norm normalises each test batch by itself, over batches sorted by label. Shuffled: the same, "
            "with the test images in random order. Honest: as above. Averages over the classes.",
            table(
                ["model", *names], [[t, *(spread(averages(g, PROTOCOLS[n], classes)) for n in names)] for t, g in gans.items()]
            ),
            "![The same weights by protocol](leak.png)",
        ]
    trained = {t: [row for row in g if row.macs] for t, g in groups.items()}
    trained = {t: g for t, g in trained.items() if g}
    if trained:
        parts += [
            "## What it took",
            table(
                ["model", "generator's parameters", "steps", "MACs spent", "training, minutes"],
                [
                    [t, f"{g[0].parameters:,}", f"{g[0].steps:,}", f"{mean(r.macs or 0 for r in g):.3g}",
                     f"{mean((r.train_seconds or 0) / 60 for r in g):.1f}"]
                    for t, g in trained.items()
                ],
            ),
        ]  # fmt: skip
    broken = [row for row in rows if row.status != "ok"]
    if broken:
        cells = [[row.title, row.abnormal_class, str(row.seed), row.status] for row in broken]
        parts += ["## Failed", table(["model", "class", "seed", "what happened"], cells)]
    return "\n\n".join([*parts, *([published] if published else [])]) + "\n"


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
