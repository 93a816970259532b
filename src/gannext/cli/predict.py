"""Judges images with a detector: a score, a p-value and a verdict for each, and where the anomaly is. Neither the
training data nor a test set is needed. The exit code is 0 whatever the verdicts, 1 where an image could
not be judged, and 2 where nothing was, as of a detector or a path that is not there."""

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gannext.cli.options import (
    add_running_options,
    add_threshold_options,
    add_tile_options,
    adjust,
    check_maps,
    progress,
    show,
    warn,
)
from gannext.runtime import (
    InputError,
    Pixels,
    Prediction,
    Predictor,
    as_csv,
    as_json,
    as_table,
    check_folder,
    check_place,
    find_images,
    picture_name,
    to_image,
    write_text,
)

if TYPE_CHECKING:
    from gannext.inspection import MapsFolder, Report

WRITERS = {"table": lambda rows: as_table(rows) + "\n", "csv": as_csv, "json": as_json}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext predict`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` or `gannext export` made")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--format", choices=tuple(WRITERS), default="table", help="what is printed")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the results to FILE.csv or FILE.json too")
    parser.add_argument("--reconstructions", type=Path, metavar="FOLDER", help="save the reconstructions as PNG")
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="FOLDER",
        help="save overlays, reconstructions and anomaly maps as pictures, and the abnormal regions as COCO JSON",
    )
    parser.add_argument(
        "--map-format", choices=("png", "npy"), default="png", help="anomaly maps as 16-bit PNG, or as NumPy's floats"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write an HTML report with pictures and a threshold slider")
    add_threshold_options(parser)
    add_tile_options(parser, stored=True)
    add_running_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predicts, prints and writes."""
    if args.map_format == "npy" and not args.maps:
        raise InputError("--map-format says how anomaly maps are written: pass --maps FOLDER too")
    if args.output and args.output.suffix.lower() not in (".csv", ".json"):
        raise InputError(f"--output {args.output} names no known format: end it in .csv or .json")
    paths = find_images(args.images)

    from gannext.loading import load

    detector = load(args.detector, device=args.device, engine=args.engine, threads=args.threads)
    adjust(detector, args)
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    outputs = Outputs(detector, args, len(paths))
    stream = detector.predict_iter(
        paths,
        batch_size=args.batch_size,
        reconstruct=bool(args.reconstructions or outputs.draws),
        maps=outputs.draws and detector.pixel_calibration is not None,
    )
    rows: list[Prediction] = []
    try:
        for position, row in enumerate(progress(stream, len(paths), "Judging")):
            rows.append(replace(row, reconstruction=None, anomaly_map=None))
            outputs.keep(row, position)
    except BaseException:  # Ctrl-C, or a full disk: what was judged is not lost
        if rows:
            warn(f"stopped after {len(rows)} of {len(paths)} images: these are their results")
            try:
                outputs.deliver(rows)
            except InputError as error:
                warn(str(error))
        raise
    outputs.deliver(rows)
    failed = sum(row.error is not None for row in rows)
    if failed:
        warn(f"{failed} of {len(rows)} images could not be judged")
    return 1 if failed else 0


class Outputs:
    """What a prediction leaves behind: pictures of each image as it is judged, and the results of all at the end.

    Args:
        detector: what judges.
        args: the command's options.
        count: images that will be judged.

    Raises:
        InputError: the detector cannot draw what is asked for, or a place may not be written to.
    """

    def __init__(self, detector: Predictor, args: argparse.Namespace, count: int) -> None:
        self.detector, self.args = detector, args
        self.folder, self.report = maps_folder(detector, args), report_on(detector, args, count)
        for place in filter(None, (args.output, args.report)):
            check_place(place)
        for place in filter(None, (args.maps, args.reconstructions)):
            check_folder(place)

    @property
    def draws(self) -> bool:
        """Whether the images are drawn beside what was found in them."""
        return self.folder is not None or self.report is not None

    def keep(self, row: Prediction, position: int) -> None:
        """Writes the pictures of an image that was just judged, and adds it to the report."""
        if row.reconstruction is not None and self.args.reconstructions:
            save_reconstruction(row, self.args.reconstructions / f"{picture_name(position, row.image)}.png")
        if not self.draws:
            return
        pixels = self._decoded(row.image) if row.error is None else None
        if self.folder and pixels is not None:
            self.folder.add(row, pixels)
        if self.report:
            self.report.add(row, pixels)

    def _decoded(self, image: str) -> Pixels | None:
        """An image's bytes (H, W, C), decoded once more rather than kept for a whole batch; None where it is gone since."""
        try:
            return self.detector.decode(image)
        except InputError as error:
            warn(f"{error}; it was judged, and has no pictures")
            return None

    def deliver(self, rows: Sequence[Prediction]) -> None:
        """Writes and prints the results; what cannot be written keeps none of the rest from it."""
        args = self.args
        with ExitStack() as steps:  # all are taken, the last one first, and then an error is raised
            steps.callback(show, WRITERS[args.format](rows).rstrip("\n"))
            if self.report:
                steps.callback(self._write_report, self.report, rows)
            if args.output:
                steps.callback(write_text, args.output, WRITERS[args.output.suffix.lower()[1:]](rows))
            if self.folder:
                steps.callback(self.folder.finish)

    def _write_report(self, report: "Report", rows: Sequence[Prediction]) -> None:
        """Writes what `--report` asks for, unless no image could be judged."""
        from gannext.cli.reporting import footer, settings_of

        if all(row.error is not None for row in rows):
            warn("no image could be judged, so there is nothing to report")
            return
        subtitle = f"{len(rows)} images judged by {self.args.detector} on {time.strftime('%Y-%m-%d')}"
        report.write(self.args.report, subtitle, settings_of(self.detector, self.args.detector), footer=footer())


def maps_folder(detector: Predictor, args: argparse.Namespace) -> "MapsFolder | None":
    """What `--maps` asks for."""
    if args.maps is None:
        return None
    from gannext.inspection import MapsFolder

    return MapsFolder(
        args.maps, check_maps(detector, args.detector, "--maps").threshold, args.map_format, {"detector": str(args.detector)}
    )


def report_on(detector: Predictor, args: argparse.Namespace, count: int) -> "Report | None":
    """What `--report` asks for."""
    if args.report is None:
        return None
    from gannext.inspection import Report

    threshold = detector.pixel_calibration.threshold if detector.pixel_calibration else None
    title = str(args.images[0]) if len(args.images) == 1 else f"{count} images"
    return Report(title, detector.calibration, threshold, count)


def save_reconstruction(row: Prediction, path: Path) -> None:
    """One reconstruction as a PNG file."""
    assert row.reconstruction is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    to_image(row.reconstruction).save(path)
