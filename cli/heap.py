"""How the C library keeps memory that was freed.

glibc gives each thread a heap of its own, and raises the size up to which arrays lie in heaps to 32 MB as soon as one
of that size is freed. The arrays of a block are freed by other threads than those that made them, so each heap keeps
gaps that no other can use: 400 MB in a prediction with default settings. One heap has fewer gaps, and larger arrays are
mapped, each by itself, and returned to the system when they are freed.
"""

from __future__ import annotations

import ctypes
import os
import sys

# mallopt(3)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

_SETTINGS = {
    _M_ARENA_MAX: (1, "MALLOC_ARENA_MAX"),
    _M_MMAP_THRESHOLD: (8 << 20, "MALLOC_MMAP_THRESHOLD_"),
    # Below it, the end of the heap would be returned and got again with each array, at the cost of its page faults.
    _M_TRIM_THRESHOLD: (64 << 20, "MALLOC_TRIM_THRESHOLD_"),
}
"""Parameter -> its value, and the environment variable of the user's choice."""


def share_one_heap() -> None:
    """Let all threads share one heap; without effect on other systems than Linux with glibc.

    It has to be called before there are threads. What the user chose in the environment stays.
    """
    if sys.platform != "linux" or "GLIBC_TUNABLES" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return
    for parameter, (value, variable) in _SETTINGS.items():
        if variable not in os.environ:
            mallopt(parameter, value)
