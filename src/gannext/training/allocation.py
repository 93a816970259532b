"""Memory that a step frees and the next one wants again."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
LARGEST = 1 << 30  # bytes
USUAL_MMAP, USUAL_TRIM = 32 << 20, 64 << 20  # bytes, where glibc's own adjustment ends


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
    # Before 2.35 glibc refuses more than the usual. Left unset, it would stay at 128 KiB, as it is adjusted no longer.
    if not libc.mallopt(M_MMAP_THRESHOLD, LARGEST):
        libc.mallopt(M_MMAP_THRESHOLD, USUAL_MMAP)
    libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, USUAL_MMAP)
        libc.mallopt(M_TRIM_THRESHOLD, USUAL_TRIM)
        libc.malloc_trim(0)
