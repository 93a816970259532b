"""The benchmark's plots."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gannext.data import DATASETS
from gannext.evaluation.figures import save_figure
from gannext.evaluation.table import PROTOCOLS, Row, by_model, seeds_of

SHOWN = {"published": "published\nprocedure", "shuffled": "published,\nshuffled", "honest": "honest"}


def accuracy_chart(rows: Sequence[Row], path: Path) -> None:
    """Writes a PNG: the honest AUROC of each model, a dot a class and a bar at their average; the best model on top."""
    classes = list(dict.fromkeys(row.abnormal_class for row in rows))
    found = {title: class_means(group, "auroc", classes) for title, group in by_model(rows).items()}
    found = dict(sorted(((t, values) for t, values in found.items() if values), key=lambda item: mean(item[1].values())))
    figure = Figure(figsize=(8.5, 1.3 + 0.42 * len(found)), layout="constrained")
    axes: Axes = figure.subplots()
    for height, (_, values) in enumerate(found.items()):
        average = mean(values.values())
        axes.plot([average, average], [height - 0.32, height + 0.32], color="black", lw=2.5, zorder=3)
        axes.annotate(f"{average:.3f}", (1.01, height), va="center", fontsize=9, annotation_clip=False)
        for index, abnormal_class in enumerate(classes):
            if abnormal_class in values:
                label = abnormal_class if height == 0 else None
                axes.scatter(values[abnormal_class], height, s=34, color=f"C{index}", alpha=0.85, zorder=2, label=label)
    chance(axes.axvline)
    axes.set(xlim=(0, 1), xlabel="AUROC, honest protocol", yticks=range(len(found)), yticklabels=list(found))
    what = "Each class abnormal in turn" if rows[0].dataset in DATASETS else "Each data set"
    axes.set_title(f"{what} (dots), average (bars, and right)", fontsize=10)
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    save_figure(figure, path)


def leak_chart(rows: Sequence[Row], path: Path) -> None:
    """Writes a PNG: the AUROC of the same weights by each protocol, one panel a model, a line a class."""
    groups = {t: g for t, g in by_model(rows).items() if any(row.auroc_published is not None for row in g)}
    classes = list(dict.fromkeys(row.abnormal_class for row in rows))
    figure = Figure(figsize=(2.2 + 2.3 * len(groups), 4.1), layout="constrained")
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
    for axes, (title, group) in zip(panels, groups.items(), strict=True):
        values = {name: class_means(group, PROTOCOLS[name], classes) for name in SHOWN}
        complete = [c for c in classes if all(c in values[name] for name in SHOWN)]
        for index, abnormal_class in enumerate(classes):
            if abnormal_class in complete:
                line = [values[name][abnormal_class] for name in SHOWN]
                axes.plot(range(3), line, color=f"C{index}", lw=1.2, alpha=0.7, marker="o", ms=3, label=abnormal_class)
        if complete:
            averages = [mean(values[name][c] for c in complete) for name in SHOWN]
            axes.plot(range(3), averages, color="black", lw=3, marker="o", label="average")
            for x, y in enumerate(averages):
                axes.annotate(f"{y:.2f}", (x, y), (0, 9), textcoords="offset points", ha="center", fontsize=9, weight="bold")
        chance(axes.axhline)
        axes.set(title=title, ylim=(0, 1), xlim=(-0.3, 2.3), xticks=range(3))
        axes.set_xticklabels(list(SHOWN.values()), fontsize=8)
        axes.grid(axis="y", alpha=0.25)
    panels[0].set_ylabel("AUROC of the same weights")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8, frameon=False)
    save_figure(figure, path)


def class_means(rows: Sequence[Row], column: str, classes: Sequence[str]) -> dict[str, float]:
    """A column's mean over seeds, of the classes that have one."""
    values = {abnormal_class: seeds_of(rows, column, abnormal_class) for abnormal_class in classes}
    return {abnormal_class: mean(v) for abnormal_class, v in values.items() if v}


def chance(line: object) -> None:
    """The AUROC of guessing."""
    line(0.5, color="gray", ls="--", lw=1, zorder=1)  # type: ignore[operator]
