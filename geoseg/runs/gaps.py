"""Gaps in the heap of the C library, returned to the system.

glibc returns what was freed only at the end of its heap, and cannot give a gap that an aligned array left to another of
the same size (`posix_memalign` before glibc 2.38 asks for more). Both GDAL's cache and torch make such arrays, so with
every block there are a few more gaps that nobody uses. What is returned is zeroed by the system when it is used again,
so this is worth its time every few blocks only.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

EVERY = 4
"""Blocks from one time to the next."""


def return_gaps() -> None:
    """Return whole pages of memory that is free to the system; without effect where the C library is not glibc."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim
