"""How compiled kernels are declared: by numba, without the GIL, cached on disk where that is possible."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile `function` with numba on its first call; it releases the GIL.

    Threads are ours (`run_bands`), not numba's: its default threading layer may not be entered from two
    Python threads at once, and torch brings an OpenMP pool of its own.
    """
    try:
        return cast(F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:
        # No writable place for the cache (a read-only installation without a home): compile in each process.
        return cast(F, numba.njit(nogil=True)(function))


def bands(length: int, count: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Return at most `count` half-open ranges that partition [0, length), cut at multiples of `multiple`."""
    units = -(-length // multiple)
    cuts = sorted({min(length, units * i // count * multiple) for i in range(count)} | {length})
    return [(a, b) for a, b in itertools.pairwise(cuts) if b > a]


def run_bands(task: Callable[[int, int], Any], ranges: Sequence[tuple[int, int]], threads: int) -> list[Any]:
    """Return the results of `task(start, stop)` for each range, in order, on up to `threads` threads."""
    if threads <= 1 or len(ranges) <= 1:
        return [task(start, stop) for start, stop in ranges]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda pair: task(*pair), ranges))
