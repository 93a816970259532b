"""Option types, the parser that answers in one sentence, and options from a YAML file."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gannext.runtime import (
    BATCH_SIZE,
    ENGINES,
    LEAST_RATE,
    MOST_RATE,
    SMALLEST_TILE,
    InputError,
    PixelCalibration,
    Predictor,
    Tiling,
    check_side,
    unknown,
)

DEFAULT_SIZE = (32, 32)  # this very object where --image-size was not given
LARGEST_TILE = 8192
Item = TypeVar("Item")


class Options(argparse.Namespace):
    """The options' values. `given` names those that stood on the command line or in a file, whatever their values are;
    an argument without a name always stands among them."""

    __slots__ = ("given",)  # not among the values, which `vars` lists
    given: frozenset[str]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, with the nearest option for a misspelt one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, "allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see `{self.prog} -h`)\n")

    def parse(self, arguments: Sequence[str]) -> Options:
        """As `parse_args`, with a sentence for what belongs to no option."""
        parsed, extra = self.parse_known_args(arguments, Options())
        if extra:
            stray = extra[0]
            if stray.startswith("-"):
                known = [s for a in self._actions for s in a.option_strings if s.startswith("--")]
                message = str(unknown("option", stray.split("=")[0], known))
                self.error(message.split(": the known ones")[0] + nearest(message))
            self.error(f"{stray!r} belongs to no option")
        # A parser leaves alone what is there before: what it replaces was given.
        before = Options(**dict.fromkeys(vars(parsed), self))
        self.parse_known_args(arguments, before)
        parsed.given = frozenset(name for name, value in vars(before).items() if value is not self)
        return parsed


def nearest(message: str) -> str:
    """The "did you mean" of an unknown name's message, without the list that stands before it."""
    return "; did you mean" + message.split("; did you mean")[1] if "; did you mean" in message else ""


class HelpFormatter(argparse.HelpFormatter):
    """Help that names the defaults where there are any."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default in (None, False, argparse.SUPPRESS) or "default" in (action.help or "")
        return action.help if silent else f"{action.help} (default: %(default)s)"


def number(
    kind: type[int] | type[float], low: float, high: float = math.inf, *, open_ends: bool = False
) -> Callable[[str], Any]:
    """An argparse type: a number of a kind, within bounds."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' if kind is int else ''}number") from None
        inside = low < value < high if open_ends else low <= value <= high
        if not inside:
            bounds = f"between {low:g} and {high:g}" if open_ends else f"from {low:g} to {high:g}"
            if high == math.inf:
                bounds = f"{low:g} or more"
            raise argparse.ArgumentTypeError(f"{text} is out of range: give {bounds}")
        return value

    return parse


positive = number(int, 1)
count = number(int, 0)
seed = number(int, 0, 2**32 - 1)  # NumPy's bounds
weight = number(float, 0)
rate = number(float, 0, 1, open_ends=True)
pixel_rate = number(float, LEAST_RATE, MOST_RATE)


def size(text: str) -> tuple[int, int]:
    """An argparse type: "64", or "64x96" for height and width."""
    parts = text.lower().split("x")
    try:
        sides = [int(part) for part in parts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise argparse.ArgumentTypeError(f"{text!r} is no image size: give a side such as 64, or height x width as 64x96")
    try:
        for side in sides:
            check_side(side)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return sides[0], sides[-1]


def numbers(text: str, what: str = "depths", example: str = "2,2,6") -> tuple[int, ...]:
    """An argparse type: whole numbers from 1 up, as "2,2,6"."""
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or min(values) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of {what}: give whole numbers such as {example}")
    return values


def odd(text: str) -> int:
    """An argparse type: an odd number from 1 up."""
    value: int = positive(text)
    if value % 2 == 0:
        raise argparse.ArgumentTypeError(f"{value} is even: give an odd side such as {value + 1}")
    return value


def gpu_ids(text: str) -> list[int]:
    """An argparse type: "0,1", or "-1" for none."""
    try:
        return [] if not text.strip() else [i for i in (int(part) for part in text.split(",")) if i >= 0]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of GPUs: give numbers such as 0,1 or -1 for the CPU") from None


def add_model_options(parser: argparse.ArgumentParser, size_help: str) -> None:
    """The options that describe the networks; `size_help` says what `--image-size` is the size of."""
    group = parser.add_argument_group("networks")
    group.add_argument(
        "--model", "--gen", default="gannext", metavar="NAME", help="gannext, skipganomaly, ganomaly or anotrans"
    )
    group.add_argument(
        "--image-size",
        "--isize",
        type=size,
        default=DEFAULT_SIZE,
        metavar="S",
        help=size_help,
    )
    group.add_argument("--channels", "--nc", type=int, choices=(1, 3), default=3, help="3 for colour, 1 for grey")
    group.add_argument("--dim", "--ngf", type=positive, metavar="D", help="generator's width (gannext: 40; the others: 64)")
    group.add_argument("--depths", type=numbers, metavar="N,N,N", help="blocks per level (gannext: 2,2,6)")
    group.add_argument("--bottom", type=positive, metavar="N", help="blocks at the bottom (gannext: 4)")
    group.add_argument("--kernel", type=odd, metavar="K", help="side of the depthwise kernel, odd (gannext: 5)")
    group.add_argument("--norm", choices=("bn", "ln"), help="batch norm or layer norm (gannext: bn)")
    group.add_argument("--patch", type=positive, metavar="K", help="side of the stem's patches (gannext: 2)")
    group.add_argument("--ndf", type=positive, metavar="N", help="discriminator's width (published: 64)")
    group.add_argument(
        "--nz", type=positive, metavar="N", help="discriminator's features, or ganomaly's latents (published: 100)"
    )


GENERATOR_OPTIONS = ("dim", "depths", "bottom", "kernel", "norm", "patch")


def network_config(args: argparse.Namespace, build: Any = None) -> Any:
    """The NetworkConfig that the options describe.

    `build` makes it, called as `Recipe.networks` is; by default, NetworkConfig itself does.
    """
    from gannext.networks import MODELS, NetworkConfig, measure_cost

    if args.model not in MODELS:
        raise unknown("model", args.model, tuple(MODELS))
    options = {name: getattr(args, name) for name in GENERATOR_OPTIONS if getattr(args, name) is not None}
    build = build or NetworkConfig
    widths = {name: getattr(args, name) for name in ("ndf", "nz") if getattr(args, name) is not None}
    config = build(args.model, args.image_size, args.channels, options, **widths)
    try:
        measure_cost(config.build_generator, config.channels, config.size)  # without allocating anything
    except ValueError as error:
        raise InputError(str(error)) from None
    return config


def add_device_option(parser: argparse._ActionsContainer) -> None:
    """`--device`."""
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "gpu", "cuda", "mps"),
        default="auto",
        help="where the networks run; auto takes a CUDA GPU where there is one",
    )


def add_running_options(parser: argparse._ActionsContainer) -> None:
    """How images are judged by a detector or an exported file: `--batch-size`, `--device`, `--engine` and `--threads`."""
    parser.add_argument("--batch-size", type=positive, default=BATCH_SIZE, metavar="N", help="images scored together, at most")
    add_device_option(parser)
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="what runs an exported file; auto: OpenVINO for its own .xml files, ONNX Runtime for .onnx",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="processors that compute (default: all)")


def add_tile_options(parser: argparse._ActionsContainer, *, stored: bool) -> None:
    """`--tile` and `--overlap`; `stored`: whether the detector has a setting of its own."""
    instead = " (default: the detector's own setting)" if stored else ""
    parser.add_argument(
        "--tile",
        type=number(int, SMALLEST_TILE, LARGEST_TILE),
        metavar="SIDE",
        help=f"cut large pictures into tiles of SIDExSIDE pixels instead of resizing them{instead}",
    )
    parser.add_argument(
        "--overlap",
        type=number(float, 0, 0.75),
        metavar="SHARE",
        help=f"share of a tile that its neighbour covers too, 0 to 0.75{instead or ' (default: 0.25)'}",
    )


