"""Judges pictures as they arrive in a folder, from a camera or another program, until it is stopped by Ctrl-C: a line for each,
and with --output a row of a table. Those that are there already come first, but for what the table has from before. The
folder is only read."""

import argparse
import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

from gannext.cli.options import (
    add_running_options,
    add_threshold_options,
    add_tile_options,
    adjust,
    check_maps,
    number,
    show,
    warn,
)
from gannext.runtime import (
    InputError,
    Prediction,
    Predictor,
    as_csv,
    check_folder,
    check_place,
    image_files,
    picture_name,
    to_image,
    write_text,
)

Stamp = tuple[int, int]
"""When a file was last written, in nanoseconds, and how long it is, in bytes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext watch`."""
    parser.add_argument("detector", type=Path, help="file that `gannext train` or `gannext export` made")
    parser.add_argument("folder", type=Path, help="where pictures arrive, or in folders below it")
    parser.add_argument("--output", type=Path, metavar="FILE", help="add each result to FILE.csv")
    parser.add_argument("--overlays", type=Path, metavar="FOLDER", help="save what is abnormal, with its regions outlined")
    parser.add_argument(
        "--interval", type=number(float, 0.01, 3600), default=0.2, metavar="S", help="seconds between looks into the folder"
    )
    add_threshold_options(parser)
    add_tile_options(parser, stored=True)
    add_running_options(parser)


def run(args: argparse.Namespace) -> int:
    """Watches and judges until it is interrupted."""
    if not args.folder.is_dir():
        raise InputError(f"{args.folder} is not a folder: name the one where pictures arrive")
    if args.output and args.output.suffix.lower() != ".csv":
        raise InputError(f"--output {args.output} names no table: end it in .csv")

    from gannext.loading import load

    detector = load(args.detector, device=args.device, engine=args.engine, threads=args.threads)
    adjust(detector, args)
    if detector.calibration.shortfall:
        warn(detector.calibration.shortfall)
    if args.overlays:
        if args.folder.resolve() in (args.overlays.resolve(), *args.overlays.resolve().parents):
            raise InputError(
                f"--overlays {args.overlays} lies in {args.folder}, where they would arrive too: name another folder"
            )
        check_folder(args.overlays)
        check_maps(detector, args.detector, "--overlays")
    known = begin_table(args.output) if args.output else []
    counts = {"normal": 0, "abnormal": 0, "error": 0}
    show(f"Watching {args.folder}; Ctrl-C ends it.")
    try:
        for paths in arriving(args.folder, set(known), args.interval, args.batch_size):
            for row in detector.predict(paths, batch_size=args.batch_size, maps=args.overlays is not None):
                keep(row, detector, args, len(known) + sum(counts.values()))
                counts[row.verdict] += 1
    except KeyboardInterrupt:  # the usual end
        show("\n" + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count or verdict != "error"))
    return 0


def begin_table(path: Path) -> list[str]:
    """The images that a table has already; begins one where there is none. A row that was cut off is taken away.

    Raises:
        InputError: the file is no table of results, or may not be written.
    """
    check_place(path)
    header = as_csv([])
    try:
        text = path.read_bytes().decode(errors="backslashreplace") if path.exists() else ""
    except OSError as error:
        raise InputError(f"{path} could not be read ({error.strerror}): name another --output") from None
    if not text.startswith(header[: len(text)]):
        raise InputError(f"{path} is no table of results: name another --output")
    whole = text[: text.rfind("\n") + 1] or header
    if whole != text:
        write_text(path, whole)
    return [row["image"] for row in csv.DictReader(io.StringIO(whole))]


def arriving(folder: Path, known: set[str], interval: float, most: int) -> Iterator[list[Path]]:
    """The pictures of a folder, some at a time, once they have been written: a file is whole when it has stayed as it is from
    one look to the next. One that is written anew arrives anew.

    Args:
        folder: where they arrive.
        known: names of files that need no judging as they are now.
        interval: seconds between looks.
        most: how many at a time.
    """
    before: dict[Path, Stamp] = {}
    given: dict[Path, Stamp] = {path: stamp for path, stamp in stamps(folder).items() if str(path) in known}
    while True:
        now = stamps(folder) or before  # a disk that has gone for a while comes back with the same files
        whole = [path for path, stamp in now.items() if before.get(path) == stamp and given.get(path) != stamp]
        for first in range(0, len(whole), most):
            yield whole[first : first + most]
        given = {path: stamp for path, stamp in given.items() if path in now} | {path: now[path] for path in whole}
        before = now
        time.sleep(interval)


def stamps(folder: Path) -> dict[Path, Stamp]:
    """The pictures of a folder, in the order they were written in."""
    found: dict[Path, Stamp] = {}
    for path in image_files(folder, deep=True):
        try:
            state = path.stat()
        except OSError:  # taken away between two looks
            continue
        found[path] = state.st_mtime_ns, state.st_size
    return dict(sorted(found.items(), key=lambda item: item[1][0]))


def keep(row: Prediction, detector: Predictor, args: argparse.Namespace, position: int) -> None:
    """Writes what is asked for of a result, and then prints it: what has been said is kept, whenever the end comes."""
    if args.overlays and row.abnormal and row.anomaly_map is not None and detector.pixel_calibration:
        from gannext.inspection import overlay

        try:
            picture = overlay(detector.decode(row.image), row.anomaly_map, detector.pixel_calibration.threshold)
            to_image(picture).save(args.overlays / f"{picture_name(position, row.image)}.png")
        except InputError as error:
            warn(f"{error}; it was judged, and has no overlay")
    if args.output:
        line = as_csv([row]).partition("\n")[2]
        with args.output.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)
    values = f"{row.score:.6f}  p {row.p_value:.4f}" if row.error is None else row.error
    show(f"{time.strftime('%H:%M:%S')}  {row.verdict:<8}  {row.image}  {values}")
