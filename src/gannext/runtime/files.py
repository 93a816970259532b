"""Files that matter are written beside their place and renamed: a reader sees the old file or the new one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from gannext.runtime.errors import InputError


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls `write` with a binary file that takes `path`'s place only once all of it is on the disk.

    Raises:
        InputError: the folder may not be written, or the disk is full; what was at `path` stays.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o666 & ~current_umask())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path} could not be written ({error.strerror or error}); nothing was replaced") from None


def check_place(path: str | Path) -> None:
    """Raises InputError where a file could not be written, before there is anything to lose; makes its folder."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder: name a file in it")
    _try(path.parent, path)


def check_folder(folder: Path) -> None:
    """Raises InputError where no file could be written into a folder; makes the folder."""
    _try(folder, folder)


def _try(folder: Path, place: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{place} could not be written ({error.strerror or error}): name another place") from None


def write_text(path: str | Path, text: str) -> None:
    r"""Writes a whole text file, as UTF-8, by `write_atomically`; what a file's name has beyond UTF-8, as \udcff."""
    write_atomically(path, lambda file: file.write(text.encode(errors="backslashreplace")))


def current_umask() -> int:
    """The process's file-mode mask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
