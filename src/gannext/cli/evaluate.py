"""Measures a detector's accuracy on a test set: by default the one that belongs to its training data."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext.cli.options import add_device_option, positive, rate, show, warn
from gannext.runtime import Calibration, InputError, write_text

if TYPE_CHECKING:
    from gannext.evaluation import Metrics


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext evaluate`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` made")
    parser.add_argument("--dataset", metavar="NAME", help="another data set than the detector's own")
    parser.add_argument("--data-root", "--dataroot", type=Path, metavar="FOLDER", help="another folder of images")
    parser.add_argument("--abnormal-class", "--abnormal_class", metavar="CLASS", help="another abnormal class")
    parser.add_argument("--test-images", type=positive, metavar="N", help="test on at most N normal and N abnormal ones")
    parser.add_argument(
        "--protocol",
        choices=("honest", "published"),
        default="honest",
        help="published: also measure as the papers' code does, beside the honest number",
    )
    parser.add_argument("--fpr", type=rate, metavar="RATE", help="another false-positive rate for the threshold")
    parser.add_argument("--batch-size", type=positive, default=128, metavar="N", help="images scored together")
    add_device_option(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers to this JSON file too")


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints."""

    from gannext.data import DataConfig, load_split
    from gannext.detection import Detector
    from gannext.evaluation import evaluate, published_auroc

    detector = Detector.load(args.detector, args.device)
    if args.fpr is not None:
        detector.calibration = Calibration(detector.calibration.scores, args.fpr)
    stored: dict[str, Any] = dict(detector.provenance.get("data") or {})
    if not stored and not (args.dataset or args.data_root):
        raise InputError(f"{args.detector} does not say what data it was made from: pass --dataset or --data-root")
    if args.dataset or args.data_root:
        name = args.dataset or args.data_root.resolve().name
        if name != stored.get("dataset"):
            stored["abnormal_class"] = None
        stored |= {"dataset": name, "data_root": args.data_root}
    root = stored.get("data_root")
    split = load_split(
        DataConfig(
            stored["dataset"],
            None if root is None else Path(root),
            args.abnormal_class or stored.get("abnormal_class"),
            detector.config.size,
            detector.config.channels,
            stored.get("train_images"),
            args.test_images or stored.get("test_images"),
            stored.get("seed", 0),
        ),
        test_only=True,
    )
    for sentence in split.unreadable:
        warn(sentence)
    metrics = evaluate(detector, split, args.batch_size)
    result: dict[str, Any] = {"honest": metrics.as_dict()}
    print_metrics(metrics, detector.calibration.fpr)
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    if args.protocol == "published":
        result["published"] = {"last_epoch": published_auroc(detector, split)}
        print_protocols(metrics.auroc, result["published"])
    if args.output:
        write_text(args.output, json.dumps(result, indent=2) + "\n")
    return 0


def print_metrics(metrics: "Metrics", fpr: float) -> None:
    """The honest numbers, for a terminal."""
    show(f"\nAccuracy on {metrics.normal} normal and {metrics.abnormal} abnormal test images:")
    show(f"  AUROC              {metrics.auroc:.3f}")
    show(f"  average precision  {metrics.average_precision:.3f}")
    show(f"  equal error rate   {metrics.eer:.3f}")
    show(f"  at the threshold {metrics.threshold:.5g}, set for a false-positive rate of {fpr:g}:")
    show(f"    abnormal found (TPR) {metrics.tpr:.3f}   false alarms (FPR) {metrics.fpr:.3f}   F1 {metrics.f1:.3f}")
    if metrics.auroc < 0.6:
        show("  An AUROC near or below 0.5 means that this detector does not find this kind of anomaly.")


def print_protocols(honest: float, published: dict[str, float]) -> None:
    """The two protocols side by side, and why they differ."""
    from gannext.evaluation import WHY_THEY_DIFFER

    show("\nAUROC of the same weights by protocol:")
    show(f"  honest     {honest:.3f}")
    show(f"  published  {published['last_epoch']:.3f}")
    if "best" in published:
        show(f"  published, best epoch on the test set ({published['epoch']})  {published['best']:.3f}")
    show(WHY_THEY_DIFFER)
