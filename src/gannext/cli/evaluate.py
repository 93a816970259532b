"""Measures a detector's accuracy on a test set: by default the one that belongs to its training data. Where the test set
has masks, it is also measured how well the anomaly maps show the defects."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gannext.cli.options import add_device_option, add_threshold_options, add_tile_options, adjust, positive, show, warn
from gannext.cli.reporting import data_config
from gannext.runtime import InputError, check_place, write_text

if TYPE_CHECKING:
    from gannext.data import Split
    from gannext.detection import Detector
    from gannext.evaluation import Group, Inspected, Metrics, PixelMetrics
    from gannext.inspection import Report

SENTENCES = 20  # about masks, that a terminal shows


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
    add_threshold_options(parser)
    add_tile_options(parser, stored=True)
    parser.add_argument("--batch-size", type=positive, default=128, metavar="N", help="images scored together, at most")
    add_device_option(parser)
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers to this JSON file too")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report with pictures and a threshold slider")


def run(args: argparse.Namespace) -> int:
    """Evaluates and prints."""
    from gannext.data import load_split, name_of
    from gannext.detection import Detector
    from gannext.evaluation import NO_TILES, by_kind, by_size, evaluate, inspect, published_auroc, scores_of_test

    detector = Detector.load(args.detector, args.device)
    adjust(detector, args)
    for place in filter(None, (args.output, args.report)):
        check_place(place)
    stored: dict[str, Any] = dict(detector.provenance.get("data") or {})
    if not stored and not (args.dataset or args.data_root):
        raise InputError(f"{args.detector} does not say what data it was made from: pass --dataset or --data-root")
    if args.dataset or args.data_root:
        name = args.dataset or name_of(args.data_root)
        if name != stored.get("dataset"):
            stored["abnormal_class"] = None
        stored |= {"dataset": name, "data_root": args.data_root}
    stored["abnormal_class"] = args.abnormal_class or stored.get("abnormal_class")
    stored["test_images"] = args.test_images or stored.get("test_images")
    split = load_split(data_config(detector, stored), test_only=True)
    for sentence in split.unreadable:
        warn(sentence)
    split.check_testable()
    if detector.tiling and args.protocol == "published":
        raise InputError(NO_TILES)
    report = None
    if args.report:
        from gannext.inspection import Report

        threshold = detector.anomaly_map.pixels.threshold if detector.anomaly_map else None
        report = Report(str(stored["dataset"]), detector.calibration, threshold, len(split.test))
    found = None
    if report or (split.has_masks and detector.anomaly_map):
        found = inspect(detector, split, args.batch_size, report)
    scores = found.scores if found else scores_of_test(detector, split, args.batch_size)
    metrics = evaluate(detector, split, args.batch_size, scores=scores)
    result: dict[str, Any] = {"honest": metrics.as_dict()}
    print_metrics(metrics, detector.calibration.fpr)
    kinds = by_kind(scores, split.labels, split.kinds, metrics.threshold)
    sizes = by_size(scores, split.labels, found.areas, metrics.threshold) if found else []
    for name, groups in (("kinds", kinds), ("sizes", sizes)):
        if groups:
            result[name] = [group.as_dict() for group in groups]
            print_groups(name, groups)
    faults = found.faults if found else []
    for sentence in faults[:SENTENCES]:
        warn(sentence)
    if len(faults) > SENTENCES:
        warn(f"{len(faults) - SENTENCES} more masks are missing or of no use")
    if found and found.localisation:
        result["localisation"] = found.localisation.as_dict()
        print_localisation(found.localisation)
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    if args.protocol == "published":
        result["published"] = {"last_epoch": published_auroc(detector, split)}
        print_protocols(metrics.auroc, result["published"])
    if args.output:
        write_text(args.output, json.dumps(result, indent=2) + "\n")
    if report and found:
        write_report(report, args, detector, split, found)
    return 0


def write_report(
    report: "Report",
    args: argparse.Namespace,
    detector: "Detector",
    split: "Split",
    found: "Inspected",
) -> None:
    """Writes the HTML report, and says where it is."""
    from gannext.cli.reporting import footer, settings_of

    figures = {}
    if found.localisation:
        figures = {"pixel AUROC": f"{found.localisation.auroc:.3f}", "AUPRO": f"{found.localisation.aupro:.3f}"}
    normal = int((~split.labels).sum())
    subtitle = (
        f"{normal} normal and {len(split.labels) - normal} abnormal test images, judged by {args.detector} "
        f"on {time.strftime('%Y-%m-%d')}"
    )
    report.write(
        args.report, subtitle, settings_of(detector, args.detector), figures, [*split.unreadable, *found.faults], footer()
    )
    show(f"\nReport: {args.report}")


def print_localisation(metrics: "PixelMetrics") -> None:
    """The localisation metrics, for a terminal."""
    show(f"\nLocalisation, on {metrics.images} images with {metrics.regions} marked defects:")
    show(f"  pixel AUROC              {metrics.auroc:.3f}")
    show(f"  pixel average precision  {metrics.average_precision:.3f}")
    show(f"  AUPRO up to 30 % FPR     {metrics.aupro:.3f}")
    show(f"  at the pixel threshold {metrics.threshold:.5g}:")
    show(f"    of the defects' pixels found {metrics.tpr:.3f}   of the normal pixels {metrics.fpr:.3f}")


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


def print_groups(what: str, groups: Sequence["Group"]) -> None:
    """How well each group of abnormal images is found, for a terminal; `what` is "kinds" or "sizes"."""
    title = {"kinds": "By kind of defect", "sizes": "By size of defect"}[what]
    width = max(map(len, [title, *(group.name for group in groups)])) + 2
    show(f"\n{title:<{width}}  images  AUROC  found at the threshold")
    for group in groups:
        show(f"  {group.name:<{width}}{group.images:>6}  {group.auroc:.3f}  {group.tpr:.3f}")


def print_protocols(honest: float, published: dict[str, float]) -> None:
    """The two protocols side by side, and why they differ, where they do."""
    fair, leaky = f"{honest:.3f}", f"{published['last_epoch']:.3f}"
    show("\nAUROC of the same weights by protocol:")
    show(f"  honest     {fair}")
    show(f"  published  {leaky}")
    leaks = []
    if leaky != fair:
        leaks.append("normalises each test batch, sorted by label, by its own statistics, which give the label away")
    if "best" in published:
        best = f"{published['best']:.3f}"
        show(f"  published, best epoch on the test set ({published['epoch']})  {best}")
        if best != leaky:
            leaks.append("picks its epoch on the test set")
    if leaks:
        show(f"They differ because the published procedure {', and '.join(leaks)}; the honest one does not.")
