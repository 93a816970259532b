"""Trains a small detector on scikit-learn's scans of handwritten digits, with one digit left out, and judges a few
scans that it has never seen. No download; about a minute on two processor cores."""

import argparse
from pathlib import Path

from gannext.cli.options import count, show
from gannext.runtime import unknown

OPTIONS = {"digits": ("--dataset", "digits", "--dim", "16", "--batch-size", "32", "--epochs", "15")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gannext demo`."""
    parser.add_argument("name", nargs="?", default="digits", metavar="NAME", help="which demo: digits")
    parser.add_argument("--abnormal-class", default="0", metavar="DIGIT", help="digit left out of training")
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="FOLDER", help="where the run goes")
    parser.add_argument("--seed", type=count, default=0, metavar="N", help="of all randomness")


def run(args: argparse.Namespace) -> int:
    """Trains and predicts by the same commands that a user would type."""
    from gannext.cli.main import run_command

    if args.name not in OPTIONS:
        raise unknown("demo", args.name, tuple(OPTIONS))
    options = [*OPTIONS[args.name], "--abnormal-class", args.abnormal_class, "--seed", str(args.seed),
               "--output", str(args.output)]  # fmt: skip
    show(f"$ gannext train {' '.join(options)}")
    code = run_command("train", options, "gannext train")
    if code:
        return code
    run_folder = max((args.output / "gannext" / "digits").glob("*/detector.gannext"), key=lambda p: p.stat().st_mtime).parent
    predict = [str(run_folder / "detector.gannext"), str(run_folder / "examples")]
    show(f"\n$ gannext predict {' '.join(predict)}")
    code = run_command("predict", predict, "gannext predict")
    show(f"\nPictures: {run_folder / 'pictures' / 'overview.png'}")
    return code
