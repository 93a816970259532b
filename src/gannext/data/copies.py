"""Files that are copies of others, byte by byte: what is trained on and calibrates too makes the threshold too low."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

Content: TypeAlias = tuple[int, str]
"""A file's length in bytes, and its digest where another one is as long."""


def contents(paths: Iterable[Path]) -> dict[Path, Content]:
    """What tells files apart; those that cannot be read, or hold nothing, are left out. Only files of equal length are read."""
    lengths = {path: length for path in paths if (length := length_of(path))}
    alike = Counter(lengths.values())
    found = {}
    for path, length in lengths.items():
        digest = "" if alike[length] == 1 else digest_of(path)
        if digest is not None:
            found[path] = length, digest
    return found


def originals(paths: Iterable[Path], content: Mapping[Path, Content]) -> list[Path]:
    """Those files that are no copy of one before them, given what tells them apart."""
    kept, seen = [], set()
    for path in paths:
        if path not in content or content[path] not in seen:
            kept.append(path)
            seen.add(content.get(path))
    return kept


def length_of(path: Path) -> int | None:
    """A file's length in bytes."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def digest_of(path: Path) -> str | None:
    """What tells a file from others of its length."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