def add_threshold_options(parser: argparse._ActionsContainer) -> None:
    """`--fpr` and `--pixel-fpr`, which move a detector's thresholds."""
    parser.add_argument("--fpr", type=rate, metavar="RATE", help="another false-positive rate for the threshold")
    parser.add_argument(
        "--pixel-fpr", type=pixel_rate, metavar="RATE", help="another false-positive rate for the threshold of the anomaly maps"
    )


def adjust(detector: Predictor, args: argparse.Namespace) -> None:
    """Gives a loaded detector the thresholds and tiles that the options ask for."""
    from dataclasses import replace

    if args.fpr is not None:
        detector.calibration = replace(detector.calibration, fpr=args.fpr)
    if args.pixel_fpr is not None and detector.pixel_calibration:
        detector.pixel_calibration = replace(detector.pixel_calibration, fpr=args.pixel_fpr)
    tiling = tiling_of(args, detector.tiling)
    if tiling != detector.tiling:
        detector.tiling = tiling
        warn("the detector was calibrated with other tiles: its p-values, threshold and false-positive rate are not exact")


def check_maps(detector: Predictor, path: Path, option: str) -> PixelCalibration:
    """The calibration of a detector's anomaly maps, which an option asks for; raises InputError where it makes none."""
    if detector.pixel_calibration is None:
        raise InputError(f"{path} knows no anomaly maps, as an older gannext made it: train it again, or drop {option}")
    return detector.pixel_calibration


def tiling_of(args: argparse.Namespace, stored: Tiling | None = None) -> Tiling | None:
    """The tiles that the options ask for, or the stored ones."""
    if args.tile is None and args.overlap is None:
        return stored
    side = args.tile or (stored.side if stored else None)
    if side is None:
        raise InputError("--overlap says how far tiles overlap, and there are none: pass --tile too")
    own = stored.overlap if stored else Tiling(side).overlap
    return Tiling(side, own if args.overlap is None else args.overlap)


def from_yaml(path: Path, parser: argparse.ArgumentParser) -> list[str]:
    """A YAML file's options as arguments, to be put before those of the command line, which win.

    Raises:
        InputError: the file cannot be read, is no mapping, or names an option that does not exist.
    """
    try:
        import yaml
    except ImportError:
        raise InputError("--config takes PyYAML, which is not installed: pip install 'gannext[train]'") from None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: name a YAML file of options") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no list of options: write lines such as `epochs: 15`")
    actions = {s.lstrip("-").replace("-", "_"): a for a in parser._actions for s in a.option_strings if s[:2] == "--"}
    arguments: list[str] = []
    for name, value in content.items():
        key = str(name).replace("-", "_")
        if key not in actions or key in ("config", "help"):
            known = tuple(n for n in actions if n not in ("config", "help"))
            message = str(unknown("option", key, known))
            raise InputError(f"{path}: {message.split(': the known ones')[0]}{nearest(message)}")
        if value is None or value is False:
            continue
        option = actions[key].option_strings[0]
        if isinstance(value, list):
            value = ",".join(map(str, value))
        arguments.append(option if value is True else f"{option}={value}")
    return arguments


def progress(items: Iterable[Item], total: int, what: str) -> Iterable[Item]:
    """The items, with a progress bar on a terminal where tqdm is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    bar: Iterable[Item] = tqdm(items, total=total, desc=what, leave=False, disable=None)
    return bar


def show(message: str = "") -> None:
    """Prints a line for the user, at once even where it goes into a file; of several processes, only the first does."""
    if is_first_process():
        try:
            print(message, flush=True)
        except BrokenPipeError:  # the reader, such as `head`, has seen enough; the work goes on
            ignore_output()


def ignore_output() -> None:
    """Lets what is printed from here on go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(message: str) -> None:
    """As `show`, for a remark that must not be lost in the output: on the error stream."""
    if is_first_process():
        print(f"note: {message}", file=sys.stderr, flush=True)


def is_first_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
