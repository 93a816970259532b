"""Trains small detectors and shows what they find, without a download. `digits`: scikit-learn's scans of handwritten
digits, one digit left out of training. `textures`: defects drawn into scikit-image's
photographs of brick, gravel and grass, with a report of each."""

import argparse
from pathlib import Path

from gannext.cli.options import Options, number, seed, show
from gannext.runtime import InputError, unknown

DIGITS = ("--dataset", "digits", "--channels", "1")
TEXTURES = ("--image-size", "64", "--channels", "1")
BUDGET = 7e11  # multiply-accumulates a texture: three of them in less than three minutes on two processor cores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext demo`."""
    parser.add_argument("name", nargs="?", default="digits", metavar="NAME", help="which demo: digits or textures")
    parser.add_argument("--abnormal-class", default="0", metavar="DIGIT", help="digits: the one left out of training")
    parser.add_argument(
        "--budget", type=number(float, 1), default=BUDGET, metavar="MACS", help="textures: multiply-accumulates a training"
    )
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="FOLDER", help="where the runs go")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all randomness")


def run(args: Options) -> int:
    """Trains and predicts by the same commands that a user would type."""
    demos = {"digits": digits, "textures": textures}
    if args.name not in demos:
        raise unknown("demo", args.name, tuple(demos))
    for option, of in (("budget", "textures"), ("abnormal_class", "digits")):
        if option in args.given and args.name != of:
            raise InputError(f"--{option.replace('_', '-')} belongs to `gannext demo {of}`: leave it out")
    return demos[args.name](args)


def digits(args: argparse.Namespace) -> int:
    """A digit that training has never seen."""
    options = [*DIGITS, "--abnormal-class", args.abnormal_class, "--seed", str(args.seed), "--output", str(args.output)]
    code = command("train", *options)
    if code:
        return code
    run_folder = latest_run(args.output, "digits")
    code = command("predict", str(run_folder / "detector.gannext"), str(run_folder / "examples"))
    show(f"\nPictures: {run_folder / 'pictures' / 'overview.png'}")
    show("A digit is a whole object. For defects in surfaces, and where they are, try `gannext demo textures`.")
    return code


def textures(args: argparse.Namespace) -> int:
    """Defects in photographs: where they are, and how sure the detector is."""
    from gannext.data.textures import TEXTURES as NAMES
    from gannext.data.textures import make_textures

    for name in NAMES:
        folder = args.output / "textures" / name
        show(f"\nDrawing defects into photographs of {name}: {folder}")
        make_textures(folder, name, args.seed)
        options = [*TEXTURES, "--budget", f"{args.budget:g}", "--seed", str(args.seed), "--output", str(args.output)]
        code = command("train", "--data-root", str(folder), *options)
        if code:
            return code
        run_folder = latest_run(args.output, name)
        report, numbers = run_folder / "report.html", run_folder / "evaluation.json"
        code = command("evaluate", str(run_folder / "detector.gannext"), "--report", str(report), "--output", str(numbers))
        if code:
            return code
    return 0


def command(name: str, *options: str) -> int:
    """Runs a command as if it had been typed, and returns its exit code."""
    from gannext.cli.main import run_command

    show(f"\n$ gannext {name} {' '.join(options)}")
    return run_command(name, options, f"gannext {name}")


def latest_run(output: Path, dataset: str) -> Path:
    """The folder of the latest run on a data set."""
    return max((output / "gannext" / dataset).glob("*/detector.gannext"), key=lambda p: p.stat().st_mtime).parent
