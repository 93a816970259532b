"""Memory that a step frees and the next one wants again."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST = 1 << 30  # bytes
USUAL = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 64 << 20}  # where glibc's own adjustment ends


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Within it this process keeps the memory that it frees, of blocks up to `LARGEST`, and gives it back at the end.

    Otherwise glibc hands large blocks back to the system, which clears them page by page whenever they are wanted again: up to
    60,000 pages a step. Elsewhere than on Linux with glibc it does nothing.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):  # musl
        yield
        return
    assert libc is not None
    for name in USUAL:
        libc.mallopt(name, LARGEST)
    try:
        yield
    finally:
        for name, usual in USUAL.items():
            libc.mallopt(name, usual)
        libc.malloc_trim(0)
