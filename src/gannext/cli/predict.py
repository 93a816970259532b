"""Judges images with a detector: a score, a p-value and a verdict for each. Neither the training data nor a test set
is needed. The exit code is 1 where an image could not be read, and 0 otherwise, whatever the verdicts."""

import argparse
from pathlib import Path

from gannext.cli.options import add_device_option, positive, rate, show, warn
from gannext.runtime import Calibration, InputError, Prediction, as_csv, as_json, as_table, find_images, write_text

WRITERS = {"table": lambda rows: as_table(rows) + "\n", "csv": as_csv, "json": as_json}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext predict`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` made")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="what is printed")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results to FILE.csv or FILE.json too")
    parser.add_argument("--reconstructions", type=Path, metavar="FOLDER", help="save the reconstructions as PNG")
    parser.add_argument("--fpr", type=rate, metavar="RATE", help="another false-positive rate for the threshold")
    parser.add_argument("--batch-size", type=positive, default=32, metavar="N", help="images scored together")
    add_device_option(parser)


def run(args: argparse.Namespace) -> int:
    """Predicts, prints and writes."""
    if args.output and args.output.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"--output {args.output} names no known format: end it in .csv or .json")
    paths = find_images(args.images)

    from tqdm import tqdm

    from gannext.detection import Detector

    detector = Detector.load(args.detector, args.device)
    if args.fpr is not None:
        detector.calibration = Calibration(detector.calibration.scores, args.fpr)
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    stream = detector.predict_iter(paths, batch_size=args.batch_size, reconstruct=args.reconstructions is not None)
    rows: list[Prediction] = []
    for position, row in enumerate(tqdm(stream, total=len(paths), desc="Judging", leave=False, disable=None)):
        if row.reconstruction is not None:
            save_reconstruction(row, args.reconstructions / f"{position:05d}_{Path(row.image).stem}.png")
            row = Prediction(row.image, row.score, row.p_value, row.abnormal)
        rows.append(row)
    show(WRITERS[args.format](rows).rstrip("\n"))
    if args.output:
        write_text(args.output, WRITERS[args.output.suffix.lower()[1:]](rows))
    failed = sum(row.error is not None for row in rows)
    if failed:
        warn(f"{failed} of {len(rows)} images could not be read")
    return 1 if failed else 0


def save_reconstruction(row: Prediction, path: Path) -> None:
    """One reconstruction as a PNG file."""
    from PIL import Image

    assert row.reconstruction is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = row.reconstruction
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path)
