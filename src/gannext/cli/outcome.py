"""What a training says of its images and of its result, and what it leaves to try the detector on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext.cli.options import show, warn
from gannext.runtime import BITS, image_size, on_one_line, write_text

if TYPE_CHECKING:
    from gannext.data import Images, Split
    from gannext.detection import Detector

THINGS, DEFECTS = "another kind of thing", "spots and scratches"
CHOICES = {
    "robust-objects": ("several kinds of thing", THINGS, DEFECTS, "robust-textures"),
    "robust-parts": ("one kind of part", DEFECTS, THINGS, "robust-objects"),
    "robust-textures": ("a surface", DEFECTS, THINGS, "robust-objects"),
}
"""By the recipe that was chosen for a folder: what its images seem to show, what that recipe looks for, what it does not, and
which one does."""

LARGE = 2  # images of more than so many times the side that they are resized to lose what one may look for


def report_choice(recipe: str) -> None:
    """Says why this recipe was chosen for a folder, and what to do where that is not what the user is after."""
    shown, looked_for, not_looked_for, other = CHOICES[recipe]
    show(f"They seem to show {shown}; looked for: {looked_for}. For {not_looked_for}, pass --recipe {other}.")


def warn_of_shrinking(images: "Images", size: tuple[int, int]) -> None:
    """Says so where files are several times as large as the size that nobody asked for: what is small vanishes then."""
    first = images.source(0) if len(images) else None
    if isinstance(first, Path) and min(sides := image_size(first)) > LARGE * min(size):
        (height, width), (rows, columns) = sides, size
        warn(
            f"images such as {first}, {height}x{width}, are shrunk to {rows}x{columns}, and small defects vanish: "
            "pass --image-size, or --tile for large pictures"
        )


def report_split(dataset: str, split: "Split") -> None:
    """Says what there is to train and test on."""
    for sentence in split.unreadable[:20]:
        warn(sentence)
    if split.unreadable:
        warn(f"{len(split.unreadable)} unreadable {'file was' if len(split.unreadable) == 1 else 'files were'} skipped")
    for sentence in split.remarks:
        warn(sentence)
    from gannext.data import TileImages

    abnormal = int(split.labels.sum())
    training = f"{len(split.train)} normal images"
    if isinstance(split.train, TileImages):
        training = f"{len(split.train)} tiles an epoch of {len(split.train.paths)} normal pictures"
    left_out = f", class {split.abnormal_class!r} left out" if split.abnormal_class else ""
    show(
        f"Data: {dataset}{left_out}: {training} to train on, {len(split.held_out)} held out to "
        f"calibrate, {len(split.test) - abnormal} normal and {abnormal} abnormal to test"
    )
    if split.bits and split.bits < BITS[1]:
        show(f"Of their 16-bit greys {split.bits} bits count: {2**split.bits - 1} and more are white (--bits).")
    if split.train.streams:
        show("The images do not fit into memory and are decoded as they are needed.")


def report_highest(highest: Sequence[tuple[str, float]]) -> None:
    """Names the normal images that score highest of those that calibrate: one that is not good would be among them, and raise
    the threshold."""
    if highest:
        show("  highest, so look whether they are good:")
    for image, score in highest:
        show(f"    {on_one_line(image)}  {score:.5g}")


def report_result(detector: "Detector", split: "Split", scores: Any, folder: Path, best: Any) -> None:
    """Prints the accuracy and writes it to evaluation.json."""
    from gannext.cli.evaluate import print_groups, print_metrics, print_protocols
    from gannext.evaluation import by_kind, evaluate, published_auroc

    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    if highest := detector.provenance["highest"]:
        show(f"\nCalibrated on {len(split.held_out)} normal images:")
        report_highest(highest)
    if split.untestable:
        show(f"\n{split.untestable}")
        return
    metrics = evaluate(detector, split, scores=scores)
    result: dict[str, Any] = {"honest": metrics.as_dict()}
    print_metrics(metrics, detector.calibration.fpr)
    if kinds := by_kind(scores, split.labels, split.kinds, metrics.threshold):
        result["kinds"] = [group.as_dict() for group in kinds]
        print_groups("kinds", kinds)
    if best:
        result["published"] = {"last_epoch": published_auroc(detector, split), "best": best.best, "epoch": best.epoch}
        print_protocols(metrics.auroc, result["published"])
    write_text(folder / "evaluation.json", json.dumps(result, indent=2) + "\n")


def save_examples(split: "Split", folder: Path, each: int = 4) -> None:
    """A few test images as files, to try the detector on; held-out ones where there is no test set."""
    from shutil import copyfile

    from torchvision.transforms.functional import to_pil_image

    from gannext.data import TileImages

    source, kinds, labels = split.test, split.kinds, split.labels.tolist()
    if not labels:
        source, labels = split.held_out, [False] * len(split.held_out)
        kinds = ["held-out"] * len(labels)
    folder.mkdir(parents=True, exist_ok=True)
    for abnormal in (False, True):
        positions = [i for i, label in enumerate(labels) if label is abnormal]
        step = max(1, len(positions) // each)
        for index, position in enumerate(positions[::step][:each]):
            name = f"{'abnormal' if abnormal else 'normal'}_{index}_{kinds[position]}"
            file = source.source(position)
            if isinstance(split.train, TileImages) and isinstance(file, Path):  # a tile alone is no picture to be tiled
                copyfile(file, folder / f"{name}{file.suffix}")
            else:
                to_pil_image(source[position]).save(folder / f"{name}.png")
