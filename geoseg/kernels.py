"""How kernels are compiled, and how their work is shared among threads.

Threads are ours, not numba's: its default threading layer may not be entered from two Python threads at once, and
torch brings an OpenMP pool of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])

Rows = tuple[int, int]
Each = Callable[[Callable[[Rows], Any], Sequence[Rows]], list[Any]]

STRIPES_PER_THREAD = 4


def inlined(function: F) -> F:
    """Return `function` for use inside a compiled one, where a call would cost more than its work."""
    return cast(F, njit(nogil=True, error_model="numpy", forceinline=True)(function))


def compiled(function: F) -> F:
    """Return `function` compiled by numba on first use; it then runs without the GIL.

    The machine code is cached beside the module or in the user's cache directory; where neither can be
    written (a read-only container, a frozen application) it is compiled anew in each process.
    No fast-math flag is set, so that every float operation is the IEEE one on every machine.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, njit(cache=True, **options)(function))
    except RuntimeError:  # numba: "cannot cache function ...: no locator available"
        return cast(F, njit(**options)(function))


def _fma(_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Build one explicit fused multiply-add: the compiler would contract `a * b + c` at its own discretion."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), build


fma: Callable[[Any, Any, Any], Any] = cast(Any, intrinsic(_fma))


def stripes(start: int, stop: int, threads: int) -> list[Rows]:
    """Cut [start, stop) into a few pieces per thread."""
    count = 1 if threads == 1 else max(1, min(stop - start, STRIPES_PER_THREAD * threads))
    edges = [start + (stop - start) * k // count for k in range(count + 1)]
    return list(pairwise(edges))


@contextmanager
def team(threads: int) -> Iterator[Each]:
    """Yield a function that calls another for each item, in `threads` threads, and returns the results in order."""
    if threads == 1:
        yield lambda work, items: [work(item) for item in items]
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="kernels") as pool:
        yield lambda work, items: list(pool.map(work, items))
