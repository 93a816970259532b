"""Pictures that say how a detector does."""

import io
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from gannext.data import Split
from gannext.detection import Detector
from gannext.runtime import write_atomically

COLUMNS = 8


def overview(detector: Detector, split: Split, path: Path, scores: np.ndarray) -> None:
    """Writes a PNG: inputs, reconstructions and differences, verdicts, and the histogram of the test images' scores (N,).

    Shows normal and abnormal test images, evenly spaced among all; without test images, held-out normal
    ones.
    """
    abnormal = torch.nonzero(split.labels).flatten().tolist()
    normal = torch.nonzero(~split.labels).flatten().tolist()
    source = split.test if normal else split.held_out
    normal = normal or list(range(len(split.held_out)))
    groups = {"normal": source.__getitems__(spaced(normal))}
    if abnormal:
        groups["abnormal"] = split.test.__getitems__(spaced(abnormal))

    figure = Figure(figsize=(11, 1.2 + 2.75 * len(groups)), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(2.1, 1))[0]
    rows = left.subplots(3 * len(groups))
    for index, (kind, images) in enumerate(groups.items()):
        draw_group(rows[3 * index : 3 * index + 3], kind, images, detector)
    draw_histogram(right.subplots(), detector, split, scores)

    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def spaced(positions: list[int]) -> list[int]:
    """A row's worth of positions, evenly spaced."""
    count = min(COLUMNS, len(positions))
    return [positions[i * len(positions) // count] for i in range(count)]


def draw_group(rows: np.ndarray, kind: str, images: Tensor, detector: Detector) -> None:
    """Three rows of pictures of one kind, the images' scores and verdicts above them."""
    scores, x_hat = detector.score(images)
    x_hat = x_hat.cpu()
    difference = (images.int() - x_hat.int()).abs().to(torch.uint8)
    verdicts = detector.calibration.is_abnormal(scores.cpu().double().numpy())
    gap = max(1, images.shape[-1] // 12)
    width = images.shape[-1] + gap
    for axes, (name, pictures) in zip(
        rows, {"input": images, "reconstruction": x_hat, "difference": difference}.items(), strict=True
    ):
        # One picture a row: matplotlib takes longer for sets of axes than for what is in them.
        axes.imshow(make_grid(pictures, COLUMNS, gap, pad_value=255).permute(1, 2, 0).numpy())
        axes.set(xticks=[], yticks=[], xlim=(0, COLUMNS * width), ylabel=f"{kind}\n{name}" if axes is rows[0] else name)
        axes.yaxis.label.set_fontsize(8)
        axes.spines[:].set_visible(False)
    for column, (score, abnormal) in enumerate(zip(scores.tolist(), verdicts, strict=True)):
        rows[0].text(
            gap + (column + 0.5) * width - gap / 2, 0, f"{score:.3f}\n{'abnormal' if abnormal else 'normal'}",
            fontsize=7, color="tab:red" if abnormal else "tab:green", ha="center", va="bottom",
        )  # fmt: skip


def draw_histogram(axes: Axes, detector: Detector, split: Split, scores: np.ndarray) -> None:
    """Scores of held-out and of test images, with the threshold."""
    series = {"held-out normal": np.asarray(detector.calibration.scores)}
    if len(split.test):
        labels = split.labels.numpy()
        series |= {"test normal": scores[~labels], "test abnormal": scores[labels]}
    series = {name: values for name, values in series.items() if len(values)}
    everything = np.concatenate(list(series.values()))
    bins = np.linspace(everything.min(), max(np.quantile(everything, 0.995), everything.min() + 1e-9), 40).tolist()
    colours = {"held-out normal": "tab:gray", "test normal": "tab:blue", "test abnormal": "tab:red"}
    for name, values in series.items():
        axes.hist(
            np.clip(values, None, bins[-1]),
            bins,
            density=True,
            histtype="step",
            lw=1.5,
            color=colours[name],
            label=name,
        )
    threshold = detector.calibration.threshold
    if np.isfinite(threshold):
        axes.axvline(threshold, color="black", ls="--", lw=1, label=f"threshold {threshold:.4g}")
    axes.set(xlabel="anomaly score", yticks=[], title="Scores")
    axes.legend(fontsize=8)
