"""Sets a detector's threshold anew, by good pictures of today: from another camera, in another light, of another batch. Nothing
is trained, so that it takes as long as judging them, and an exported file needs no torch for it. The pictures must be normal,
and none that the detector was trained on."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gannext.cli.options import add_running_options, add_threshold_options, add_tile_options, progress, show, tiling_of, warn
from gannext.cli.outcome import report_highest
from gannext.runtime import HIGHEST, InputError, Prediction, Predictor, check_place, find_images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext calibrate`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` or `gannext export` made")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="normal image files, or folders of them")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="the new file (default: DETECTOR with .calibrated before its ending)"
    )
    add_threshold_options(parser)
    add_tile_options(parser, stored=True)
    add_running_options(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrates, says what has changed, writes."""
    source: Path = args.detector
    path: Path = args.output or source.with_name(f"{source.stem}.calibrated{source.suffix}")
    if path.suffix.lower() != source.suffix.lower():
        raise InputError(f"--output {path} is another kind of file: end it in {source.suffix}, as {source} does")
    images = find_images(args.images)

    from gannext.loading import load

    detector = load(source, device=args.device, engine=args.engine, threads=args.threads)
    detector.tiling = tiling_of(args, detector.tiling)
    check_place(path)
    if any(trained_on(image, detector.provenance) for image in images):
        warn("some of these pictures lie where it was trained; those score lower than new ones, and the threshold with them")
    threshold, pixels = detector.calibration.threshold, detector.pixel_calibration
    judged = detector.calibrate(
        progress(images, len(images), "Judging"), fpr=args.fpr, pixel_fpr=args.pixel_fpr, batch_size=args.batch_size
    )
    detector.provenance["calibrated"]["from"] = [str(place) for place in args.images]
    detector.save(path)
    for prediction in judged:
        if prediction.error is not None:
            warn(prediction.error)
    report(detector, judged, threshold)
    if pixels and detector.pixel_calibration:
        show(f"  pixel threshold {detector.pixel_calibration.threshold:.5g}, before {pixels.threshold:.5g}")
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    show(f"\nDetector: {path}")
    return 0


def report(detector: Predictor, judged: Sequence[Prediction], before: float) -> None:
    """What the calibration is made of, and what it changes."""
    good = sorted((p for p in judged if p.score is not None), key=lambda p: -(p.score or 0.0))
    alarms = sum(bool(p.abnormal) for p in good)
    show(f"Calibrated on {len(good)} normal images, for a false-positive rate of {detector.calibration.fpr:g}:")
    show(f"  threshold {detector.calibration.threshold:.5g}, before {before:.5g}, which {alarms} of them exceed")
    report_highest([(p.image, p.score or 0.0) for p in good[:HIGHEST]])


def trained_on(image: Path, provenance: Mapping[str, Any]) -> bool:
    """Whether an image lies where a detector's training images are."""
    root = (provenance.get("data") or {}).get("data_root")
    if root is None:
        return False
    whole = Path(root).resolve()
    return (whole / "train" if (whole / "train").is_dir() else whole) in image.resolve().parents
