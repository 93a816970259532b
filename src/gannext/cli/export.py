"""Writes a detector as one file that judges images without torch: decoded bytes of any size go in, and the score, the
reconstruction and the anomaly map come out. `gannext predict` runs it wherever gannext is installed, without extras too."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gannext.cli.options import show
from gannext.runtime import PRECISIONS, InputError, Pixels, check_place, find_images, prepare

if TYPE_CHECKING:
    from gannext.detection import Detector
    from gannext.runtime import ExportedContent

FORMATS = {".onnx": "onnx", ".xml": "openvino"}
LARGEST_CHANGE = 0.005  # of AUROC, or of the rank correlation
MEASURED = 1000  # images of either kind
CALIBRATING = 256  # images whose ranges of values int8 takes
BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext export`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` made")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="FILE.onnx, or FILE.xml for OpenVINO (default: DETECTOR.onnx)"
    )
    parser.add_argument("--format", choices=tuple(FORMATS.values()), help="kind of file (default: as FILE ends)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="fp16: weights take half the room; bf16: and OpenVINO computes in bfloat16; int8: convolutions in 8 bits; what "
        "it costs in accuracy is measured",
    )
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="normal images to measure that on, and to calibrate int8 (default: the held-out and test images of the "
        "detector's own data)",
    )
    parser.add_argument(
        "--force", action="store_true", help=f"write the file even where accuracy changes by more than {LARGEST_CHANGE}"
    )


def run(args: argparse.Namespace) -> int:
    """Exports, measures, writes."""
    path, openvino = place_of(args)
    if args.precision == "fp32" and (args.images or args.force):
        option = "--images" if args.images else "--force"
        raise InputError(
            f"{option} is for measuring a lower precision, and fp32 loses nothing: leave it out, or pass --precision"
        )
    from gannext.detection import Detector, export_detector

    detector = Detector.load(args.detector)
    check_place(path)
    if args.precision == "fp32":
        content = export_detector(detector, openvino=openvino)
    else:
        known = known_images(detector, args)
        content = export_detector(
            detector, args.precision, calibration_batches(detector, known.normal[:CALIBRATING]), openvino=openvino
        )
        measure(detector, content, known, path, args)
    content.save(path)
    size = sum(len(part) for part in (content.graph, content.weights) if part)
    show(f"Exported: {path} ({size / 1e6:.1f} MB, {args.precision})")
    show(f"Judge images:  gannext predict {path} IMAGE...")
    return 0


def place_of(args: argparse.Namespace) -> tuple[Path, bool]:
    """Where to write, and whether that is OpenVINO's kind of file.

    Raises:
        InputError: the name ends otherwise than the format does.
    """
    wanted = args.format or "onnx"
    path: Path = args.output or args.detector.with_suffix(next(end for end, kind in FORMATS.items() if kind == wanted))
    kind = FORMATS.get(path.suffix.lower())
    if kind is None or kind != (args.format or kind):
        endings = " or ".join(end for end, kind in FORMATS.items() if kind == (args.format or kind))
        raise InputError(f"--output {path} names no {args.format or 'known'} format: end it in {endings}")
    return path, kind == "openvino"


@dataclass(frozen=True)
class KnownImages:
    """Held-out normal images, and test images of both kinds with labels where there are any: files or bytes (H, W, C)."""

    normal: list[Path | Pixels]
    test: list[Path | Pixels]
    labels: list[bool]


def known_images(detector: "Detector", args: argparse.Namespace) -> KnownImages:
    """The images to calibrate on and to measure with.

    Raises:
        InputError: neither `--images` nor the detector's own data can be read.
    """
    if args.images:
        return KnownImages([*find_images([args.images])], [], [])
    from gannext.cli.reporting import data_config
    from gannext.data import load_split

    stored = detector.provenance.get("data")
    try:
        if not stored:
            raise InputError(f"{args.detector} does not say what they are")
        config = data_config(detector, stored)
        split = load_split(replace(config, test_images=min(config.test_images or MEASURED, MEASURED)))
    except InputError as error:
        raise InputError(
            f"--precision {args.precision} is measured on images, and those of the detector cannot be read ({error}): "
            "pass --images FOLDER of normal ones"
        ) from None
    tested = 0 if split.untestable else len(split.test)
    return KnownImages(
        [split.held_out.source(i) for i in range(min(MEASURED, len(split.held_out)))],
        [split.test.source(i) for i in range(tested)],
        [bool(label) for label in split.labels[:tested]],
    )


def calibration_batches(detector: "Detector", sources: "list[Path | Pixels]") -> Iterator[Pixels]:
    """The images, or their tiles, as the networks get them: bytes (n, H, W, C)."""
    import numpy as np

    size = None if detector.tiling else detector.size
    batch: list[Pixels] = []
    for prepared in prepare(sources, size, detector.channels, detector.bits, ahead=BATCH if size else 1):
        if isinstance(prepared.pixels, InputError):
            continue
        if detector.tiling:
            if min(prepared.size) >= detector.tiling.side:
                yield next(tiles for _, tiles in detector.tile_batches(prepared.pixels, detector.tiling, BATCH))
            continue
        batch.append(prepared.pixels)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def measure(detector: "Detector", content: "ExportedContent", known: KnownImages, path: Path, args: argparse.Namespace) -> None:
    """Says what the precision costs.

    Raises:
        InputError: it costs too much, and `--force` was not given.
    """
    from gannext.evaluation import compare
    from gannext.runtime import Exported

    exported = Exported.of(content, path)
    change = compare(detector, exported, known.test or known.normal, known.labels or None)
    if change.labelled:
        what = "AUROC"
        show(f"AUROC on {change.images} test images: {change.before:.4f}, at {args.precision} {change.after:.4f}")
    else:
        what = "the rank correlation with the detector's own scores"
        show(f"Rank correlation of the scores at {args.precision} with the detector's, on {change.images} normal images: "
             f"{change.after:.4f}")  # fmt: skip
    if change.size > LARGEST_CHANGE and not args.force:
        raise InputError(
            f"at {args.precision}, {what} changes by {change.size:.4f}, more than {LARGEST_CHANGE}, and nothing was written: "
            f"take a higher --precision, or pass --force"
        )
