"""`gannext`: finds the command, and turns the user's errors into one sentence and exit code 2."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from gannext import __version__
from gannext.cli.options import Parser, from_yaml, ignore_output
from gannext.runtime import InputError, unknown

COMMANDS = {
    "train": "train on normal images and save a detector",
    "evaluate": "measure a detector's accuracy on a test set",
    "predict": "judge images with a detector",
    "watch": "judge pictures as they arrive in a folder",
    "calibrate": "set a detector's threshold anew, by good pictures of today",
    "export": "write a detector as one file that runs without torch",
    "benchmark": "compare models on a data set, each class abnormal in turn",
    "profile": "count parameters and MACs and measure the speed of a network",
    "demo": "train on digits or textures and show what is found, in a few minutes",
}
DESCRIPTION = "A convolutional GAN that detects anomalies in images, trained on normal images only."
EPILOG = """\
start here:
  gannext demo                                         trains and judges, to see it all work
  gannext train --data-root parts/                     your own folder of good pictures
  gannext predict output/.../detector.gannext new/     judges new pictures
"""


def command_parser(name: str, prog: str) -> Parser:
    """The parser of one command."""
    module = importlib.import_module(f"gannext.cli.{name}")
    parser = Parser(prog=prog, description=module.__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML file of options; those given here win")
    module.add_arguments(parser)
    return parser


def run_command(name: str, arguments: Sequence[str], prog: str) -> int:
    """Runs one command, and returns its exit code: 0, or 1 where some images failed, or 2 for a user's error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # no name of a file is worth losing the results that it stands among
            stream.reconfigure(errors="backslashreplace")
    parser = command_parser(name, prog)
    try:
        config = config_of(arguments)
        if config is not None:
            arguments = [*from_yaml(config, parser), *arguments]
        args = parser.parse(arguments)
        return int(importlib.import_module(f"gannext.cli.{name}").run(args) or 0)
    except InputError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        ignore_output()
        return 0
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "gannext":
            raise
        print(f"{prog}: error: {error.name} is not installed: pip install 'gannext[train]'", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk or a forbidden place, met outside of the files that matter
        print(f"{prog}: error: {error.filename or 'a file'} could not be used ({error.strerror or error})", file=sys.stderr)
        return 2


def config_of(arguments: Sequence[str]) -> Path | None:
    """The file named by --config, which must be known before the other options are parsed."""
    peek = Parser(add_help=False)
    peek.add_argument("--config", type=Path)
    found: Path | None = peek.parse_known_args(arguments)[0].config
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point of `gannext`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in COMMANDS:
        return run_command(arguments[0], arguments[1:], f"gannext {arguments[0]}")
    parser = Parser(prog="gannext", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"gannext {__version__}")
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
    parser.epilog = f"commands (each answers -h):\n{listing}\n\n{EPILOG}"
    parser.add_argument("command", nargs="?", metavar="command")
    if command := parser.parse(arguments[:1]).command:
        parser.error(str(unknown("command", command, tuple(COMMANDS))))
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
