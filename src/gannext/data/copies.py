"""Files that are copies of others, byte by byte: what is trained on and calibrates too makes the threshold too low."""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

Content = tuple[int, str]  # bytes, and their digest where another file is as long


def originals(paths: Sequence[Path]) -> list[Path]:
    """Those files that are no copy of one before them."""
    kept, seen = [], set()
    for path, content in zip(paths, contents(paths), strict=True):
        if content is None or content not in seen:
            kept.append(path)
            seen.add(content)
    return kept


def new_to(others: Sequence[Path], paths: Sequence[Path]) -> list[Path]:
    """Those files that are no copy of another one of `others`."""
    every = contents([*others, *paths])
    known = set(every[: len(others)]) - {None}
    return [path for path, content in zip(paths, every[len(others) :], strict=True) if content not in known]


def contents(paths: Sequence[Path]) -> list[Content | None]:
    """What tells the files apart, None where one cannot be read. Only files of equal length are read."""
    lengths = [length_of(path) for path in paths]
    shared = {length for length, count in Counter(lengths).items() if count > 1}
    return [content_of(path, length, shared) for path, length in zip(paths, lengths, strict=True)]


def content_of(path: Path, length: int | None, shared: Collection[int | None]) -> Content | None:
    """A file's length, and its digest if that is shared."""
    if length is None:
        return None
    if length not in shared:
        return length, ""
    try:
        return length, hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def length_of(path: Path) -> int | None:
    """A file's length in bytes; None where there is none, or nothing in it."""
    try:
        return path.stat().st_size or None
    except OSError:
        return None
